"""Tests that options without effect are declared right and refused."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest
import tiny

from cyclegan_jax import aot, nets
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, identity
from cyclegan_jax.config.method import build_method
from cyclegan_jax.config.options import flatten
from cyclegan_jax.config.run import build_run
from cyclegan_jax.config.unused import check_used, unused
from cyclegan_jax.data.sources import folder
from cyclegan_jax.defaults import DEFAULTS, OPTIONS, get_config
from cyclegan_jax.inference import saved
from cyclegan_jax.methods import METHODS
from cyclegan_jax.methods.losses import ADVERSARIAL_LOSSES
from cyclegan_jax.nets.generators import REMATS
from cyclegan_jax.nets.layers import GAINS, INITS, NORMS, Net
from cyclegan_jax.paper import jobs, suites
from cyclegan_jax.training.optim import OPTIMIZERS

KEY = jax.random.PRNGKey(0)
CARDS = sorted(path.stem for path in tiny.CONFIGS.glob('*.py'))
# Values that differ from the defaults; other options accept any text or number.
OTHER = {
  'directions': 'a2b',
  'generator.name': 'unet',
  'generator.norm': 'batch',
  'generator.upsampling': 'resize',
  'generator.downsampling': 'blur',
  'generator.padding': 'replicate',
  'generator.remat': 'all',
  'generator.init_type': 'xavier',
  'discriminator.name': 'pixelgan',
  'discriminator.depth': 1,
  'discriminator.downsampling': 'blur',
  'discriminator.norm': 'batch',
  'discriminator.init_type': 'xavier',
}
NETWORK_OPTIONS = [
  key for key in OPTIONS if key.startswith(('generator.', 'discriminator.'))
]
# CoGAN uses only the discriminator's depth, which pixelgan lacks.
UNTRIED = {'cogan': {'discriminator.name'}} | {
  # A U-Net has no features for PatchNCE and is refused.
  name: {'generator.name'}
  for name, entry in METHODS.items()
  if 'contrast.taps' in entry.options
}


def other(key):
  """Returns a value of an option that is not the default."""
  make = {
    bool: lambda default: not default,
    str: lambda default: default + 'x',
    int: lambda default: default + 1,
    float: lambda default: default / 2 + 0.125,
  }
  default = DEFAULTS[key]
  return OTHER.get(key, make[type(default)](default))


def make_config(changes):
  config = get_config()
  config.update_from_flattened_dict(changes)
  return config


def refusal(changes):
  """Returns the error for the defaults with changes, or None."""
  try:
    check_used(make_config(changes))
  except UserError as e:
    return str(e)
  return None


class Weights(dict):
  """Loss weights that record which options are read."""

  def __init__(self, *args):
    super().__init__(*args)
    self.read = set()

  def __getitem__(self, name):
    self.read.add(f'loss.{name}')
    return super().__getitem__(name)


@functools.cache
def losses_read(name):
  """Returns the options of loss.* that a method reads."""
  adversarial, weights = ADVERSARIAL_LOSSES['wgangp'], Weights(tiny.WEIGHTS)

  def discriminator(*scores):
    weights.read.add('loss.adversarial_loss')
    return adversarial.discriminator(*scores)

  choices = tiny.choices()._replace(
    adversarial_loss=adversarial._replace(discriminator=discriminator),
    weights=weights,
  )
  method = METHODS[name].make(choices, **tiny.METHOD_OPTIONS.get(name, {}))

  def losses(key, batch):
    params = method.init(key, batch)
    loss, (samples, _) = method.generator_loss(params, batch, key)
    return loss, method.discriminator_loss(params, batch, samples, key)

  jax.eval_shape(losses, KEY, tiny.batch(size=1))
  return weights.read


def text(function, *args):
  """Returns the operations of a function as text, equal for equal functions."""
  return written(jax.make_jaxpr(function)(*args))


def written(jaxpr):
  return re.sub('0x[0-9a-f]+', '', str(jaxpr))


@pytest.mark.parametrize('name', METHODS)
def test_a_method_reads_its_declared_weights(name):
  declared = {x for x in METHODS[name].options if x.startswith('loss.')}
  assert losses_read(name) == declared


@pytest.mark.parametrize('name', METHODS)
def test_a_method_declares_if_it_learns_one_direction(name):
  try:
    tiny.method(name, directions=('a2b',))
  except UserError:
    assert 'directions' not in METHODS[name].options
  else:
    assert 'directions' in METHODS[name].options


@pytest.mark.parametrize('name', tiny.every_method('cogan'))
def test_networks_of_a_method_depend_on_its_declared_options(name, monkeypatch):
  tiny.stand_in(monkeypatch, name)
  batch = tiny.batch(size=1)
  small = tiny.OVERRIDES | {'generator.depth': 2, 'discriminator.depth': 2}

  def operations(changes):
    """Yields the operations of initialisation, then of the losses."""
    method = build_method(make_config(small | changes))
    init, params = jax.make_jaxpr(method.init, return_shape=True)(KEY, batch)
    yield written(init)
    yield text(method.generator_loss, params, batch, KEY)

  chosen = {'method': name}
  plain = tuple(operations(chosen))
  assert tuple(operations(chosen)) == plain
  idle = unused(DEFAULTS | chosen)
  for key in set(NETWORK_OPTIONS) - UNTRIED.get(name, set()):
    found = operations(chosen | {key: other(key)})
    same = all(ours == first for ours, first in zip(found, plain))
    assert same == (key in idle), key


def test_declared_options_exist():
  for entry in METHODS.values():
    assert set(entry.options) <= set(OPTIONS)
    assert len(set(entry.options)) == len(entry.options)
  assert {f'optim.{x}' for y in OPTIMIZERS.values() for x in y.options} == {
    'optim.beta1',
    'optim.beta2',
  }


@pytest.mark.parametrize('name', METHODS)
def test_unused_options_of_every_method_are_refused(name):
  chosen = {'method': name, 'loss.adversarial_loss': 'wgangp'}
  assert refusal(chosen) is None
  idle = unused(DEFAULTS | chosen)
  for key in OPTIONS.keys() - chosen.keys():
    line = refusal(chosen | {key: other(key)})
    assert (line is None) == (key not in idle), key
    if key.startswith('loss.'):
      assert (line is None) == (key in losses_read(name)), key
    users = [x for x, entry in METHODS.items() if key in entry.options]
    if line and not key.startswith('data.'):
      assert f'{key}={other(key)!r} is not used by method={name!r}' in line
      assert f'({", ".join(users)} use' in line
    if line:
      assert line.endswith(f'leave it at {DEFAULTS[key]!r}')
    else:
      assert not users or name in users


@pytest.mark.parametrize(
  'section, name, make',
  [('generator', *x) for x in nets.GENERATORS.items()]
  + [('discriminator', *x) for x in nets.DISCRIMINATORS.items()],
)
def test_unused_options_of_every_network_are_refused(section, name, make):
  chosen = {f'{section}.name': name}
  assert refusal(chosen) is None
  fields = nets.fields(make)
  for key in NETWORK_OPTIONS:
    if key.startswith(f'{section}.') and key not in chosen:
      line = refusal(chosen | {key: other(key)})
      assert (line is None) == (key.partition('.')[2] in fields), key


_WITH_NETWORKS = [
  name for name, entry in METHODS.items() if 'generator.name' in entry.options
]
# (options, error that refuses the last option)
LINES = [
  (
    {'loss.l1': 5.0},
    "loss.l1=5.0 is not used by method='cyclegan' (pix2pix uses it): leave it "
    'at 100.0',
  ),
  (
    {'method': 'cogan', 'generator.name': 'unet'},
    "generator.name='unet' is not used by method='cogan' ("
    f'{", ".join(_WITH_NETWORKS)} use it): '
    "leave it at 'resnet_9blocks'",
  ),
  (
    {'discriminator.name': 'pixelgan', 'discriminator.depth': 4},
    "discriminator.depth=4 is not used by discriminator.name='pixelgan' "
    '(patchgan uses it): leave it at 3',
  ),
  (
    {'discriminator.name': 'pixelgan', 'discriminator.downsampling': 'blur'},
    "discriminator.downsampling='blur' is not used by "
    "discriminator.name='pixelgan' (patchgan uses it): leave it at 'stride'",
  ),
  (
    {'generator.name': 'unet', 'generator.padding': 'replicate'},
    "generator.padding='replicate' is not used by generator.name='unet' "
    '(resnet, resnet_6blocks, resnet_9blocks use it): leave it at '
    "'reflect'",
  ),
  (
    {'generator.name': 'unet_256', 'generator.remat': 'blocks'},
    "generator.remat='blocks' is not used by generator.name='unet_256' "
    '(resnet, resnet_6blocks, resnet_9blocks use it): leave it at '
    "'none'",
  ),
  (
    {'generator.init_type': 'kaiming', 'generator.init_gain': 0.5},
    "generator.init_gain=0.5 is not used by generator.init_type='kaiming' and "
    "generator.norm='instance' (normal, xavier, orthogonal, batch, "
    'batch_frozen use it): leave it at 0.02',
  ),
  (
    {'loss.gradient_penalty': 1.0},
    "loss.gradient_penalty=1.0 is not used by loss.adversarial_loss='lsgan' "
    '(wgangp uses it): leave it at 10.0',
  ),
  (
    {'data.source': 'folder', 'data.columns': 'a,b'},
    "data.columns='a,b' is not used by data.source='folder' (hf uses it): "
    "leave it at ''",
  ),
  (
    {'optim.name': 'sgd', 'optim.beta1': 0.9},
    "optim.beta1=0.9 is not used by optim.name='sgd' (adam uses it): leave it "
    'at 0.5',
  ),
]
REFUSED = [changes for changes, _ in LINES]


@pytest.mark.parametrize('changes, line', LINES)
def test_an_unused_option_is_refused_with_one_line(changes, line):
  assert refusal(changes) == line


@pytest.mark.parametrize(
  'changes',
  [
    {'generator.name': 'unet', 'generator.remat': 'all'},
    {'generator.remat': 'blocks'},
    {
      'generator.init_type': 'kaiming',
      'generator.norm': 'batch',
      'generator.init_gain': 0.5,
    },
    {'loss.adversarial_loss': 'wgangp', 'loss.gradient_penalty': 1.0},
    {'method': 'cogan', 'discriminator.depth': 2},
  ],
)
def test_used_options_are_accepted(changes):
  assert refusal(changes) is None


@pytest.mark.parametrize(
  'key',
  [
    'method',
    'generator.name',
    'generator.norm',
    'generator.init_type',
    'generator.remat',
    'discriminator.name',
    'loss.adversarial_loss',
    'optim.name',
    'data.source',
  ],
)
def test_an_unknown_name_is_not_reported_as_unused(key):
  idle = {'method': {'loss.l1': 5.0}}.get(key, {})
  assert refusal({key: 'resnot'} | idle) is None


def test_unused_options_are_refused_before_data_is_read():
  config = make_config({'loss.l1': 5.0, 'data.root': 'nowhere'})
  for begin in (build_run, lambda config: aot.trace(config, None, 1)):
    with pytest.raises(UserError, match='loss.l1=5.0 is not used'):
      begin(config)


@pytest.mark.parametrize('name', [x for x in nets.GENERATORS if '_' not in x])
def test_a_generator_declares_its_effective_remats(name):
  images = jnp.zeros((1, 16, 16, 3))

  def operations(remat):
    net = tiny.generator(name, remat=remat)(out_channels=3)
    params = jax.eval_shape(net.init, KEY, images)['params']
    return text(lambda p, x: nets.apply(net, p, x, key=KEY), params, images)

  plain = operations('none')
  changed = {remat for remat in REMATS if operations(remat) != plain}
  assert {'none'} | changed == set(nets.GENERATORS[name].remats)


def test_inits_and_norms_declare_if_the_gain_has_an_effect():
  x = jnp.zeros((1, 4, 4, 2))

  def norm(name, gain):
    layer = NORMS[name](Net(init_gain=gain), None, None)
    return text(layer.init, KEY, x) if hasattr(layer, 'init') else ''

  def init(name, gain):
    return text(lambda key: INITS[name](gain)(key, (3, 3, 2, 2)), KEY)

  changed = {
    'init_type': {x: init(x, 0.02) != init(x, 0.5) for x in INITS},
    'norm': {x: norm(x, 0.02) != norm(x, 0.5) for x in NORMS},
  }
  assert changed == GAINS


@pytest.mark.parametrize('changes', REFUSED)
def test_an_old_model_with_unused_options_is_loaded(changes, tmp_path):
  saved.save(tmp_path, make_config(changes), {'gen': {}, 'disc': {}})
  loaded = saved.load(tmp_path)
  images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  params = jax.eval_shape(loaded.method.init, KEY, {'a': images, 'b': images})
  assert params['gen'] and params['disc']
  for key, value in changes.items():
    assert flatten(loaded.config.to_dict())[key] == value


@pytest.mark.parametrize('changes', REFUSED)
def test_an_old_run_resumes_without_its_unused_options(
  changes, pictures, tmp_path
):
  source = folder(pictures)
  identity.begin(tmp_path, make_config(changes), source)
  (tmp_path / 'checkpoints' / '1').mkdir(parents=True)
  *used, key = changes
  now = {option: changes[option] for option in used}
  identity.begin(tmp_path, make_config(now), source)
  used = {'method': 'cyclegan', 'loss.cycle_a': 1.0, 'optim.lr': 1.0}
  with pytest.raises(UserError, match='optim.lr was 0.0002, is 1.0') as e:
    identity.begin(tmp_path, make_config(now | used), source)
  assert key not in str(e.value)


def test_used_options_of_an_old_run_are_compared(pictures, tmp_path):
  source, unet = folder(pictures), {'generator.name': 'unet'}
  identity.begin(tmp_path, make_config(unet), source)
  (tmp_path / 'checkpoints' / '1').mkdir(parents=True)
  with pytest.raises(UserError, match="generator.name was 'unet'.*method was"):
    identity.begin(tmp_path, make_config({'method': 'cogan'}), source)


def card_options(card):
  argv = ['main', f'--config={tiny.CONFIGS / card}.py']
  return flatten(flags.parse(argv, '')[0].to_dict())


@pytest.mark.parametrize('card', CARDS)
def test_recipe_cards_and_suite_rows_have_no_unused_options(card):
  options = card_options(card)
  assert refusal(options) is None
  options |= {'generator.remat': 'blocks', 'loss.l1': 7.0, 'loss.feature': 3.0}
  for suite in suites.SUITES.values():
    for row in suite:
      changed = options | suites.overrides(row, options)
      assert refusal(changed) is None, row.name
      pix2pix = changed['method'] == 'pix2pix'
      assert changed['loss.l1'] == (7.0 if pix2pix else 100.0)


def test_a_finished_run_with_unused_options_is_not_repeated(tmp_path):
  options = card_options('satellite2map') | {'loss.l1': 7.0}
  output = tmp_path / 'checkpoints'
  output.mkdir()
  for row in suites.SUITES['models']:
    made = row.overrides
    before = options | (made(options) if callable(made) else made)
    now = options | suites.overrides(row, options)
    assert before != now or now['method'] == 'pix2pix'
    job = jobs.Job('j', tmp_path, [jobs.Step('training', [], now, output)])
    job.note(job.steps[0]._replace(settings=before))
    assert not job.left()
    job.note(job.steps[0]._replace(settings=before | {'loss.adversarial': 2.0}))
    assert job.left()
