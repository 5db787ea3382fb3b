"""Tests that readers handle or refuse the verbs of every network."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from variants import BLURS, VARIANTS

from cyclegan_jax import nets
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data.tf import tf
from cyclegan_jax.exporters import onnx_layers, tflite
from cyclegan_jax.inference.tiled import layers, walk
from cyclegan_jax.nets import forward
from cyclegan_jax.nets.forward_tpu import ForwardTPU
from cyclegan_jax.nets.generators import DOWNSAMPLINGS
from cyclegan_jax.nets.later import Later
from cyclegan_jax.nets.verbs import Reader
from cyclegan_jax.pth import official


def parameters(function):
  return list(inspect.signature(function).parameters.values())


# Methods that take and return an x; other methods are helpers.
VERBS = [
  name
  for name, function in vars(Reader).items()
  if inspect.isfunction(function) and parameters(function)[1].name == 'x'
]
NETWORKS = [
  *(tiny.generator(name)() for name in nets.GENERATORS),
  *(tiny.generator(*x.values[:1], **x.values[1])() for x in VARIANTS),
  *(tiny.discriminator(name)() for name in nets.DISCRIMINATORS),
  *(tiny.discriminator(downsampling=name)() for name in DOWNSAMPLINGS),
]


class Recorder(Reader):
  """Records the verbs of a network, and refuses some.

  Attributes:
    unknown: names of refused verbs.
    used: names of the other verbs that were called.
  """

  what = 'the recorder'

  def __init__(self, *unknown):
    self.unknown, self.used = unknown, set()


def recorded(verb):
  def run(self, x, *args, **options):
    if verb in self.unknown:
      return getattr(Reader, verb)(self, x, *args, **options)
    self.used.add(verb)
    for inner in filter(callable, args):
      inner(*(self, x)[-len(parameters(inner)) :])
    return x

  return run


for _verb in VERBS:
  setattr(Recorder, _verb, recorded(_verb))


def verbs_of(net):
  recorder = Recorder()
  net.layers(recorder, None)
  return recorder.used


def test_every_verb_is_used_by_a_network():
  assert set.union(*map(verbs_of, NETWORKS)) == set(VERBS)


@pytest.mark.parametrize('verb', VERBS)
def test_a_reader_refuses_an_unknown_verb(verb):
  for net in NETWORKS:
    if verb in verbs_of(net):
      with pytest.raises(UserError, match='the recorder does not support') as e:
        net.layers(Recorder(verb), None)
      assert '\n' not in str(e.value)


def readers():
  """Returns {reader class: (constructor arguments, x of 4x4 pixels)}."""
  net, image = tiny.generator()(), np.zeros((4, 4, 3), np.float32)
  made = {
    forward.Forward: ((net, False, None), jnp.asarray(image[None])),
    ForwardTPU: ((net, False, None), Later(jnp.asarray(image[None]))),
    walk.Walk: (
      (net, {}, None),
      walk.Activation((layers.Part(layers.Stored(image)),)),
    ),
    official.Names: (('model',), 3),
    tflite.Layers: ((net, {}), tf.constant(image[None])),
  }
  try:
    from cyclegan_jax.exporters.onnx_graph import Nodes, Value
  except ImportError:
    return made
  return made | {Nodes: ((onnx_layers.Graph(), net, {}), Value('images', 3))}


READERS = readers()


def subclasses(kind):
  below = kind.__subclasses__()
  return {*below}.union(*map(subclasses, below))


def test_all_readers_are_tested():
  known = {
    x
    for x in subclasses(Reader)
    if x.__module__.startswith('cyclegan_jax') and x.__name__[0] != '_'
  }
  assert known == set(READERS)


@pytest.mark.parametrize('reader', READERS, ids=lambda x: x.__name__)
@pytest.mark.parametrize(
  'verb, arguments, what',
  [
    ('pad', (1, 'wrap'), 'generator.padding'),
    ('activate', ('gelu',), 'activation'),
  ],
)
def test_unknown_options_are_refused(reader, verb, arguments, what):
  arguments_of, x = READERS[reader]
  made = reader(*arguments_of)
  with pytest.raises(UserError, match=f"{what}='{arguments[-1]}': use") as e:
    getattr(made, verb)(x, *arguments)
  assert '\n' not in str(e.value)
  assert str(e.value).startswith(f'{reader.what} does not support')


@pytest.mark.parametrize('name, options', VARIANTS)
def test_every_verb_has_its_official_layer_index(name, options):
  """The entries with weights are the layers with weights in PyTorch."""
  net = tiny.generator(name, **options)()
  shape = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
  params = jax.eval_shape(net.init, jax.random.key(0), shape)['params']
  try:
    found = official.layers(net)
  except UserError as e:
    (option,) = options
    assert f"generator.{option}='{options[option]}'" in str(e)
    return
  kernels = {
    tuple(key.key for key in path[:-1])
    for path, _ in jax.tree_util.tree_leaves_with_path(params)
  }
  assert {x.path for x in found if x.kind in ('conv', 'up')} == kernels
  assert len({x.name for x in found}) == len(found)


# Features.


@pytest.fixture(params=[{}, BLURS], ids=['plain', 'blurs'])
def made(request, rng):
  """Returns a generator, parameters and images."""
  options = {'depth': 3, 'init_gain': 0.2} | request.param
  net = tiny.generator(**options)(out_channels=3)
  images = rng.uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
  return net, tiny.init(net, images), images


def test_outputs_with_features_are_bit_identical(made):
  net, params, images = made
  output, features = nets.apply(net, params, images, taps=net.taps)
  np.testing.assert_array_equal(output, nets.apply(net, params, images))
  assert list(features) == list(net.taps)
  for name in net.taps:
    alone = nets.apply(net, params, images, taps=(name,), only_taps=True)
    assert list(alone) == [name]
    np.testing.assert_array_equal(alone[name], features[name])


def test_features_are_outputs_of_their_layers(made):
  net, params, images = made
  features = nets.apply(net, params, images, taps=net.taps, only_taps=True)
  _, kept = net.apply(
    {'params': params},
    images,
    capture_intermediates=True,
    mutable=['intermediates', 'batch_stats'],
  )
  for name in ('down_1', 'down_2'):
    (expected,) = kept['intermediates'][name]['__call__']
    np.testing.assert_array_equal(features[name], expected)
  pads = ((0, 0), (3, 3), (3, 3), (0, 0))
  np.testing.assert_array_equal(
    features['padded'], np.pad(images, pads, 'reflect')
  )


def convolutions(net, params, images, **options):
  net = net.clone(platform='gpu')  # one operation per convolution, and no loop
  jaxpr = jax.make_jaxpr(lambda p, x: nets.apply(net, p, x, **options))
  return str(jaxpr(params, images)).count('conv_general_dilated[')


def test_no_layer_after_the_last_requested_feature_runs(made):
  net, params, images = made
  for behind, tap in enumerate(['padded', 'down_1', 'down_2']):
    count = behind + (behind > 0)
    options = {'taps': (tap,), 'only_taps': True}
    assert convolutions(net, params, images, **options) == count
  options = {'taps': ('down_1', 'block_1'), 'only_taps': True}
  assert convolutions(net, params, images, **options) == 3 + 2 * 2
  whole = 3 + 2 * 3 + 3
  assert convolutions(net, params, images) == whole
  assert convolutions(net, params, images, taps=('down_1',)) == whole


@pytest.mark.parametrize(
  'taps', [('block_0',), ('block_1', 'block_2'), ('down_2', 'block_1')]
)
def test_blocks_in_a_loop_have_features_of_unrolled_blocks(
  made, taps, monkeypatch
):
  net, params, images = made
  found = []
  for loops in (True, False):
    monkeypatch.setattr(forward.forms, 'loops', lambda *_, is_so=loops: is_so)
    apply = jax.make_jaxpr(lambda p, x: nets.apply(net, p, x, taps=taps))
    assert ('scan[' in str(apply(params, images))) == loops
    found.append(nets.apply(net, params, images, taps=taps))
  (output, features), (other, others) = found
  np.testing.assert_allclose(output, other, atol=1e-5)
  assert list(features) == list(others) == list(taps)
  for name in taps:
    np.testing.assert_allclose(features[name], others[name], atol=1e-5)
