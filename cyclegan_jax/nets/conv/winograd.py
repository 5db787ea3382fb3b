"""3x3 convolutions by Winograd's F(4x4, 3x3) (Lavin and Gray 2016).

An input tile of 6x6 pixels gives 4x4 output pixels with 36 multiplications per
channel instead of 144, at the price of more additions. The multiplications are
matrix products. In float32 the relative error is about 1e-6.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

_TILE, _STEP = 6, 4  # sides of a tile of the input and of the output
# Points at which the polynomials of the Toom-Cook algorithm are evaluated, in
# addition to infinity. With the usual points 0, 1, -1, 2, -2 rounding errors
# are twice as large on average, and the largest error three times as large.
_POINTS = np.array([0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5)])


def _transforms():
  """Returns the transforms of input [6, 6], kernel [6, 3], output [6, 4]."""
  output, kernel = np.vander(_POINTS, 4, True), np.vander(_POINTS, 3, True)
  inputs = np.zeros((_TILE, _TILE))
  for i, point in enumerate(_POINTS):
    others = np.delete(_POINTS, i)
    inputs[i, : _STEP + 1] = np.poly(others)[::-1]
    kernel[i] /= np.prod(point - others)
  inputs[-1] = np.poly(_POINTS)[::-1]
  inputs[np.abs(inputs) < 1e-12] = 0  # rounding errors of exact zeros
  # The last coefficient is the value at infinity.
  return (
    inputs,
    np.vstack([kernel, [0, 0, 1]]),
    np.vstack([output, [0, 0, 0, 1]]),
  )


_INPUT, _KERNEL, _OUTPUT = _transforms()
_KERNEL_2D = np.kron(_KERNEL, _KERNEL).astype(np.float32)
_OUTPUT_2D = np.kron(_OUTPUT, _OUTPUT).astype(np.float32)


def suits(x_shape, kernel_shape, least=128):
  """Returns True if Winograd's form is possible and, as measured, faster.

  Args:
    x_shape: shape of the input, (batch, height, width, inputs).
    kernel_shape: shape of the kernel, (size, size, inputs, outputs).
    least: number of input and output channels from which the form is faster.
  """
  batch, height, width, inputs = x_shape
  return (
    kernel_shape[:2] == (3, 3)
    and min(inputs, kernel_shape[3]) >= least
    and batch * height * width >= 1024
  )


def convolve(x, kernel):
  """Computes a 3x3 convolution with stride 1, without padding or dilation.

  Args:
    x: [batch, height, width, inputs].
    kernel: [3, 3, inputs, outputs].

  Returns:
    [batch, height - 2, width - 2, outputs].
  """
  height, width = x.shape[1] - 2, x.shape[2] - 2
  tiles = _tiled_input(_pad_to_tiles(x))
  products = _products(tiles, _transformed_kernel(kernel), 2, 1)
  return _output(products, _grid(x))[:, :height, :width]


def gradients(x, kernel, grad):
  """Returns the gradients of `convolve` by its input and its kernel.

  The gradients are computed by the transposes of the stages of `convolve`.

  Args:
    x: the input, [batch, height, width, inputs].
    kernel: [3, 3, inputs, outputs].
    grad: the gradient of the output, [batch, height - 2, width - 2, outputs].

  Returns:
    (gradient by x, gradient by the kernel), of the shapes of x and kernel.
  """
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
  """Returns a matrix product per position of a tile, the leading axis."""
  return lax.dot_general(x, y, (((axis_x,), (axis_y,)), ((0,), (0,))))


def _grid(x):
  """Returns (images, tiles down, tiles across) of an input."""
  batch, height, width, _ = x.shape
  return batch, -(-(height - 2) // _STEP), -(-(width - 2) // _STEP)


def _pad_to_tiles(x):
  """Pads x with zeros below and on the right to a whole number of tiles."""
  _, down, across = _grid(x)
  rows = down * _STEP + 2 - x.shape[1]
  columns = across * _STEP + 2 - x.shape[2]
  return jnp.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)))


def _combine(matrix, parts):
  """Returns matrix @ parts for a list of arrays, skipping zero factors."""
  return [
    sum(float(factor) * part for factor, part in zip(row, parts) if factor)
    for row in matrix
  ]


def _transformed_kernel(kernel):
  """Transforms a kernel: [3, 3, inputs, outputs] -> [36, inputs, outputs]."""
  flat = kernel.reshape(9, -1)
  return (_KERNEL_2D @ flat).reshape(_TILE**2, *kernel.shape[2:])


def _tiled_input(x):
  """Transforms an input: [b, height, width, inputs] -> [36, tiles, inputs]."""
  _, down, across = _grid(x)

  def places(x, axis, count):
    return [
      lax.slice_in_dim(x, i, i + _STEP * (count - 1) + 1, _STEP, axis)
      for i in range(_TILE)
    ]

  x = jnp.stack(_combine(_INPUT, places(x, 2, across)))
  x = jnp.stack(_combine(_INPUT, places(x, 2, down)))
  return x.reshape(_TILE**2, -1, x.shape[-1])


def _transposed_input(tiles, grid):
  """Transpose of `_tiled_input`: [36, tiles, inputs] -> [b, h, w, inputs]."""
  x = tiles.reshape(_TILE, _TILE, *grid, -1)
  x = _overlap(_combine(_INPUT.T, list(x)), 2)
  return _overlap(_combine(_INPUT.T, list(x)), 2)


def _overlap(parts, axis):
  """Sums overlapping tiles of 6 pixels, 4 apart; `parts` has 6 positions."""

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
  """Transforms products: [36, tiles, outputs] -> [b, h, w, outputs]."""
  batch, down, across = grid
  y = _OUTPUT_2D.T @ products.reshape(_TILE**2, -1)
  y = y.reshape(_STEP, _STEP, *grid, -1).transpose(2, 3, 0, 4, 1, 5)
  return y.reshape(batch, down * _STEP, across * _STEP, -1)


def _transposed_output(y):
  """Transpose of `_output`: [b, h, w, outputs] -> [36, tiles, outputs]."""
  batch, height, width, outputs = y.shape
  y = y.reshape(batch, height // _STEP, _STEP, width // _STEP, _STEP, outputs)
  y = jnp.stack(_combine(_OUTPUT, [y[:, :, i] for i in range(_STEP)]))
  y = jnp.stack(_combine(_OUTPUT, [y[:, :, :, :, i] for i in range(_STEP)]), 1)
  return y.reshape(_TILE**2, -1, outputs)
