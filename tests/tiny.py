"""Makes networks, methods and runs that are small enough for a test."""

import pathlib
from functools import partial

import jax
import numpy as np
import pytest
from PIL import Image

from cyclegan_jax import nets
from cyclegan_jax.config.method import build_method
from cyclegan_jax.config.unused import unused
from cyclegan_jax.defaults import DEFAULTS, get_config
from cyclegan_jax.inference import saved
from cyclegan_jax.methods import METHODS
from cyclegan_jax.methods.base import DIRECTIONS, Choices
from cyclegan_jax.methods.losses import ADVERSARIAL_LOSSES
from cyclegan_jax.training import optim, parallel
from cyclegan_jax.training import state as train_state
from cyclegan_jax.training import step as train_step

CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'
SIZE = 16
CHANNELS = {'a': 3, 'b': 3}
WEIGHTS = {
  'adversarial': 1.0,
  'cycle_a': 10.0,
  'cycle_b': 10.0,
  'identity_a': 5.0,
  'identity_b': 5.0,
  'discriminator': 0.5,
  'gradient_penalty': 10.0,
  'l1': 10.0,
  'self_regularization': 10.0,
  'feature': 10.0,
  'nce': 0.5,
  'nce_identity': 0.5,
}
CONTRAST = {'taps': '', 'patches': 8, 'features': 8, 'temperature': 0.07}
# Stand-ins for pretrained networks.
METHOD_OPTIONS = {
  'feature': {
    'network': lambda params, images: (
      images.mean(-1, keepdims=True) @ params['kernel']
    ),
    'load': lambda: {'kernel': np.ones((1, 2), np.float32)},
  }
}


def generator(name='resnet', **options):
  """Constructor of a narrow generator with few blocks or levels."""
  depth = {'resnet': 1, 'unet': 2}.get(name, 0)
  options = {'width': 4, 'depth': depth} | options
  return nets.constructor(nets.GENERATORS, name, 'generator', **options)


def discriminator(name='patchgan', **options):
  options = {'width': 4, 'depth': 1} | options
  return nets.constructor(nets.DISCRIMINATORS, name, 'discriminator', **options)


def init(net, images):
  """Returns the parameters of a network without running its layers."""
  shape = jax.ShapeDtypeStruct(images.shape, images.dtype)
  return net.lazy_init(jax.random.PRNGKey(0), shape)['params']


def choices(
  *,
  make_generator=None,
  make_discriminator=None,
  loss='lsgan',
  channels=None,
  directions=DIRECTIONS,
  **weights,
):
  """Returns the `Choices` of a method with narrow networks."""
  return Choices(
    make_generator or generator(),
    make_discriminator or discriminator(),
    channels or CHANNELS,
    ADVERSARIAL_LOSSES[loss],
    WEIGHTS | weights,
    directions,
    CONTRAST,
  )


def method(name='cyclegan', **options):
  """Returns a method made of the `choices` of the options."""
  make = METHODS[name].make
  return make(choices(**options), **METHOD_OPTIONS.get(name, {}))


def plain_first(names, first):
  """Parameters of a test, of which all but `first` are marked as slow."""
  return [
    name if name == first else pytest.param(name, marks=pytest.mark.slow)
    for name in names
  ]


def every_method(first):
  """Parameters of a test of every method; all but `first` are slow.

  The first method covers the engine, so the others, which take long to compile,
  are slow tests. A method that is only another method with an option set, such
  as FastCUT, is left out.
  """
  return plain_first(
    [x for x in sorted(METHODS) if not isinstance(METHODS[x].make, partial)],
    first,
  )


EVERY_METHOD = every_method('cyclegan')


def stand_in(monkeypatch, name):
  """Makes configs of a method use stand-ins for pretrained networks."""
  entry, options = METHODS[name], METHOD_OPTIONS.get(name, {})
  entry = entry._replace(make=partial(entry.make, **options))
  monkeypatch.setitem(METHODS, name, entry)


def optimizers(name='sgd', lr=1e-3):
  return {
    group: optim.optimizer(name, lr, 0.5, 0.999, lambda step: 1.0)
    for group in ('gen', 'disc', 'heads')
  }


def batch(seed=0, size=4, channels=None):
  rng = np.random.default_rng(seed)
  return {
    d: rng.uniform(-1, 1, (size, SIZE, SIZE, c)).astype(np.float32)
    for d, c in (channels or CHANNELS).items()
  }


def create(a_method, opts, *, pool_size=3, ema=True, seed=0, like=None):
  return train_state.create(
    a_method,
    opts,
    jax.random.PRNGKey(seed),
    like or batch(size=1),
    pool_size=pool_size,
    ema=ema,
  )


def mapped_step(
  a_method, *, devices=1, how='shard_map', accumulate=1, several=1
):
  """Returns the compiled step of `run`; several runs can share the step."""
  return parallel.map_step(
    train_step.make_step(
      a_method, optimizers(), ema_decay=0.9, accumulate=accumulate
    ),
    parallel.make_mesh(devices),
    how,
    several=several > 1,
  )


def run(
  a_method, *, steps=3, devices=1, several=1, seed=0, step=None, **options
):
  """Returns (state, metrics) after `steps` calls of `several` steps each.

  Without `step`, `mapped_step` makes the step from the other options.
  """
  mesh = parallel.make_mesh(devices)
  state = create(a_method, optimizers(), seed=seed)
  state = parallel.replicate(state, mesh)
  step = step or mapped_step(
    a_method, devices=devices, several=several, **options
  )
  for i in range(steps):
    batches = [batch(i * several + j) for j in range(several)]
    state, metrics = step(
      state,
      jax.tree.map(lambda *x: np.stack(x), *batches)
      if several > 1
      else batches[0],
    )
  return jax.device_get(state), jax.device_get(metrics)


def assert_close(x, y, tolerance):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=tolerance), x, y
  )


def assert_same(x, y):
  jax.tree.map(np.testing.assert_array_equal, x, y)


def pixels(path):
  """Returns the pixels of a picture file."""
  with Image.open(path) as image:
    return np.asarray(image)


def write_pictures(root, train=(5, 7), test=2, size=20):
  """Writes random PNG files in the official folder layout."""
  rng = np.random.default_rng(0)
  counts = dict(
    zip(('trainA', 'trainB', 'testA', 'testB'), (*train, test, test))
  )
  for name, count in counts.items():
    folder = root / name
    folder.mkdir(parents=True)
    for i in range(count):
      pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
      Image.fromarray(pixels).save(folder / f'{i}.png')


# Options of the small runs of tests, passed on the command line.
OVERRIDES = {
  'data.load_size': SIZE + 2,
  'data.crop_size': SIZE,
  'generator.name': 'resnet',
  'generator.depth': 1,
  'generator.width': 4,
  'discriminator.depth': 1,
  'discriminator.width': 4,
  'pool_size': 3,
  'schedule.unit': 'steps',
  'schedule.constant': 2,
  'schedule.decay': 2,
  'log.every': 1,
  'log.sample_every': 0,
  'log.samples': 2,
  'log.report': False,
  'parallel.devices': 1,
}


def command(card, workdir, root=None, **overrides):
  """Returns the command line of a small run; override keys have __ for dots.

  Options of `OVERRIDES` that the given method does not use are left out.
  """
  options = OVERRIDES | {
    key.replace('__', '.'): value for key, value in overrides.items()
  }
  if 'method' in options:
    idle = unused(DEFAULTS | options)
    options = {key: x for key, x in options.items() if key not in idle}
  if root:
    options |= {'data.source': 'folder', 'data.root': str(root)}
  return [
    'main',
    f'--config={CONFIGS / card}.py',
    f'--workdir={workdir}',
    *(f'--config.{key}={value}' for key, value in options.items()),
  ]


def compiled():
  """Returns environment variables with which child processes reuse programs.

  Programs that take little time to compile are saved too.
  """
  return {
    'JAX_COMPILATION_CACHE_DIR': jax.config.jax_compilation_cache_dir,
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }


def save_model(folder, *, names=('a2b', 'b2a'), seed=0, **overrides):
  """Saves a model with random weights large enough to change pictures.

  Args:
    folder: path of the model folder.
    names: directions of its generators.
    seed: random seed of the weights.
    **overrides: options of the config, with __ for dots in keys.

  Returns:
    `folder`.
  """
  config = get_config()
  options = OVERRIDES | {
    key.replace('__', '.'): value for key, value in overrides.items()
  }
  for key, value in options.items():
    section, _, name = key.rpartition('.')
    (config[section] if section else config)[name] = value
  config.generator.init_gain = 0.2
  images = {
    d: np.zeros((1, SIZE, SIZE, config.data[f'channels_{d}'])) for d in 'ab'
  }
  params = build_method(config).init(
    jax.random.PRNGKey(seed), jax.tree.map(np.float32, images)
  )
  gen = {name: params['gen'][name] for name in names}
  saved.save(folder, config, {'gen': gen, 'disc': params['disc']})
  return folder
