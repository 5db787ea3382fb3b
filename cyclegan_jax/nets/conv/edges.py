"""Packing of images, and padding pixels of plain and packed images.

A packed image stores the channels of 2x2 pixels as one pixel: [batch, height /
2, width / 2, 4 channels], ordered by row, column and channel of the 2x2 pixels.
Packing lets layers of few channels fill the 128 lanes of a TPU's registers.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax


def pack(x):
  """Packs the 2x2 pixels of images into channels.

  Args:
    x: [batch, height, width, channels], height and width even.

  Returns:
    [batch, height / 2, width / 2, 4 channels].
  """
  batch, height, width, channels = x.shape
  x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
  x = x.transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(batch, height // 2, width // 2, 4 * channels)


def unpack(x):
  """Undoes `pack`.

  Args:
    x: [batch, height / 2, width / 2, 4 channels].

  Returns:
    [batch, height, width, channels].
  """
  batch, height, width, channels = x.shape
  x = x.reshape(batch, height, width, 2, 2, channels // 4)
  x = x.transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(batch, 2 * height, 2 * width, channels // 4)


def before(x, axis, size, mode, packed=False):
  """Returns the padding pixels before the first row or column of images.

  Args:
    x: [..., height, width, channels].
    axis: -3 for rows or -2 for columns.
    size: number of rows or columns of x to return; if x is packed, each of them
      stands for two rows or columns of pixels.
    mode: 'reflect' mirrors the pixels next to the edge, 'replicate' repeats the
      edge, 'zeros' returns zeros.
    packed: whether x is packed, with 2x2 pixels stored as one pixel (see
      `pack`).

  Returns:
    An array like x, with `size` entries along the axis.
  """
  return _edge(x, axis, size, mode, packed, 0)


def after(x, axis, size, mode, packed=False):
  """Returns the padding pixels after the last row or column of images.

  Args:
    x: [..., height, width, channels].
    axis: -3 for rows or -2 for columns.
    size: number of rows or columns of x to return; if x is packed, each of them
      stands for two rows or columns of pixels.
    mode: 'reflect', 'replicate' or 'zeros', as for `before`.
    packed: whether x is packed, with 2x2 pixels stored as one pixel (see
      `pack`).

  Returns:
    An array like x, with `size` entries along the axis.
  """
  return _edge(x, axis, size, mode, packed, 1)


def _edge(x, axis, size, mode, packed, end):
  """Returns `before` for end 0, `after` for end 1."""

  def part(start, count):
    """Returns `count` entries, `start` from the edge, mirrored."""
    length = x.shape[axis]
    first = length - start - count if end else start
    taken = lax.slice_in_dim(x, first, first + count, axis=axis % x.ndim)
    return jnp.flip(taken, axis) if count > 1 else taken

  if mode == 'zeros':
    shape = list(x.shape)
    shape[axis] = size
    return jnp.zeros(shape, x.dtype)
  if mode == 'replicate':
    edge = part(0, 1)
    if packed:
      edge = _both(edge, axis, end)
    return jnp.repeat(edge, size, axis) if size > 1 else edge
  if not packed:
    return part(1, size)
  # A pixel and its mirror image are an even number of pixels apart. So both are
  # the first, or both the second, of their pairs. The pixels of a pair that are
  # nearer to the edge are mirrored from behind the edge pair, the others from
  # the edge pair on.
  outer = _second(x.shape[-1], axis) == bool(end)
  return jnp.where(outer, part(1, size), part(0, size))


def _second(channels, axis):
  """Returns a mask [channels]: True for a pair's second row or column."""
  numbers = np.arange(channels) // (channels // 4)
  return (numbers // 2 if axis == -3 else numbers % 2) == 1


def _both(x, axis, end):
  """Replaces both pixels of each pair by the first (end 0) or second (1)."""
  each = x.reshape(*x.shape[:-1], 2, 2, -1)
  pair = -3 if axis == -3 else -2
  each = lax.slice_in_dim(each, end, end + 1, axis=each.ndim + pair)
  return jnp.repeat(each, 2, pair).reshape(x.shape)
