"""Convolutions in the form that is fastest on a platform, to the same result.

Accelerators take XLA's own convolution, but for one gradient that the TPU's
compiler spends minutes on. On the CPU XLA is slow at some shapes
(figures in docs/performance.md), which other forms of the same sums avoid:

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
  form has none. Elsewhere a loop costs nothing and compiles once.
  """
  kernel = (3, 3, x.shape[-1], x.shape[-1])
  return platform != 'cpu' or suits_winograd(x.shape, kernel)


def reads_kernels(shape):
  """Whether 3x3 convolutions of the shape mostly read their kernels.

  Then a CPU gains from a larger batch: Winograd's form with few tiles.
  """
  kernel = (3, 3, shape[-1], shape[-1])
  return suits_winograd(shape, kernel) and np.prod(shape[:3]) <= 2048


def _cpu(x, kernel, geometry):
  if x.dtype != jnp.float32 or _is_small(x, kernel, geometry):
    return plain(x, kernel, geometry)
  return _cpu_float32(x, kernel, geometry)


def _tpu(x, kernel, geometry):
  # Few outputs of a large window: the gradient of the generators' last kernel.
  if kernel.shape[0] < 7 or kernel.shape[3] > 8 or geometry != Geometry():
    return plain(x, kernel, geometry)
  return _tpu_thin(x, kernel)


FORMS = {'cpu': _cpu, 'tpu': _tpu}


@jax.custom_vjp
def _tpu_thin(x, kernel):
  return plain(x, kernel, Geometry())


def _tpu_forward(x, kernel):
  return _tpu_thin(x, kernel), (x, kernel)


def _tpu_backward(residuals, grad):
  x, kernel = residuals
  _, gradient_x = jax.vjp(lambda x: plain(x, kernel, Geometry()), x)
  return *gradient_x(grad), thin_kernel_gradient(x, kernel, grad)


_tpu_thin.defvjp(_tpu_forward, _tpu_backward)


def thin_kernel_gradient(x, kernel, grad):
  """The kernel's gradient as one matrix product, for few outputs.

  What each pixel of the input meets of the output's gradient, at every place
  of the kernel, is laid beside it. XLA's own form, a convolution with a window
  as large as the picture, compiles for minutes on the TPU.
  """
  size = kernel.shape[0]
  height, width = x.shape[1:3]
  edge = size - 1
  grad = jnp.pad(grad, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
  places = [
    grad[:, top : top + height, left : left + width]
    for top in reversed(range(size))
    for left in reversed(range(size))
  ]
  met = jnp.concatenate(places, -1)
  axes = ((0, 1, 2), (0, 1, 2))
  gradient = lax.dot_general(
    x, met, (axes, ((), ())), preferred_element_type=jnp.float32
  )
  gradient = gradient.reshape(-1, size, size, grad.shape[-1])
  return gradient.transpose(1, 2, 0, 3).astype(kernel.dtype)


def _is_small(x, kernel, geometry):
  """Whether other forms would cost more than they save."""
  output = jax.eval_shape(partial(plain, geometry=geometry), x, kernel)
  products = output.size * kernel[..., 0].size
  return geometry.dilation == 1 and products < 1e8


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _cpu_float32(x, kernel, geometry):
  if suits_winograd(x.shape, kernel.shape, geometry):
    return winograd(x, kernel)
  return one_row_more(x, kernel, geometry)


def _cpu_forward(x, kernel, geometry):
  return _cpu_float32(x, kernel, geometry), (x, kernel)


def _cpu_backward(geometry, residuals, grad):
  x, kernel = residuals
  if suits_winograd(x.shape, kernel.shape, geometry):
    return winograd_gradients(x, kernel, grad)
  _, gradient_x = jax.vjp(lambda x: plain(x, kernel, geometry), x)
  return *gradient_x(grad), kernel_gradient(x, kernel, grad, geometry)


_cpu_float32.defvjp(_cpu_forward, _cpu_backward)


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


def kernel_gradient(x, kernel, grad, geometry):
  """The gradient of the kernel, a matrix product for each of its places.

  Of input and output's gradient, the one on the finer grid is taken apart into
  the phases of the step between the two. Laid out as rows of pixels, what a
  place of the kernel sees is then a run of rows, which no copy has to gather.

  Args:
    x: the input [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    grad: the output's gradient [batch, height', width', outputs].
    geometry: a `Geometry` with a stride or a dilation, not both.
  """
  if min(kernel.shape[2:]) < 16:  # products too thin
    _, gradient = jax.vjp(lambda kernel: plain(x, kernel, geometry), kernel)
    return gradient(grad)[0]
  size = kernel.shape[0]
  transposed = geometry.dilation > 1
  fine, coarse = (grad, x) if transposed else (x, grad)
  step = geometry.dilation if transposed else geometry.stride
  before = geometry.padding[0]
  reach = (size - 1) // step
  batch, height, width = (
    coarse.shape[0],
    *(side + reach for side in coarse.shape[1:3]),
  )
  fine = _pad_to(
    fine, size - 1 - before if transposed else before, height, width, step
  ).reshape(batch, height, step, width, step, -1)
  count = batch * height * width - reach * (width + 1)  # zeros behind
  coarse = _pad_to(coarse, 0, height, width).reshape(-1, coarse.shape[-1])
  coarse = coarse[:count]
  phases = [
    [
      lax.optimization_barrier(
        fine[:, :, row, :, column].reshape(-1, fine.shape[-1])
      )
      for column in range(step)
    ]
    for row in range(step)
  ]

  def product(top, left):
    start = top // step * width + left // step
    seen = phases[top % step][left % step][start : start + count]
    operands = (coarse, seen) if transposed else (seen, coarse)
    return lax.dot_general(*operands, (((0,), (0,)), ((), ())))

  places = range(size)[:: -1 if transposed else 1]
  products = [product(top, left) for top in places for left in places]
  return jnp.stack(products).reshape(kernel.shape)


def _pad_to(x, before, height, width, times=1):
  """x behind `before` zeros, cut or filled up to `times` [height, width]."""
  low_high = [
    (before, side * times - before - there, 0)
    for side, there in zip((height, width), x.shape[1:3])
  ]
  zero = jnp.zeros((), x.dtype)
  return lax.pad(x, zero, [(0, 0, 0), *low_high, (0, 0, 0)])


# Winograd: input, kernel and output transforms of a tile of 6 that gives 4.
_TILE, _STEP = 6, 4
_INPUT = np.array(
  [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
  ]
)
_KERNEL = np.array(
  [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
  ]
)
_OUTPUT = np.array(
  [
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
  ]
)
_KERNEL_2D = np.kron(_KERNEL, _KERNEL).astype(np.float32)


def suits_winograd(x_shape, kernel_shape, geometry=None):
  """Whether Winograd's form is possible and was measured to be faster."""
  batch, height, width, inputs = x_shape
  return (
    kernel_shape[:2] == (3, 3)
    and geometry in (None, Geometry())
    and min(inputs, kernel_shape[3]) >= 128
    and batch * height * width >= 1024
  )


def winograd(x, kernel):
  """`plain` of a 3x3 kernel without stride, padding or dilation."""
  height, width = x.shape[1] - 2, x.shape[2] - 2
  tiles = _tiled_input(_pad_to_tiles(x))
  products = _products(tiles, _transformed_kernel(kernel), 2, 1)
  return _output(products, _grid(x))[:, :height, :width]


def winograd_gradients(x, kernel, grad):
  """The gradients of input and kernel, transposes of `winograd`'s stages."""
  grid = _grid(x)
  height, width = x.shape[1:3]
  padded = _pad_to_tiles(x)
  rows, columns = padded.shape[1] - height, padded.shape[2] - width
  grad = jnp.pad(grad, ((0, 0), (0, rows), (0, columns), (0, 0)))
  of_products = _transposed_output(grad)
  of_tiles = _products(of_products, _transformed_kernel(kernel), 2, 2)
  gradient_x = _transposed_input(of_tiles, grid)[:, :height, :width]
  of_kernel = _products(_tiled_input(padded), of_products, 1, 1)
  gradient_kernel = _KERNEL_2D.T @ of_kernel.reshape(_TILE**2, -1)
  return gradient_x, gradient_kernel.reshape(kernel.shape)


def _products(x, y, axis_x, axis_y):
  """A matrix product for each of the places of a tile, the leading axis."""
  return lax.dot_general(x, y, (((axis_x,), (axis_y,)), ((0,), (0,))))


def _grid(x):
  """(pictures, tiles down, tiles across) of an input."""
  batch, height, width, _ = x.shape
  return batch, -(-(height - 2) // _STEP), -(-(width - 2) // _STEP)


def _pad_to_tiles(x):
  _, down, across = _grid(x)
  rows = down * _STEP + 2 - x.shape[1]
  columns = across * _STEP + 2 - x.shape[2]
  return jnp.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)))


def _combine(matrix, parts):
  """matrix @ parts, for a list of arrays, as sums of a few of them each."""
  return [
    sum(float(factor) * part for factor, part in zip(row, parts) if factor)
    for row in matrix
  ]


def _transformed_kernel(kernel):
  """[3, 3, inputs, outputs] -> [36, inputs, outputs]."""
  flat = kernel.reshape(9, -1)
  return (_KERNEL_2D @ flat).reshape(_TILE**2, *kernel.shape[2:])


def _tiled_input(x):
  """[batch, height, width, inputs] -> [36, tiles, inputs]."""
  _, down, across = _grid(x)

  def places(x, axis, count):
    return [
      lax.slice_in_dim(x, i, i + _STEP * (count - 1) + 1, _STEP, axis)
      for i in range(_TILE)
    ]

  x = jnp.stack(_combine(_INPUT, places(x, 1, down)))
  x = jnp.stack(_combine(_INPUT, places(x, 3, across)), 1)
  return x.reshape(_TILE**2, -1, x.shape[-1])


def _transposed_input(tiles, grid):
  """[36, tiles, inputs] -> [batch, height, width, inputs]: overlaps add up."""
  x = tiles.reshape(_TILE, _TILE, *grid, -1)
  x = _overlap(_combine(_INPUT.T, [x[:, i] for i in range(_TILE)]), 3)
  return _overlap(_combine(_INPUT.T, list(x)), 1)


def _overlap(parts, axis):
  """Lays tiles of 6 beside each other, 4 apart; `parts` are their places."""

  def shifted(part, before):
    pads = [(0, 0)] * part.ndim
    pads[axis] = (before, 1 - before)
    return jnp.pad(part, pads)

  first = [shifted(part, 0) for part in parts[:_STEP]]
  for i in range(_TILE - _STEP):
    first[i] += shifted(parts[_STEP + i], 1)
  x = jnp.stack(first, axis + 1)
  x = x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])
  return lax.slice_in_dim(x, 0, x.shape[axis] - 2, axis=axis)


def _output(products, grid):
  """[36, tiles, outputs] -> [batch, height, width, outputs]."""
  batch, down, across = grid
  y = products.reshape(_TILE, _TILE, *grid, -1)
  y = jnp.stack(_combine(_OUTPUT, list(y)))
  y = jnp.stack(_combine(_OUTPUT, [y[:, i] for i in range(_TILE)]))
  y = y.transpose(2, 3, 1, 4, 0, 5)
  return y.reshape(batch, down * _STEP, across * _STEP, -1)


def _transposed_output(y):
  """[batch, height, width, outputs] -> [36, tiles, outputs]."""
  batch, height, width, outputs = y.shape
  y = y.reshape(batch, height // _STEP, _STEP, width // _STEP, _STEP, outputs)
  y = jnp.stack(_combine(_OUTPUT.T, [y[:, :, i] for i in range(_STEP)]))
  y = jnp.stack(
    _combine(_OUTPUT.T, [y[:, :, :, :, i] for i in range(_STEP)]), 1
  )
  return y.reshape(_TILE**2, -1, outputs)
