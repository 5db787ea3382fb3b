"""Pictures cut into strips of rows, which lie in the batch axis.

A TPU fills the eight rows of its registers with the pictures of a batch. For
fewer pictures its compiler cuts the width into pieces around every layer. With
the pictures cut once, each layer only fetches the rows next to its strip.
"""

import jax.numpy as jnp
from jax import lax

from cyclegan_jax.nets.conv import edges

ROWS = 8  # of a register


def count(batch, height, multiple=1):
  """Number of strips for each picture, 1 for none.

  Args:
    batch: number of pictures.
    height: rows of a picture.
    multiple: rows of a strip are a multiple of this number.

  Returns:
    The largest number with batch x strips <= 8 that leaves two times
    `multiple` rows or more in each strip.
  """
  rows, rest = divmod(height, multiple)
  fitting = [n for n in range(1, ROWS // max(batch, 1) + 1) if rows % n == 0]
  fitting = [n for n in fitting if rows // n >= 2 and not rest]
  return max(fitting, default=1)


def cut(x, strips):
  """[batch, height, ...] -> [batch x strips, height / strips, ...]."""
  return x.reshape(-1, x.shape[1] // strips, *x.shape[2:])


def join(x, strips):
  """Undoes `cut`."""
  return x.reshape(-1, x.shape[1] * strips, *x.shape[2:])


def pad(x, strips, rows, columns, mode, packed=False):
  """Pads pictures; strips take rows from the strips above and below.

  Args:
    x: [batch x strips, height / strips, width, channels].
    strips: number of strips for each picture.
    rows: rows to add (above, below).
    columns: columns to add (left, right).
    mode: as for `edges.before`.
    packed: whether the pictures are packed.
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
