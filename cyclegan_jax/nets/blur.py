"""Antialiased halving and doubling (Zhang 2019), as in the code of CUT.

Written as sums of slices, which compilers fuse: a convolution with one kernel
for each channel is slow on most platforms.
"""

import jax
import jax.numpy as jnp
from jax import lax

from cyclegan_jax.nets.layers import reflect_pad

# The filters along a side; both sides have the same. `UP`'s sum is 2: of four
# taps two meet a pixel.
DOWN, UP = (0.25, 0.5, 0.25), (0.25, 0.75, 0.75, 0.25)


def down(x):
  """Blurs by [1, 2, 1] / 4 along both sides and takes every other pixel.

  Args:
    x: [batch, height, width, channels], at least 2 pixels a side.

  Returns:
    [batch, ceil(height / 2), ceil(width / 2), channels].
  """
  return halve(reflect_pad(x, 1))


def up(x):
  """Doubles height and width: each pixel 3/4 its own, 1/4 its neighbour's.

  Args:
    x: [batch, height, width, channels].

  Returns:
    [batch, 2 height, 2 width, channels].
  """
  return double(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), 'edge'))


@jax.custom_vjp
def halve(x):
  """`down` of a picture that has the pixel beyond each edge, if it is read.

  Args:
    x: [batch, 1 + height, 1 + width, channels], or 2 + height and width.
  """
  x = 0.5 * x[:, 1:-1:2] + 0.25 * (x[:, :-2:2] + x[:, 2::2])
  return 0.5 * x[:, :, 1:-1:2] + 0.25 * (x[:, :, :-2:2] + x[:, :, 2::2])


def _halve_forward(x):
  return halve(x), x[:0]  # its shape, without its numbers


def _halve_backward(empty, grad):
  # XLA's gradient of strided slices takes up to twice as long on a CPU.
  for axis in (2, 1):
    before, behind = ([(0, 0)] * 4 for _ in range(2))
    before[axis], behind[axis] = (1, 0), (0, 1)
    even = 0.25 * (jnp.pad(grad, before) + jnp.pad(grad, behind))
    odd = jnp.pad(0.5 * grad, behind)
    shape = [*grad.shape[:axis], -1, *grad.shape[axis + 1 :]]
    grad = jnp.stack([even, odd], axis + 1).reshape(shape)
    grad = lax.slice_in_dim(grad, 0, empty.shape[axis], axis=axis)
  return (grad,)


halve.defvjp(_halve_forward, _halve_backward)


def double(x):
  """`up` of a picture that has the pixel beyond each edge.

  Args:
    x: [batch, height + 2, width + 2, channels].
  """
  for axis in (1, 2):
    size = x.shape[axis] - 2
    before, own, after = (
      lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(3)
    )
    pairs = [0.75 * own + 0.25 * other for other in (before, after)]
    shape = (*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    x = jnp.stack(pairs, axis + 1).reshape(shape)
  return x
