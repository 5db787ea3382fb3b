"""Gradient of a convolution by its kernel, as matrix products.

The gradient equals XLA's own up to rounding, and is faster where `cpu.py` uses
it.
"""

import jax.numpy as jnp
from jax import lax

# Largest number of channels for which copying an image is cheaper than
# multiplying it.
THIN = 8


def by_rows(x, kernel, grad, geometry):
  """Returns the gradient of the kernel, by one matrix product per kernel row.

  The input and the output's gradient lie on a fine and a coarse grid. The fine
  one is split into phases of the stride or dilation. Each phase is stored as a
  matrix [pixels, channels]: the pixels that meet one kernel position are then
  a contiguous range of rows. The ranges of all positions in a kernel row are
  concatenated along channels, and multiplied with the coarse matrix.

  Args:
    x: the input, [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    grad: the gradient of the output, [batch, out_height, out_width, outputs].
    geometry: a `plain.Geometry` with a stride or a dilation, not both.

  Returns:
    [size, size, inputs, outputs].
  """
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
  )
  coarse = _pad_to(coarse, 0, height, width).reshape(-1, coarse.shape[-1])
  if step == 1 and coarse.shape[-1] <= THIN:
    fine = fine.reshape(-1, fine.shape[-1])
    return _few_outputs(fine, coarse, width, size)
  phases = fine.reshape(batch, height, step, width, step, -1)
  runs = [_runs(phases[:, :, row], size) for row in range(step)]
  count = len(coarse) - reach * (width + 1)  # without the zeros at the end
  coarse = coarse[:count]
  products = []
  for top in range(size):
    start = top // step * width
    seen = runs[top % step][start : start + count]
    products.append(_product(seen, coarse).reshape(size, -1, coarse.shape[-1]))
  gradient = jnp.stack(products)
  if transposed:
    gradient = jnp.flip(gradient, (0, 1)).swapaxes(2, 3)
  return gradient


def _runs(phases, size):
  """Returns the pixels that meet each position of a kernel row, concatenated.

  Args:
    phases: [batch, height, width, step, channels].
    size: side of the kernel.

  Returns:
    [pixels - (size - 1) // step, size * channels].
  """
  step, channels = phases.shape[3:]
  columns = [
    lax.optimization_barrier(phases[..., column, :].reshape(-1, channels))
    for column in range(step)
  ]
  count = len(columns[0]) - (size - 1) // step
  runs = [
    columns[left % step][left // step : left // step + count]
    for left in range(size)
  ]
  return lax.optimization_barrier(jnp.concatenate(runs, -1))


def _few_outputs(fine, coarse, width, size):
  """Computes `by_rows` by concatenating ranges of the output's gradient.

  Cheaper than ranges of the input if there are few outputs.

  Args:
    fine: the input, [pixels, inputs].
    coarse: the output's gradient, filled up with zeros, [pixels, outputs].
    width: width of the padded images.
    size: side of the kernel.

  Returns:
    [size, size, inputs, outputs].
  """
  count, reach = len(coarse), size - 1
  coarse = jnp.pad(coarse, ((reach, 0), (0, 0)))
  runs = [coarse[reach - left :][:count] for left in range(size)]
  runs = lax.optimization_barrier(jnp.concatenate(runs, -1))
  runs = jnp.pad(runs, ((reach * width, 0), (0, 0)))
  runs = lax.optimization_barrier(runs)
  products = [
    _product(runs[(reach - top) * width :][:count], fine) for top in range(size)
  ]
  gradient = jnp.stack(products).reshape(size, size, -1, fine.shape[-1])
  return gradient.swapaxes(2, 3)


def _product(x, y):
  """Returns x' y, a sum over pixels: [pixels, a], [pixels, b] -> [a, b]."""
  return lax.dot_general(x, y, (((0,), (0,)), ((), ())))


def _pad_to(x, before, height, width, times=1):
  """Pads x with `before` zeros, then to `times` (height, width) or crops."""
  low_high = [
    (before, side * times - before - there, 0)
    for side, there in zip((height, width), x.shape[1:3])
  ]
  zero = jnp.zeros((), x.dtype)
  return lax.pad(x, zero, [(0, 0, 0), *low_high, (0, 0, 0)])
