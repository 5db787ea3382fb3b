"""Tests that every form of a convolution equals the plain convolution."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from variants import VARIANTS

from cyclegan_jax import nets
from cyclegan_jax.nets.conv import cpu, forms, gpu, tpu, winograd
from cyclegan_jax.nets.conv.plain import Geometry, plain, product
from cyclegan_jax.nets.generators import DOWNSAMPLINGS

STRIDED, TRANSPOSED = Geometry(2, (1, 1)), Geometry(1, (1, 2), 2)
# (kernel size, geometry) of all convolutions of the networks
CASES = [
  (7, Geometry()),
  (3, Geometry()),
  (3, STRIDED),
  (3, TRANSPOSED),
  (4, STRIDED),
  (4, Geometry(1, (1, 1))),
  (4, Geometry(1, (2, 2), 2)),
  (1, Geometry()),
  (3, Geometry(1, (1, 1))),
]
SIZES = [(16, 16), (13, 18), (9, 22)]


def operands(size, height, width, inputs, outputs, batch=2):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(batch, height, width, inputs))
  kernel = rng.normal(size=(size, size, inputs, outputs))
  return jnp.array(x, jnp.float32), jnp.array(kernel, jnp.float32)


def outputs_and_gradients(form, x, kernel):
  """Output of a form, and its gradients for a random gradient of the output."""

  @jax.jit
  def run(x, kernel, grad):
    output, gradients = jax.vjp(form, x, kernel)
    return output, *gradients(grad)

  shape = jax.eval_shape(form, x, kernel).shape
  grad = np.random.default_rng(1).normal(size=shape).astype(np.float32)
  return run(x, kernel, grad)


def assert_equal_to_plain(form, geometry, x, kernel, tolerance):
  """Checks output and gradients; tolerance is relative to the largest value."""
  expected = outputs_and_gradients(partial(plain, geometry=geometry), x, kernel)
  for ours, plains in zip(outputs_and_gradients(form, x, kernel), expected):
    largest = np.abs(plains).max()
    np.testing.assert_allclose(ours, plains, rtol=0, atol=tolerance * largest)


def test_cases_cover_all_convolutions_of_the_networks(monkeypatch):
  met = set()

  def note(x, kernel, geometry):
    met.add((len(kernel), geometry))
    return plain(x, kernel, geometry)

  monkeypatch.setitem(forms.FORMS, 'cpu', note)
  made = [tiny.generator(*x.values[:1], **x.values[1])() for x in VARIANTS]
  made += [tiny.discriminator(name)() for name in nets.DISCRIMINATORS]
  made += [tiny.discriminator(downsampling=name)() for name in DOWNSAMPLINGS]
  images = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
  for net in made:
    jax.eval_shape(net.init, jax.random.key(0), images)
  assert met == set(CASES)


@pytest.mark.parametrize('height,width', SIZES)
@pytest.mark.parametrize('size,geometry', CASES)
@pytest.mark.parametrize('channels', [(3, 20), (17, 18), (16, 1), (2, 3)])
def test_cpu_form_equals_the_plain_form(
  size, geometry, height, width, channels, monkeypatch
):
  monkeypatch.setattr(cpu, '_is_small', lambda *args: False)
  x, kernel = operands(size, height, width, *channels)
  form = partial(cpu.convolve, geometry=geometry)
  assert_equal_to_plain(form, geometry, x, kernel, 1e-5)


@pytest.mark.parametrize('height,width', [*SIZES, (5, 3), (66, 10)])
def test_winograd_equals_the_plain_form(height, width, monkeypatch):
  monkeypatch.setattr(winograd, 'suits', lambda *args: True)
  monkeypatch.setattr(cpu, '_is_small', lambda *args: False)
  x, kernel = operands(3, height, width, 24, 20)
  form = partial(cpu.convolve, geometry=Geometry())
  assert_equal_to_plain(form, Geometry(), x, kernel, 1e-4)


@pytest.mark.parametrize('padding', [(1, 1), (0, 0), (2, 2)])
@pytest.mark.parametrize('channels', [(64, 128), (128, 64)])
def test_winograd_with_zero_padding_equals_the_plain_form(padding, channels):
  geometry = Geometry(padding=padding)
  x, kernel = operands(3, 33, 34, *channels, batch=1)
  assert cpu._suits_winograd(x, kernel, geometry) == any(padding)
  form = partial(cpu.convolve, geometry=geometry)
  assert_equal_to_plain(form, geometry, x, kernel, 1e-4)


def test_winograd_is_chosen_for_the_residual_blocks_of_the_paper():
  def chosen(size, channels=256):
    shape = (1, size + 2, size + 2, channels)
    return winograd.suits(shape, (3, 3, channels, channels))

  assert chosen(64)  # 256 px
  assert chosen(32)  # 128 px
  assert not chosen(16)  # 64 px
  assert not chosen(64, 64)


@pytest.mark.parametrize('height,width', SIZES)
@pytest.mark.parametrize('size,geometry', CASES)
def test_gpu_form_equals_the_plain_form(size, geometry, height, width):
  x, kernel = operands(size, height, width, 5, 3)
  form = partial(gpu.convolve, geometry=geometry)
  assert_equal_to_plain(form, geometry, x, kernel, 1e-5)


@pytest.mark.parametrize('size,geometry', [CASES[3], CASES[6]])
def test_gpu_form_avoids_slow_kernel_gradients(size, geometry):
  # XLA takes 6 ms on an H100 for such a kernel gradient over a dilated image,
  # where the layer itself takes 0.02 ms.
  x, kernel = operands(size, 32, 32, 5, 3)
  slow = r'lhs_spec=\(3, 0, 1, 2\)[^]]*lhs_dilation=\(2, 2\)'

  def found(form):
    def loss(kernel):
      return (form(x, kernel, geometry) ** 2).sum()

    return re.findall(slow, str(jax.make_jaxpr(jax.grad(loss))(kernel)))

  assert found(plain) and not found(gpu.convolve)


def test_gpu_form_changes_transposed_convolutions_only():
  x, kernel = operands(3, 34, 34, 4, 4)
  form = forms.convolution('gpu')

  def run(x, kernel):
    return form(x, kernel, (1, 1), ((0, 0), (0, 0)), lhs_dilation=(1, 1))

  text = str(jax.make_jaxpr(run)(x, kernel))
  assert 'conv_general_dilated' in text and 'custom_vjp' not in text


@pytest.mark.parametrize('height,width', SIZES)
@pytest.mark.parametrize('size,geometry', CASES)
def test_tpu_form_equals_the_plain_form(size, geometry, height, width):
  x, kernel = operands(size, height, width, 12, 3)
  form = partial(tpu.convolve, geometry=geometry)
  assert_equal_to_plain(form, geometry, x, kernel, 1e-5)


@pytest.mark.parametrize('height,width', SIZES)
@pytest.mark.parametrize('size,geometry', CASES)
def test_loop_form_equals_the_plain_form(size, geometry, height, width):
  x, kernel = operands(size, height, width, 5, 3)
  form = partial(product, geometry=geometry)
  assert_equal_to_plain(form, geometry, x, kernel, 1e-5)


def test_bfloat16_uses_the_plain_form():
  x, kernel = (a.astype(jnp.bfloat16) for a in operands(3, 34, 34, 4, 4))
  form = partial(cpu.convolve, geometry=Geometry())
  assert form(x, kernel).dtype == jnp.bfloat16
  assert 'custom_vjp' not in str(jax.make_jaxpr(form)(x, kernel))


def test_forms_have_second_derivatives(monkeypatch):
  # The gradient penalty needs gradients of gradients.
  monkeypatch.setattr(cpu, '_is_small', lambda *args: False)
  x, kernel = operands(4, 9, 8, 3, 18)

  def penalty(form, kernel):
    slope = jax.grad(lambda x: (form(x, kernel, STRIDED) ** 2).sum())(x)
    return (slope**2).sum()

  ours, plains = (
    jax.jit(jax.grad(partial(penalty, form)))(kernel)
    for form in (cpu.convolve, plain)
  )
  np.testing.assert_allclose(ours, plains, rtol=0, atol=1e-4 * plains.max())


def resnet(**options):
  options = {'width': 4, 'depth': 3} | options
  return nets.constructor(nets.GENERATORS, 'resnet', 'generator', **options)(
    out_channels=3
  )


def gradients(net, params, images):
  def loss(params, images):
    key = jax.random.PRNGKey(1)
    return (nets.apply(net, params, images, key=key) ** 2).mean()

  return jax.jit(jax.value_and_grad(loss, (0, 1)))(params, images)


def assert_same_step(changed, options, size=16, tolerance=1e-5):
  """Checks that changed options of a resnet keep parameters and gradients.

  Each gradient array is compared by its norm, because rounding near the kink of
  a ReLU changes single elements.
  """
  net, other = resnet(**options), resnet(**options | changed)
  images = operands(1, size, size, 3, 1)[0]
  params = net.init(jax.random.PRNGKey(0), images)['params']
  expected = jax.tree.leaves(gradients(net, params, images))
  actual = jax.tree.leaves(gradients(other, params, images))
  # Biases that instance norm cancels have gradients of rounding only.
  least = 1e-2 * max(np.linalg.norm(x) for x in expected)
  for ours, plains in zip(actual, expected, strict=True):
    difference = np.linalg.norm(ours - plains)
    assert difference <= tolerance * max(np.linalg.norm(plains), least)


@pytest.mark.parametrize('norm', ['instance', 'batch', 'none'])
@pytest.mark.parametrize('dropout', tiny.plain_first([0.0, 0.5], 0.0))
def test_blocks_in_a_loop_equal_unrolled_blocks(norm, dropout):
  # Gradients of biases that a norm cancels are 0 in one form, else rounding.
  options = {'norm': norm, 'dropout': dropout}
  assert_same_step({'platform': 'tpu'}, options, tolerance=2e-5)


@pytest.mark.parametrize('remat', ['blocks', 'all'])
@pytest.mark.parametrize('platform', ['cpu', 'tpu'])
def test_remat_does_not_change_gradients(remat, platform):
  assert_same_step({'remat': remat}, {'platform': platform, 'dropout': 0.5})


def test_a_network_in_cpu_forms_equals_the_plain_network(monkeypatch):
  monkeypatch.setattr(cpu, '_is_small', lambda *args: False)
  monkeypatch.setattr(
    winograd, 'suits', lambda x, kernel, *least: kernel[0] == 3
  )
  options = {'width': 16, 'platform': 'tpu'}
  assert_same_step({'platform': 'cpu'}, options, size=36, tolerance=1e-4)
