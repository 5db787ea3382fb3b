"""Cutting of images into strips of rows, which become entries of the batch.

A TPU fills the eight rows of its registers with the images of a batch. For
smaller batches its compiler splits the width before and after each layer. If
images are cut into strips once, each layer only fetches the rows next to its
strips.
"""

import jax.numpy as jnp
from jax import lax

from cyclegan_jax.nets.conv import edges

ROWS = 8  # rows of a register


def count(batch, height, multiple=1):
  """Returns the number of strips to cut each image into.

  Args:
    batch: number of images.
    height: number of rows of an image.
    multiple: number that must divide the rows of a strip.

  Returns:
    The largest number for which batch x strips is at most 8, and each strip has
    at least 2 x `multiple` rows; 1 means not to cut.
  """
  rows, rest = divmod(height, multiple)
  fitting = [n for n in range(1, ROWS // max(batch, 1) + 1) if rows % n == 0]
  fitting = [n for n in fitting if rows // n >= 2 and not rest]
  return max(fitting, default=1)


def cut(x, strips):
  """Cuts images into strips.

  Args:
    x: [batch, height, ...].
    strips: number of strips per image, a divisor of the height.

  Returns:
    [batch x strips, height / strips, ...].
  """
  return x.reshape(-1, x.shape[1] // strips, *x.shape[2:])


def join(x, strips):
  """Joins strips to images: undoes `cut`.

  Args:
    x: [batch x strips, height / strips, ...].
    strips: number of strips per image.

  Returns:
    [batch, height, ...].
  """
  return x.reshape(-1, x.shape[1] * strips, *x.shape[2:])


def pad(x, strips, rows, columns, mode, packed=False):
  """Pads images that are cut into strips.

  Inside an image, a strip is padded with rows of the strips above and below.

  Args:
    x: [batch x strips, height / strips, width, channels].
    strips: number of strips per image; 1 means whole images.
    rows: numbers of rows to add (above, below) to each strip.
    columns: numbers of columns to add (left, right).
    mode: mode of the padding at the edges of the image: 'reflect' mirrors the
      pixels next to the edge, 'replicate' repeats the edge, 'zeros' adds zeros.
    packed: whether the images are packed, with 2x2 pixels stored as one pixel
      (see `edges.pack`); `rows` and `columns` then count packed pixels.

  Returns:
    [batch x strips, padded_rows, padded_columns, channels].
  """
  x = _pad(x, -2, columns, mode, packed)
  if strips == 1:
    return _pad(x, -3, rows, mode, packed)
  above, below = rows
  each = x.reshape(-1, strips, *x.shape[1:])
  parts = [each]
  if above:
    edge = edges.before(each[:, :1], -3, above, mode, packed)
    parts.insert(
      0, jnp.concatenate([edge, each[:, :-1, x.shape[1] - above :]], axis=1)
    )
  if below:
    edge = edges.after(each[:, -1:], -3, below, mode, packed)
    parts.append(jnp.concatenate([each[:, 1:, :below], edge], axis=1))
  x = jnp.concatenate(parts, axis=2)
  return x.reshape(-1, *x.shape[2:])


def _pad(x, axis, sizes, mode, packed):
  """Pads whole images along one axis by sizes (before, after)."""
  if not any(sizes):
    return x
  if mode == 'zeros':
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (*sizes, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), pads)
  first, last = sizes
  return jnp.concatenate(
    [edges.before(x, axis, first, mode, packed)] * bool(first)
    + [x]
    + [edges.after(x, axis, last, mode, packed)] * bool(last),
    axis,
  )
