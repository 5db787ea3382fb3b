"""Strips of images, with operations that are applied later in one pass."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from cyclegan_jax.nets.conv import edges, strips
from cyclegan_jax.nets.conv.norm import Rest, instance_norm, padded
from cyclegan_jax.nets.layers import EPSILON


class Later(NamedTuple):
  """Strips of images and the operations still to be applied to them.

  `run` applies the operations and returns the result. Strips are made by
  `nets.conv.strips.cut`: each image is cut into strips of rows, which become
  entries of the batch.

  The operations are applied in the order of the attributes: bias, norm,
  activation, padding.

  Attributes:
    x: strips of images, [batch x strips, height / strips, width, channels]; if
      packed, with half the height and width and four times the channels (see
      `nets.conv.edges`).
    bias: bias to add, [channels], or None.
    norm: (scale, bias) of an instance norm, each [channels] or both None for 1
      and 0. A `norm` of None means no norm.
    slope: slope of the activation for negative values; 1 for no activation.
    size: number of pixels to pad at each edge.
    mode: mode of the padding: 'reflect', 'replicate' or 'zeros'.
    packed: whether the strips are packed.
    known: {(size, mode): padded result}, results that are computed already.
  """

  x: jax.Array
  bias: jax.Array | None = None
  norm: tuple | None = None
  slope: float = 1.0
  size: int = 0
  mode: str = 'reflect'
  packed: bool = False
  known: dict = {}

  @property
  def channels(self):
    """Number of channels per pixel, packed or not."""
    return self.x.shape[-1] // (4 if self.packed else 1)

  @property
  def is_linear(self):
    """True if no norm, activation or padding is pending."""
    return self.norm is None and self.slope == 1 and not self.size

  def run(self, count, columns=True):
    """Applies the pending operations and returns the result.

    Args:
      count: number of strips per image.
      columns: whether to pad columns as well as rows.

    Returns:
      The padded strips, [batch x count, rows, columns, channels]; packed if the
      strips are packed.
    """
    if columns and (self.size, self.mode) in self.known:
      return self.known[self.size, self.mode]
    size = -(-self.size // 2) if self.packed else self.size
    rest = Rest(
      count,
      self.slope,
      size,
      size if columns else 0,
      self.mode,
      self.packed,
      EPSILON,
    )
    x = self.x
    if self.norm is not None:
      return instance_norm(x, *self.norm, rest)
    if self.bias is not None:
      bias = jnp.tile(self.bias, 4) if self.packed else self.bias
      x = x + bias.reshape(1, 1, 1, -1)
    return padded(x, rest)

  def normalized(self, norm):
    """Returns the strips with a pending instance norm.

    A pending bias is dropped, because the norm subtracts the mean.

    Args:
      norm: (scale, bias), each [channels], or (None, None).
    """
    return self._replace(norm=norm, bias=None)

  def unpacked(self):
    """Returns the same strips in unpacked form."""
    return self._replace(x=edges.unpack(self.x), packed=False)

  def joined(self, count):
    """Returns the same operations on whole images.

    Args:
      count: number of strips per image.
    """
    return self._replace(x=strips.join(self.x, count), known={})
