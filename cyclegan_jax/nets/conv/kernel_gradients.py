"""Gradients of a convolution by its kernel, as matrix products.

They equal XLA's own and are faster where `cpu.py` uses them.
"""

import jax.numpy as jnp
from jax import lax

# Channels up to which a picture is cheaper to copy than to multiply.
THIN = 8


def by_rows(x, kernel, grad, geometry):
  """The gradient of the kernel, a matrix product for each of its rows.

  Of input and output's gradient, the one on the finer grid is taken apart into
  the phases of the step between the two. Laid out as rows of pixels, what a
  place of the kernel sees is then a run of rows. The runs for the places of a
  row of the kernel are laid side by side.

  Args:
    x: the input [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    grad: the output's gradient [batch, height', width', outputs].
    geometry: a `plain.Geometry` with a stride or a dilation, not both.
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
  count = len(coarse) - reach * (width + 1)  # zeros behind
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
  """What the places of a row of the kernel see, side by side.

  Args:
    phases: [batch, height, width, step, channels].
    size: of the kernel.

  Returns:
    [pixels, size * channels], of which the last `reach` are left out.
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
  """`by_rows` where the output's gradient is what is laid out.

  Args:
    fine: the input as rows of pixels [pixels, inputs].
    coarse: the output's gradient, zeros behind [pixels, outputs].
    width: of the pictures they come from.
    size: of the kernel.
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
  """Sums over the pixels: [pixels, a], [pixels, b] -> [a, b]."""
  return lax.dot_general(x, y, (((0,), (0,)), ((), ())))


def _pad_to(x, before, height, width, times=1):
  """x behind `before` zeros, cut or filled up to `times` [height, width]."""
  low_high = [
    (before, side * times - before - there, 0)
    for side, there in zip((height, width), x.shape[1:3])
  ]
  zero = jnp.zeros((), x.dtype)
  return lax.pad(x, zero, [(0, 0, 0), *low_high, (0, 0, 0)])
