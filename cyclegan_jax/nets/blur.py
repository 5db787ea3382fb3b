"""Antialiased down- and upsampling by 2 (Zhang 2019), as in CUT's code.

The blurs are sums of slices, which XLA fuses. A depthwise convolution would be
slow on most platforms.
"""

import jax
import jax.numpy as jnp
from jax import lax

from cyclegan_jax.nets.layers import reflect_pad

# Filters along each side. The weights of `UP` sum up to 2, because each output
# pixel sees only two of the four.
DOWN, UP = (0.25, 0.5, 0.25), (0.25, 0.75, 0.75, 0.25)


def down(x):
  """Halves height and width: blurs by [1, 2, 1] / 4, takes every second pixel.

  The edges are padded by reflection.

  Args:
    x: [batch, height, width, channels], at least 2 pixels per side.

  Returns:
    [batch, ceil(height / 2), ceil(width / 2), channels].
  """
  return halve(reflect_pad(x, 1))


def up(x):
  """Doubles height and width by bilinear interpolation.

  Along each side an output pixel is 3/4 of the nearest input pixel plus 1/4 of
  the next neighbour. The edges are padded by replication.

  Args:
    x: [batch, height, width, channels].

  Returns:
    [batch, 2 height, 2 width, channels].
  """
  return double(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), 'edge'))


@jax.custom_vjp
def halve(x):
  """Computes `down` for images that are padded already.

  Args:
    x: [batch, 2 + height, 2 + width, channels], padded by one pixel at each
      edge. The last row and column may be missing for an even height and width,
      because `halve` does not read them then.

  Returns:
    [batch, ceil(height / 2), ceil(width / 2), channels].
  """
  x = 0.5 * x[:, 1:-1:2] + 0.25 * (x[:, :-2:2] + x[:, 2::2])
  return 0.5 * x[:, :, 1:-1:2] + 0.25 * (x[:, :, :-2:2] + x[:, :, 2::2])


def _halve_forward(x):
  return halve(x), x[:0]  # keeps the shape without the values


def _halve_backward(empty, grad):
  # On a CPU, XLA's gradient of strided slices takes up to twice as long.
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
  """Computes `up` for images that are padded already.

  Args:
    x: [batch, height + 2, width + 2, channels], padded by one pixel at each
      edge.

  Returns:
    [batch, 2 height, 2 width, channels].
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
