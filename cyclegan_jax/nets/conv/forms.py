"""Convolutions in the form that is fastest on a platform, to the same result.

Accelerators take XLA's own convolution, but for one gradient that the TPU's
compiler spends minutes on, and one that a GPU runs with a window as large as
the image: the kernel's gradient of a transposed convolution, more than half of
a step's time on an H100. On the CPU XLA is slow at some shapes, which other
forms of the same sums avoid (figures of all in docs/performance.md):

- an output whose size is a power of two: one row more, cut off again;
- the gradient of a kernel: matrix products of the shifted pictures;
- 3x3 between many channels: Winograd's F(4x4, 3x3) (Lavin and Gray 2016).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cyclegan_jax.nets.conv import kernel_gradients, winograd


class Geometry(NamedTuple):
  """What a convolution is but for its operands, the same along both sides.

  Attributes:
    stride: of the window.
    padding: zeros (before, after).
    dilation: of the input; 2 makes a transposed convolution.
  """

  stride: int = 1
  padding: tuple[int, int] = (0, 0)
  dilation: int = 1


def plain(x, kernel, geometry):
  """XLA's convolution.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    geometry: a `Geometry`.

  Returns:
    [batch, height', width', outputs].
  """
  return lax.conv_general_dilated(
    x,
    kernel,
    (geometry.stride,) * 2,
    (geometry.padding,) * 2,
    lhs_dilation=(geometry.dilation,) * 2,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def convolution(platform):
  """The convolution for a platform, to be called as Flax's layers do."""
  form = FORMS.get(platform, plain)

  def convolve(x, kernel, strides, padding, *, lhs_dilation, **options):
    del options  # no groups, no kernel dilation here
    return form(x, kernel, Geometry(strides[0], padding[0], lhs_dilation[0]))

  return convolve


def loops(platform, x):
  """Whether 3x3 convolutions of x, to as many channels, may stand in a loop.

  XLA compiles a convolution within a loop to naive code on the CPU; Winograd's
  form has none. On a GPU a step with a loop took 64 ms, without one 53 ms. On a
  TPU a loop costs nothing and compiles once.
  """
  if platform in (ANY, 'gpu'):
    return False
  kernel = (3, 3, x.shape[-1], x.shape[-1])
  return platform != 'cpu' or winograd.suits(x.shape, kernel)


def in_loop(platform):
  """The platform to choose forms for, of a network that runs in a loop.

  At 64 px a step of CoGAN's search took 0.5 s in XLA's naive code, and 0.015 s
  in matrix products, on a core of a CPU.
  """
  return CPU_LOOP if platform == 'cpu' else platform


def reads_kernels(shape):
  """Whether 3x3 convolutions of the shape mostly read their kernels.

  Then a CPU gains from a larger batch: Winograd's form with few tiles.
  """
  kernel = (3, 3, shape[-1], shape[-1])
  return winograd.suits(shape, kernel) and np.prod(shape[:3]) <= 2048


def _cpu(x, kernel, geometry):
  if x.dtype != jnp.float32 or _is_small(x, kernel, geometry):
    return plain(x, kernel, geometry)
  return _cpu_float32(x, kernel, geometry)


def _tpu(x, kernel, geometry):
  # Few outputs of a large window: the gradient of the generators' last kernel.
  if kernel.shape[0] < 7 or kernel.shape[3] > 8 or geometry != Geometry():
    return plain(x, kernel, geometry)
  return _tpu_thin(x, kernel)


def _gpu(x, kernel, geometry):
  if geometry.dilation == 1:
    return plain(x, kernel, geometry)
  return _gpu_transposed(x, kernel, geometry)


def product(x, kernel, geometry):
  """`plain` as a matrix product with what the kernel sees at each place."""
  size, stride = len(kernel), geometry.stride
  pads = (*geometry.padding, geometry.dilation - 1)
  zero = jnp.zeros((), x.dtype)
  x = lax.pad(x, zero, [(0, 0, 0), pads, pads, (0, 0, 0)])
  height, width = ((side - size) // stride + 1 for side in x.shape[1:3])
  seen = [
    x[:, top:, left:][:, ::stride, ::stride][:, :height, :width]
    for top in range(size)
    for left in range(size)
  ]
  return jnp.concatenate(seen, -1) @ kernel.reshape(-1, kernel.shape[-1])


def _any(x, kernel, geometry):
  # Without Winograd's form, which rounds more.
  return lax.platform_dependent(
    x,
    kernel,
    cpu=partial(one_row_more, geometry=geometry),
    default=partial(plain, geometry=geometry),
  )


# For programs to export, of any size: chosen by the platform they meet.
ANY = 'any'
# For what runs in a loop on a CPU.
CPU_LOOP = 'cpu loop'
FORMS = {
  'cpu': _cpu,
  'gpu': _gpu,
  'tpu': _tpu,
  ANY: _any,
  CPU_LOOP: product,
}


@jax.custom_vjp
def _tpu_thin(x, kernel):
  return plain(x, kernel, Geometry())


def _tpu_forward(x, kernel):
  return _tpu_thin(x, kernel), (x, kernel)


def _tpu_backward(residuals, grad):
  x, kernel = residuals
  _, gradient_x = jax.vjp(lambda x: plain(x, kernel, Geometry()), x)
  return *gradient_x(grad), kernel_gradients.thin(x, kernel, grad)


_tpu_thin.defvjp(_tpu_forward, _tpu_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _gpu_transposed(x, kernel, geometry):
  return plain(x, kernel, geometry)


def _gpu_forward(x, kernel, geometry):
  return _gpu_transposed(x, kernel, geometry), (x, kernel)


def _gpu_backward(geometry, residuals, grad):
  x, kernel = residuals
  _, gradient_x = jax.vjp(lambda x: plain(x, kernel, geometry), x)
  return *gradient_x(grad), as_strided(x, kernel, grad, geometry)


_gpu_transposed.defvjp(_gpu_forward, _gpu_backward)


def as_strided(x, kernel, grad, geometry):
  """The kernel's gradient of a transposed convolution.

  The transposed convolution of x is the gradient of a strided convolution of
  the output, whose own kernel gradient is one that cuDNN has an algorithm for.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    grad: the output's gradient [batch, height', width', outputs].
    geometry: a `Geometry` with a dilation and the stride 1.
  """
  size = kernel.shape[0]
  before, after = geometry.padding
  strided = Geometry(geometry.dilation, (size - 1 - before, size - 1 - after))
  mirrored = jnp.zeros_like(kernel.swapaxes(2, 3))
  _, gradient = jax.vjp(lambda k: plain(grad, k, strided), mirrored)
  return jnp.flip(gradient(x)[0], (0, 1)).swapaxes(2, 3)


def _is_small(x, kernel, geometry):
  """Whether other forms would cost more than they save."""
  output = jax.eval_shape(partial(plain, geometry=geometry), x, kernel)
  products = output.size * kernel[..., 0].size
  return geometry.dilation == 1 and products < 1e8


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _cpu_float32(x, kernel, geometry):
  if _suits_winograd(x, kernel, geometry):
    return winograd.convolve(_padded(x, geometry), kernel)
  return one_row_more(x, kernel, geometry)


def _cpu_forward(x, kernel, geometry):
  return _cpu_float32(x, kernel, geometry), (x, kernel)


def _cpu_backward(geometry, residuals, grad):
  x, kernel = residuals
  if _suits_winograd(x, kernel, geometry):
    gradient_x, gradient_kernel = winograd.gradients(
      _padded(x, geometry), kernel, grad
    )
    before, (height, width) = geometry.padding[0], x.shape[1:3]
    inner = gradient_x[:, before : before + height, before : before + width]
    return inner, gradient_kernel
  return (
    input_gradient(x, kernel, grad, geometry),
    kernel_gradients.by_rows(x, kernel, grad, geometry),
  )


_cpu_float32.defvjp(_cpu_forward, _cpu_backward)


def _suits_winograd(x, kernel, geometry):
  if geometry != Geometry(padding=geometry.padding):
    return False
  # 64 -> 128 at 256x256 with zeros around it, forward and backward: 216 in
  # place of 413 ms; 128 -> 64 146 in place of 320 ms.
  padded = any(geometry.padding) and max(kernel.shape[2:]) >= 128
  least = 64 if padded else 128
  return winograd.suits(x.shape, kernel.shape, least)


def _padded(x, geometry):
  """x with the zeros around it that a convolution of the geometry sees."""
  return jnp.pad(x, ((0, 0), geometry.padding, geometry.padding, (0, 0)))


def one_row_more(x, kernel, geometry):
  """`plain` by way of one output row too many, which is cut off."""
  before, after = geometry.padding
  rows = jax.eval_shape(partial(plain, geometry=geometry), x, kernel).shape[1]
  return lax.conv_general_dilated(
    x,
    kernel,
    (geometry.stride,) * 2,
    ((before, after + geometry.stride), geometry.padding),
    lhs_dilation=(geometry.dilation,) * 2,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )[:, :rows]


def input_gradient(x, kernel, grad, geometry):
  """The gradient of the input [batch, height, width, inputs].

  For few inputs a convolution of its own, since XLA is slow where that one's
  padding is part of it.
  """
  size, _, inputs, _ = kernel.shape
  before, after = geometry.padding
  if inputs > kernel_gradients.THIN or geometry != Geometry(
    padding=geometry.padding
  ):
    _, gradient = jax.vjp(lambda x: plain(x, kernel, geometry), x)
    return gradient(grad)[0]
  around = (size - 1 - before, size - 1 - after)
  grad = jnp.pad(grad, ((0, 0), around, around, (0, 0)))
  kernel = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
  return one_row_more(lax.optimization_barrier(grad), kernel, Geometry())
