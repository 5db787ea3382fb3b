"""Tests that layers in forms for TPUs equal the plain layers, on any device."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import linen as nn
from variants import VARIANTS

from cyclegan_jax import nets
from cyclegan_jax.nets import verbs
from cyclegan_jax.nets.conv import edges, packed, strips, tpu
from cyclegan_jax.nets.conv.norm import Rest, instance_norm
from cyclegan_jax.nets.conv.plain import Geometry, plain
from cyclegan_jax.nets.layers import EPSILON

MODES = ['reflect', 'replicate', 'zeros']
NUMPY_MODES = {'reflect': 'reflect', 'replicate': 'edge', 'zeros': 'constant'}


def draw(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return jnp.array(rng.normal(size=shape), jnp.float32)


def with_gradients(run, *inputs):
  """Output of `run`, and gradients for a random gradient of the output."""

  @jax.jit
  def both(inputs, grad):
    output, gradients = jax.vjp(run, *inputs)
    return output, *gradients(grad)

  shape = jax.eval_shape(run, *inputs).shape
  return both(inputs, draw(*shape, seed=1))


def assert_same(run, expected, *inputs, tolerance=1e-5):
  pairs = zip(
    with_gradients(run, *inputs), with_gradients(expected, *inputs), strict=True
  )
  for ours, plains in pairs:
    largest = np.abs(plains).max()
    np.testing.assert_allclose(ours, plains, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize(
  'batch, height, multiple, expected',
  [
    (1, 256, 4, 8),
    (2, 256, 4, 4),
    (3, 256, 4, 2),
    (4, 256, 4, 2),
    (8, 256, 4, 1),
    (9, 256, 4, 1),
    (1, 64, 8, 4),  # the coarsest 8 rows leave two per strip
    (1, 52, 4, 1),  # 13 rows
    (1, 70, 8, 1),
    (1, 256, 256, 1),
    (0, 256, 4, 8),
  ],
)
def test_the_number_of_strips_fills_the_registers(
  batch, height, multiple, expected
):
  assert strips.count(batch, height, multiple) == expected


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('rows, columns', [((1, 1), (1, 1)), ((3, 0), (0, 2))])
@pytest.mark.parametrize('count', [1, 2, 4])
def test_padded_strips_equal_strips_of_the_padded_image(
  mode, rows, columns, count
):
  x = draw(2, 16, 6, 3)
  padded = np.pad(x, ((0, 0), rows, columns, (0, 0)), NUMPY_MODES[mode])
  height = 16 // count
  expected = [
    picture[i * height : (i + 1) * height + sum(rows)]
    for picture in padded
    for i in range(count)
  ]
  ours = strips.pad(strips.cut(x, count), count, rows, columns, mode)
  np.testing.assert_array_equal(ours, np.array(expected))
  np.testing.assert_array_equal(strips.join(strips.cut(x, count), count), x)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('count', [1, 2])
@pytest.mark.parametrize('pairs', [1, 2])
def test_padding_and_packing_commute(mode, count, pairs):
  x = draw(2, 16, 8, 3)
  both = (2 * pairs, 2 * pairs)
  plainly = strips.pad(strips.cut(x, count), count, both, both, mode)
  both = (pairs, pairs)
  ours = edges.pack(strips.cut(x, count))
  ours = strips.pad(ours, count, both, both, mode, packed=True)
  np.testing.assert_array_equal(edges.unpack(ours), plainly)


@pytest.mark.parametrize('size', [3, 5, 7])
def test_a_kernel_between_packed_images_equals_the_plain_form(size):
  def run(x, kernel):
    weights = packed.between(kernel)
    around = (len(weights) // 2,) * 2
    x = strips.pad(edges.pack(x), 1, around, around, 'zeros')
    return edges.unpack(plain(x, weights, Geometry()))

  around = Geometry(padding=(size // 2,) * 2)
  expected = partial(plain, geometry=around)
  assert_same(run, expected, draw(2, 8, 12, 3), draw(size, size, 3, 5))


@pytest.mark.parametrize('size', [3, 4])
def test_a_strided_kernel_on_packed_images_equals_the_plain_form(size):
  def run(x, kernel):
    pads = (1, size - 3)
    x = strips.pad(edges.pack(x), 1, pads, pads, 'zeros')
    return plain(x, packed.halving(kernel), Geometry())

  expected = partial(plain, geometry=Geometry(2, (1, 1)))
  assert_same(run, expected, draw(2, 8, 12, 3), draw(size, size, 3, 5))


def test_a_transposed_kernel_to_packed_images_equals_the_plain_form():
  def run(x, kernel):
    x = strips.pad(x, 1, (0, 1), (0, 1), 'zeros')
    return edges.unpack(plain(x, packed.doubling(kernel), Geometry()))

  expected = partial(plain, geometry=Geometry(1, (1, 2), 2))
  assert_same(run, expected, draw(2, 8, 12, 3), draw(3, 3, 3, 5))


def test_few_outputs_pads_columns_like_the_plain_form():
  def expected(x, kernel):
    return plain(
      strips.pad(x, 1, (0, 0), (3, 3), 'reflect'), kernel, Geometry()
    )

  run = partial(tpu.few_outputs, padding=3, mode='reflect')
  assert_same(run, expected, draw(2, 10, 9, 5), draw(7, 7, 5, 3))


def test_few_outputs_has_the_precision_of_bfloat16():
  x, kernel = draw(1, 70, 70, 64), draw(7, 7, 64, 3)
  rounded = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
  exact = plain(*(y.astype(jnp.float32) for y in rounded), Geometry())
  plainly = plain(*rounded, Geometry())
  errors = [
    np.sqrt(np.mean((y.astype(jnp.float32) - exact) ** 2))
    for y in (tpu.few_outputs(*rounded), plainly)
  ]
  assert errors[0] < 1.5 * errors[1]


@pytest.mark.parametrize('is_packed', [False, True])
@pytest.mark.parametrize('count', [1, 2])
@pytest.mark.parametrize('slope', [1.0, 0.0, 0.2])
def test_a_norm_with_activation_and_padding_equals_plain_layers(
  slope, count, is_packed
):
  rest = Rest(count, slope, 1, 2, 'reflect', is_packed)
  sizes = [(2 * n, 2 * n) if is_packed else (n, n) for n in rest[2:4]]

  def run(x, scale, bias):
    x = strips.cut(x, count)
    if not is_packed:
      return instance_norm(x, scale, bias, rest)
    return edges.unpack(instance_norm(edges.pack(x), scale, bias, rest))

  def expected(x, scale, bias):
    params = {'params': {'scale': scale, 'bias': bias}}
    norm = nn.InstanceNorm(epsilon=EPSILON, use_fast_variance=False)
    x = nn.leaky_relu(norm.apply(params, x), slope)
    return strips.pad(strips.cut(x, count), count, *sizes, 'reflect')

  inputs = draw(2, 16, 12, 4), draw(4), draw(4)
  assert_same(run, expected, *inputs)


def test_a_norm_without_scale_and_bias_uses_one_and_zero():
  def run(x, scale, bias):
    del scale, bias
    return instance_norm(x, None, None, Rest())

  ones = partial(instance_norm, rest=Rest())
  inputs = draw(2, 8, 6, 4), jnp.ones(4), jnp.zeros(4)
  for x, expected in zip(
    with_gradients(run, *inputs)[:2], with_gradients(ones, *inputs)[:2]
  ):
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('value', [0.0, 1.0, 100.0, -3e4])
def test_the_one_pass_norm_of_a_constant_image_is_near_zero(value):
  x = jnp.full((1, 64, 64, 2), value, jnp.bfloat16)
  assert np.abs(instance_norm(x, None, None, Rest())).max() < 0.05


@pytest.mark.parametrize('mean', [0, 3, 30])
def test_the_one_pass_norm_has_the_precision_of_bfloat16(mean):
  x = draw(1, 64, 64, 2) + mean
  rounded = x.astype(jnp.bfloat16)
  ours = instance_norm(rounded, None, None, Rest()).astype(jnp.float32)
  expected = instance_norm(rounded.astype(jnp.float32), None, None, Rest())
  assert np.abs(ours - expected).max() < 0.02


def test_padding_at_the_start_of_layers_is_found():
  assert verbs.first_padding(lambda do, x: do.pad(x, 2, 'replicate')) == (
    2,
    'replicate',
  )
  assert verbs.first_padding(lambda do, x: do.normalize(x, 'norm')) is None


def outputs_and_gradients(make, params, x, taps, **options):
  """Returns outputs of a network, and gradients by parameters and images."""
  net = make(**options)

  @jax.jit
  @partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
  def run(params, x):
    made = nets.apply(net, params, x, key=jax.random.PRNGKey(1), taps=taps)
    leaves = [y.astype(jnp.float32) for y in jax.tree.leaves(made)]
    return sum((y**2).mean() + y.mean() for y in leaves), leaves

  (_, leaves), gradients = run(params, x)
  return leaves, jax.tree.leaves(gradients)


def assert_same_network(make, x, taps=(), tolerance=3e-5):
  """Checks that a network in forms for TPUs equals the plain network.

  Each array is compared by its norm, because rounding near the kink of a ReLU
  changes single elements.
  """
  inits = [tiny.init(make(platform=name), x) for name in ('gpu', 'tpu')]
  jax.tree.map(np.testing.assert_array_equal, *inits)
  (expected, slopes), (ours, our_slopes) = (
    outputs_and_gradients(make, inits[0], x, taps, platform=platform)
    for platform in ('gpu', 'tpu')
  )
  assert [y.shape for y in ours] == [y.shape for y in expected]
  # Biases that instance norm cancels have gradients of rounding only.
  least = 1e-2 * max(np.linalg.norm(x) for x in slopes)
  for y, z in zip(ours, expected):
    assert np.linalg.norm(y - z) <= tolerance * np.linalg.norm(z)
  for y, z in zip(our_slopes, slopes, strict=True):
    assert np.linalg.norm(y - z) <= tolerance * max(np.linalg.norm(z), least)


def generator(name, **options):
  small = {'resnet': {'depth': 1}, 'unet': {'depth': 4}}
  options = {'width': 4} | small[name] | options
  return lambda **more: nets.constructor(
    nets.GENERATORS, name, 'generator', **options, **more
  )(out_channels=3)


def discriminator(name, **options):
  return lambda **more: nets.constructor(
    nets.DISCRIMINATORS, name, 'discriminator', width=4, **options, **more
  )()


@pytest.mark.parametrize('name, options', VARIANTS)
def test_generators_equal_their_plain_form(name, options):
  assert_same_network(generator(name, **options), draw(1, 64, 16, 3))


@pytest.mark.parametrize('shape', [(3, 61, 30, 1), (9, 16, 16, 3)])
@pytest.mark.slow
def test_a_generator_of_any_batch_and_size_equals_its_plain_form(shape):
  assert_same_network(generator('resnet'), draw(*shape))


@pytest.mark.parametrize(
  'options',
  [
    {'norm': 'instance_affine'},
    *tiny.plain_first(
      [{'norm': 'batch'}, {'norm': 'none'}, {'norm': 'batch_frozen'}], None
    ),
    *tiny.plain_first([{'dropout': 0.5}, {'remat': 'blocks'}], None),
  ],
  ids=str,
)
def test_a_generator_with_other_options_equals_its_plain_form(options):
  assert_same_network(generator('resnet', **options), draw(1, 32, 16, 3))


def test_features_equal_features_of_the_plain_form():
  make = generator('resnet', depth=2)
  assert_same_network(make, draw(1, 32, 16, 3), make().taps)


@pytest.mark.parametrize('name', nets.DISCRIMINATORS)
def test_discriminators_equal_their_plain_form(name):
  # Initial scores are near zero, and their gradients are small sums.
  make = discriminator(name)
  assert_same_network(make, draw(2, 64, 48, 3), tolerance=2e-4)


@pytest.mark.slow
def test_a_blurred_discriminator_equals_its_plain_form():
  make = discriminator('patchgan', downsampling='blur')
  assert_same_network(make, draw(1, 32, 32, 3), tolerance=2e-4)
