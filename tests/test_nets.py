"""Tests of all networks: parameter counts, receptive fields, sizes, options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.extend.core import jaxprs_in_params
from variants import BLURS, VARIANTS

from cyclegan_jax import nets
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.nets import blur
from cyclegan_jax.nets.generators import DOWNSAMPLINGS
from cyclegan_jax.nets.layers import INITS, NORMS, Dropout, Net


def count(net, channels=3, size=256):
  images = jnp.zeros((1, size, size, channels))
  shapes = jax.eval_shape(net.init, jax.random.PRNGKey(0), images)
  return sum(x.size for x in jax.tree.leaves(shapes['params']))


@pytest.mark.parametrize('options', [{}, BLURS], ids=['plain', 'blurs'])
@pytest.mark.parametrize(
  'name, expected', [('resnet_9blocks', 11378179), ('resnet_6blocks', 7837699)]
)
def test_generator_has_the_published_parameters(name, expected, options):
  assert count(nets.GENERATORS[name](**options)) == expected


@pytest.mark.parametrize('downsampling', DOWNSAMPLINGS)
@pytest.mark.parametrize('channels, expected', [(3, 2764737), (6, 2767809)])
def test_patchgan_has_the_published_parameters(
  channels, expected, downsampling
):
  net = nets.DISCRIMINATORS['patchgan'](downsampling=downsampling)
  assert count(net, channels) == expected


def receptive_field(net, size, tap=None):
  """Size of the input region that the middle of an output or feature sees."""
  images = jnp.ones((1, size, size, 3))  # ReLU has no gradient at zero
  params = tiny.init(net, images)
  # Positive weights: no path from a pixel to the score cancels another.
  params = jax.tree.map(lambda x: jnp.abs(x) + 0.01, params)

  def middle_score(x):
    if tap:
      x = nets.apply(net, params, x, taps=(tap,), only_taps=True)[tap]
    else:
      x = nets.apply(net, params, x)
    return x[0, x.shape[1] // 2, x.shape[2] // 2, 0]

  touched = jnp.abs(jax.grad(middle_score)(images)).sum((0, 3)) > 0
  rows, columns = jnp.where(touched)
  return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


@pytest.mark.parametrize('depth, side', [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_patchgan_has_the_published_receptive_field(depth, side):
  net = tiny.discriminator(width=2, depth=depth, norm='none')()
  assert receptive_field(net, side * 2 + 30) == (side, side)


@pytest.mark.parametrize('depth, side', [(1, 18), (2, 40), (3, 84)])
def test_blurred_patchgan_has_the_receptive_field_of_cut(depth, side):
  make = tiny.discriminator(
    width=2, depth=depth, norm='none', downsampling='blur'
  )
  assert receptive_field(make(), side * 2 + 30) == (side, side)


@pytest.mark.parametrize(
  'tap, side',
  [
    ('padded', 1),
    ('down_1', 9),
    ('down_2', 15),
    ('block_0', 35),
    ('block_4', 99),
  ],
)
def test_features_have_the_receptive_fields_of_cut(tap, side):
  net = tiny.generator(width=2, depth=5, norm='none', **BLURS)()
  assert receptive_field(net, 160, tap) == (side, side)


def test_pixelgan_has_a_receptive_field_of_one_pixel():
  net = tiny.discriminator('pixelgan', depth=0, norm='none')()
  assert receptive_field(net, 8) == (1, 1)


@pytest.mark.parametrize('downsampling', DOWNSAMPLINGS)
def test_patchgan_map_is_30_at_256_and_14_at_128(downsampling):
  net = nets.DISCRIMINATORS['patchgan'](downsampling=downsampling)
  for size, side in ((256, 30), (128, 14)):
    images = jnp.zeros((1, size, size, 3))
    scores = jax.eval_shape(net.init_with_output, jax.random.PRNGKey(0), images)
    assert scores[0].shape == (1, side, side, 1)


def test_patchgan_refuses_too_small_images():
  net = tiny.discriminator(depth=3)()
  jax.eval_shape(net.init, jax.random.PRNGKey(0), jnp.zeros((1, 24, 24, 3)))
  with pytest.raises(UserError, match='discriminator.depth=3.*crop_size >= 24'):
    jax.eval_shape(net.init, jax.random.PRNGKey(0), jnp.zeros((1, 23, 24, 3)))


@pytest.mark.parametrize(
  'name, options',
  [(name, {}) for name in sorted(nets.GENERATORS)] + VARIANTS,
)
@pytest.mark.parametrize('height, width', [(32, 32), (33, 50), (9, 8)])
def test_output_is_as_large_as_the_input(name, options, height, width):
  net = tiny.generator(name, **options)(out_channels=2)
  images = jnp.zeros((1, height, width, 5))
  output, _ = jax.eval_shape(
    net.init_with_output, jax.random.PRNGKey(0), images
  )
  assert output.shape == (1, height, width, 2)
  assert output.dtype == jnp.float32


def test_odd_sizes_are_padded_by_reflection_and_cropped(rng):
  images = jnp.asarray(rng.uniform(-1, 1, (1, 18, 19, 3)), jnp.float32)
  net = tiny.generator()(out_channels=3)
  params = tiny.init(net, images)
  padded = jnp.pad(images, ((0, 0), (1, 1), (0, 1), (0, 0)), 'reflect')
  np.testing.assert_array_equal(
    nets.apply(net, params, images),
    nets.apply(net, params, padded)[:, 1:19, :19],
  )


@pytest.mark.parametrize('norm', sorted(NORMS))
@pytest.mark.parametrize('name, options', VARIANTS)
def test_bfloat16_keeps_parameters_and_output_float32(name, options, norm):
  make = tiny.generator(name, norm=norm, dtype=jnp.bfloat16, **options)
  images = jnp.zeros((1, 16, 16, 3))
  net = make(out_channels=3)
  output, variables = jax.eval_shape(
    net.init_with_output, jax.random.PRNGKey(0), images
  )
  assert output.dtype == jnp.float32
  assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype('float32')}


def equations(jaxpr):
  """Yields the equations of a jaxpr and of all inner jaxprs."""
  for equation in jaxpr.eqns:
    yield equation
    for inner in jaxprs_in_params(equation.params):
      yield from equations(inner)


@pytest.mark.parametrize('options', [{}, BLURS], ids=['plain', 'blurs'])
def test_bfloat16_computes_in_bfloat16_with_float32_statistics(options):
  net = tiny.generator(dtype=jnp.bfloat16, **options)(out_channels=3)
  images = jnp.zeros((1, 16, 16, 3))
  params = tiny.init(net, images)
  jaxpr = jax.make_jaxpr(lambda p, x: nets.apply(net, p, x))(params, images)
  types = {'conv_general_dilated': set(), 'reduce_sum': set()}
  for equation in equations(jaxpr):
    if equation.primitive.name in types:
      types[equation.primitive.name].add(str(equation.outvars[0].aval.dtype))
  assert types == {
    'conv_general_dilated': {'bfloat16'},
    'reduce_sum': {'float32'},
  }


@pytest.mark.parametrize('name', sorted(INITS))
def test_init_types_scale_with_the_gain(name):
  def deviation(gain):
    kernel = INITS[name](gain)(jax.random.PRNGKey(0), (3, 3, 64, 64))
    return float(kernel.std())

  expected = {
    'normal': 0.02,
    'xavier': 0.02 * (2 / (9 * 64 * 2)) ** 0.5,
    'kaiming': (2 / (9 * 64)) ** 0.5,
    'orthogonal': 0.02 * (1 / (9 * 64)) ** 0.5,
  }
  assert deviation(0.02) == pytest.approx(expected[name], rel=0.02)


def test_official_init_is_normal_with_zero_bias():
  net = nets.DISCRIMINATORS['patchgan']()
  params = jax.jit(net.init)(jax.random.PRNGKey(0), jnp.zeros((1, 32, 32, 3)))
  layer = params['params']['conv_2']
  assert float(layer['kernel'].std()) == pytest.approx(0.02, rel=0.02)
  assert float(jnp.abs(layer['bias']).max()) == 0


@pytest.mark.parametrize(
  'norm, biased, weights',
  [
    ('instance', True, set()),
    ('instance_affine', True, {'scale', 'bias'}),
    ('batch', False, {'scale', 'bias'}),
    ('batch_frozen', False, {'scale', 'bias', 'mean', 'var'}),
    ('none', False, set()),
  ],
)
def test_convolutions_have_a_bias_with_instance_norm(norm, biased, weights):
  net = tiny.discriminator(depth=2, norm=norm)()
  params = tiny.init(net, jnp.zeros((1, 16, 16, 3)))
  assert 'bias' in params['conv_0'] and 'bias' in params['last']
  assert ('bias' in params['conv_1']) == biased
  assert set(params.get('norm_1', {})) == weights


def test_frozen_batch_norm_averages_have_no_gradient(rng):
  x = rng.normal(2, 3, (2, 4, 4, 2)).astype(np.float32)
  layer = NORMS['batch_frozen'](Net(), None, None)
  params = layer.init(jax.random.PRNGKey(0), x)['params']
  params |= {'mean': x.mean((0, 1, 2)), 'var': x.var((0, 1, 2))}

  def loss(params):
    return (layer.apply({'params': params}, x) ** 3).sum()

  output = layer.apply({'params': params}, x)
  batch = NORMS['batch'](Net(), None, None)
  expected, _ = batch.apply(
    {'params': {name: params[name] for name in ('scale', 'bias')}},
    x,
    mutable=['batch_stats'],
  )
  np.testing.assert_allclose(output, expected, atol=1e-5)
  grads = jax.grad(loss)(params)
  assert not grads['mean'].any() and not grads['var'].any()
  assert grads['scale'].all() and grads['bias'].all()


@pytest.mark.parametrize(
  'dtype', tiny.plain_first([jnp.float32, jnp.bfloat16], jnp.bfloat16)
)
@pytest.mark.parametrize(
  'name', sorted(nets.GENERATORS) + sorted(nets.DISCRIMINATORS)
)
def test_constant_images_give_finite_gradients(name, dtype):
  """Instance norm divides by the deviation, which is 0 here."""
  if name in nets.GENERATORS:
    net = tiny.generator(name, norm='instance', dtype=dtype)(out_channels=3)
  else:
    net = tiny.discriminator(name, norm='instance', dtype=dtype)()
  black_gray_white = jnp.array([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1)
  images = jnp.broadcast_to(black_gray_white, (3, 16, 16, 3))
  params = tiny.init(net, images)

  def loss(params, images):
    output = nets.apply(net, params, images)
    return (output**2).sum(), output

  run = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
  grads, output = run(params, images)
  for x in jax.tree.leaves((grads, output)):
    assert jnp.isfinite(x).all()


@pytest.mark.parametrize('norm', ['instance', 'batch'])
def test_norms_are_exact_on_near_constant_input(norm, rng):
  """The formula E x^2 - (E x)^2 loses all digits of the variance here."""
  x = (1 + 0.01 * rng.standard_normal((1, 64, 64, 2))).astype(np.float32)
  layer = NORMS[norm](Net(), None, None)
  output, _ = layer.init_with_output(jax.random.PRNGKey(0), x)
  if norm == 'batch':  # its scale is random
    output = output / output.std((0, 1, 2), keepdims=True)
  exact = x.astype(np.float64) - x.mean((0, 1, 2), dtype=np.float64)
  exact /= np.sqrt(exact.var((0, 1, 2)) + 1e-5)
  if norm == 'batch':
    exact /= exact.std((0, 1, 2))
  np.testing.assert_allclose(output, exact, atol=2e-4)


def test_dropout_acts_in_training_only(rng):
  images = jnp.asarray(rng.uniform(-1, 1, (2, 16, 16, 3)), jnp.float32)
  net = tiny.generator(dropout=0.5, init_gain=0.2)(out_channels=3)
  params = tiny.init(net, images)

  def run(seed=None):
    key = None if seed is None else jax.random.PRNGKey(seed)
    return np.asarray(nets.apply(net, params, images, key=key))

  np.testing.assert_array_equal(run(1), run(1))
  assert np.abs(run(1) - run(2)).max() > 1e-3
  assert np.abs(run(1) - run()).max() > 1e-3


def test_dropout_keeps_the_mean_and_drops_its_share():
  ones = jnp.ones((8, 32, 32, 4))
  rngs = {'dropout': jax.random.PRNGKey(0)}
  dropped = Dropout(0.25).apply({}, ones, True, None, rngs=rngs)
  assert set(np.unique(dropped)) == {0, np.float32(1 / 0.75)}
  assert float((dropped == 0).mean()) == pytest.approx(0.25, abs=0.01)


def test_upsamplings_of_a_constant_image_are_constant():
  """A transposed convolution makes checkerboards of constant images."""

  def spread(upsampling):
    net = tiny.generator(upsampling=upsampling, norm='none', init_gain=0.2)(
      out_channels=3
    )
    images = jnp.full((1, 64, 64, 3), 0.5)
    params = tiny.init(net, images)
    return float(
      nets.apply(net, params, images)[:, 24:40, 24:40].std((1, 2)).max()
    )

  assert spread('resize') < 1e-5 < 1e-4 < spread('transpose')
  assert spread('blur') < 1e-5


def test_blurs_of_a_row_equal_a_count_by_hand():
  row = np.float32([0, 8, 4, 12])
  picture = jnp.asarray(row.reshape(1, 1, 4, 1))
  both = jnp.concatenate([picture, picture], 1)
  # The row is mirrored to 8 | 0 8 4 12 | 4; the 2nd and 4th pixel are kept.
  np.testing.assert_array_equal(blur.down(both)[0, 0, :, 0], [4, 7])
  doubled = blur.up(picture)
  assert doubled.shape == (1, 2, 8, 1)
  for line in doubled[0, ..., 0]:
    np.testing.assert_array_equal(line, [0, 2, 6, 7, 5, 6, 10, 12])
  columns = picture.transpose(0, 2, 1, 3)
  np.testing.assert_array_equal(blur.up(columns), doubled.transpose(0, 2, 1, 3))


@pytest.mark.parametrize('side, halved', [(2, 1), (3, 2), (7, 4), (8, 4)])
def test_blurs_round_odd_sizes_up_and_keep_constants(side, halved):
  picture = jnp.full((1, side, 2 * side, 2), 0.7)
  down, up = blur.down(picture), blur.up(picture)
  assert down.shape == (1, halved, side, 2)
  assert up.shape == (1, 2 * side, 4 * side, 2)
  np.testing.assert_allclose(down, 0.7, rtol=1e-6)
  np.testing.assert_allclose(up, 0.7, rtol=1e-6)


def test_unknown_names_list_the_known_names():
  with pytest.raises(UserError, match="mean 'resnet_9blocks'.*unet_256"):
    nets.constructor(nets.GENERATORS, 'resnet_9block', 'generator')
  with pytest.raises(UserError, match='norm=.*instance'):
    net = tiny.generator(norm='layer')(out_channels=3)
    tiny.init(net, jnp.zeros((1, 16, 16, 3)))


@pytest.mark.parametrize(
  'section, name, options',
  [
    ('generator', 'unet', {'upsampling': 'blur'}),
    ('generator', 'resnet', {'upsampling': 'nearest'}),
    ('generator', 'resnet', {'downsampling': 'pool'}),
    ('generator', 'resnet', {'padding': 'zeros'}),
    ('discriminator', 'patchgan', {'downsampling': 'pool'}),
  ],
)
def test_options_for_missing_layers_are_refused(section, name, options):
  net = getattr(tiny, section)(name, **options)()
  ((option, value),) = options.items()
  with pytest.raises(UserError, match=f"{section}.{option}='{value}'") as e:
    jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
  assert '\n' not in str(e.value)


def test_a_depth_for_a_name_that_fixes_it_is_refused():
  with pytest.raises(UserError, match="depth to 9: use the name 'resnet'"):
    nets.constructor(nets.GENERATORS, 'resnet_9blocks', 'generator', depth=3)
