"""Convolutions in forms that are fast on a CPU.

XLA's own convolution is slow in some cases. They are computed in other forms
(times in docs/performance.md):

- an output size that is a power of two: with one additional row, cut off again;
- a transposed convolution: as one convolution per phase of the output, without
  zeros between the pixels of the input;
- the gradient of the kernel: as matrix products of shifted images;
- a 3x3 kernel between many channels: by Winograd's F(4x4, 3x3) (Lavin and Gray
  2016).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from cyclegan_jax.nets.conv import kernel_gradients, winograd
from cyclegan_jax.nets.conv.plain import Geometry, plain


def convolve(x, kernel, geometry):
  """Computes a convolution in the form that is fastest on a CPU.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    geometry: a `plain.Geometry`: stride, padding and input dilation.

  Returns:
    The result of XLA's own convolution (`plain.plain`) up to rounding, [batch,
    out_height, out_width, outputs].
  """
  if x.dtype != jnp.float32 or _is_small(x, kernel, geometry):
    return plain(x, kernel, geometry)
  return _float32(x, kernel, geometry)


def _is_small(x, kernel, geometry):
  """Returns True if other forms would cost more than they save."""
  output = jax.eval_shape(partial(plain, geometry=geometry), x, kernel)
  products = output.size * kernel[..., 0].size
  return geometry.dilation == 1 and products < 1e8


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _float32(x, kernel, geometry):
  if _suits_winograd(x, kernel, geometry):
    return winograd.convolve(_padded(x, geometry), kernel)
  if geometry.dilation == 2:
    return by_phases(x, kernel, geometry)
  return one_row_more(x, kernel, geometry)


def _float32_forward(x, kernel, geometry):
  return _float32(x, kernel, geometry), (x, kernel)


def _float32_backward(geometry, residuals, grad):
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


_float32.defvjp(_float32_forward, _float32_backward)


def _suits_winograd(x, kernel, geometry):
  """Returns True if Winograd's form is possible and faster."""
  if geometry != Geometry(padding=geometry.padding):
    return False
  # Forward and backward at 256x256 with zero padding: 64 -> 128 channels take
  # 216 ms instead of 413 ms, 128 -> 64 take 146 ms instead of 320 ms.
  padded = any(geometry.padding) and max(kernel.shape[2:]) >= 128
  least = 64 if padded else 128
  return winograd.suits(x.shape, kernel.shape, least)


def _padded(x, geometry):
  """Returns x with the zero padding of a geometry."""
  return jnp.pad(x, ((0, 0), geometry.padding, geometry.padding, (0, 0)))


def one_row_more(x, kernel, geometry):
  """Computes a convolution with one additional output row, which is cut off.

  XLA is slow if the output size is a power of two. The result equals XLA's own
  convolution, `plain.plain`.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    geometry: a `plain.Geometry`: stride, padding and input dilation.

  Returns:
    [batch, out_height, out_width, outputs].
  """
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


def by_phases(x, kernel, geometry):
  """Computes a transposed convolution, with one convolution per output phase.

  The result equals `plain.plain`, XLA's own convolution of an input dilated by
  2. Even and odd rows and columns of the output (the phases) see different
  parts of the kernel. Computed separately, they skip the zeros that dilation
  puts between the pixels of x.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    geometry: a `plain.Geometry` with input dilation 2 and stride 1.

  Returns:
    [batch, out_height, out_width, outputs].
  """
  sides = [
    2 * side + sum(geometry.padding) - len(kernel) for side in x.shape[1:3]
  ]
  halves = [-(-side // 2) for side in sides]
  rows = [
    jnp.stack(
      [_phase(x, kernel, geometry, halves, top, left) for left in (0, 1)], 3
    )
    for top in (0, 1)
  ]
  y = jnp.stack(rows, 2).reshape(len(x), 2 * halves[0], 2 * halves[1], -1)
  return y[:, : sides[0], : sides[1]]


def _phase(x, kernel, geometry, sizes, top, left):
  """Returns every second output row and column, starting at (top, left)."""
  pads, firsts = [], []
  for phase, size, side in zip((top, left), sizes, x.shape[1:3]):
    before, first = divmod(geometry.padding[0] - phase, 2)
    taps = len(range(first, len(kernel), 2))
    pads.append([before, size + taps - 1 - before - side])
    firsts.append(first)
  pads[0][1] += 1  # an additional row, see `one_row_more`
  return lax.conv_general_dilated(
    x,
    kernel[firsts[0] :: 2, firsts[1] :: 2],
    (1, 1),
    pads,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )[:, :-1]


def input_gradient(x, kernel, grad, geometry):
  """Returns the gradient of a convolution by its input.

  A form other than XLA's own is used for stride 2 (by phases), and for few
  input channels: the gradient is padded first, because XLA is slow if the
  padding is part of the convolution.

  Args:
    x: the input, [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    grad: the gradient of the output, [batch, out_height, out_width, outputs].
    geometry: a `plain.Geometry`: stride, padding and input dilation.

  Returns:
    [batch, height, width, inputs].
  """
  size, _, inputs, _ = kernel.shape
  before, after = geometry.padding
  if geometry.stride == 2 and min(kernel.shape[2:]) > kernel_gradients.THIN:
    sides = x.shape[1:3]
    before = size - 1 - before
    after = max(
      side - 2 * outputs + size - before
      for side, outputs in zip(sides, grad.shape[1:3])
    )
    kernel = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    gradient = by_phases(grad, kernel, Geometry(1, (before, after), 2))
    return gradient[:, : sides[0], : sides[1]]
  if inputs > kernel_gradients.THIN or geometry != Geometry(
    padding=geometry.padding
  ):
    _, gradient = jax.vjp(lambda x: plain(x, kernel, geometry), x)
    return gradient(grad)[0]
  around = (size - 1 - before, size - 1 - after)
  grad = jnp.pad(grad, ((0, 0), around, around, (0, 0)))
  kernel = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
  return one_row_more(lax.optimization_barrier(grad), kernel, Geometry())
