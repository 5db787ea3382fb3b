"""Pixels beyond the edges of pictures, plain or packed.

A packed picture has the channels of 2x2 pixels side by side: [batch, height /
2, width / 2, 4 channels], in the order of rows, columns, channels. Layers of
few channels fill the 128 lanes of a TPU's registers so.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax


def pack(x):
  """[batch, height, width, channels] -> packed; both sides are even."""
  batch, height, width, channels = x.shape
  x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
  x = x.transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(batch, height // 2, width // 2, 4 * channels)


def unpack(x):
  """Undoes `pack`."""
  batch, height, width, channels = x.shape
  x = x.reshape(batch, height, width, 2, 2, channels // 4)
  x = x.transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(batch, 2 * height, 2 * width, channels // 4)


def before(x, axis, size, mode, packed=False):
  """Pixels before the first row (axis -3) or column (axis -2).

  Args:
    x: [..., height, width, channels].
    axis: -3 or -2.
    size: of what is returned, along the axis.
    mode: 'reflect' mirrors the pixels next to the edge, 'replicate' repeats
      the edge, 'zeros' adds zeros.
    packed: whether x is packed; `size` counts its rows and columns.
  """
  return _edge(x, axis, size, mode, packed, 0)


def after(x, axis, size, mode, packed=False):
  """Pixels after the last row or column; see `before`."""
  return _edge(x, axis, size, mode, packed, 1)


def _edge(x, axis, size, mode, packed, end):
  def part(start, count):
    """`count` from the edge inwards on, in the order that they are beyond."""
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
  # A pixel and its mirror image are an even distance apart, so both are the
  # same one of their pairs, mirrored at the edge or at the pair next to it.
  outer = _second(x.shape[-1], axis) == bool(end)
  return jnp.where(outer, part(1, size), part(0, size))


def _second(channels, axis):
  """Mask [channels] of those of a pair's second row (axis -3) or column."""
  numbers = np.arange(channels) // (channels // 4)
  return (numbers // 2 if axis == -3 else numbers % 2) == 1


def _both(x, axis, end):
  """Both pixels of each pair as the first, or as the second for end 1."""
  each = x.reshape(*x.shape[:-1], 2, 2, -1)
  pair = -3 if axis == -3 else -2
  each = lax.slice_in_dim(each, end, end + 1, axis=each.ndim + pair)
  return jnp.repeat(each, 2, pair).reshape(x.shape)
