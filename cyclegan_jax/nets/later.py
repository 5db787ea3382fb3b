"""Strips of pictures with operations that have yet to run."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from cyclegan_jax.nets.conv import edges, strips
from cyclegan_jax.nets.conv.norm import Rest, instance_norm, padded
from cyclegan_jax.nets.layers import EPSILON


class Later(NamedTuple):
  """Strips, and all that is to run on them, in the order of the attributes.

  Attributes:
    x: [batch x strips, height / strips, width, channels]; if packed, with half
      the height and width and four times the channels (see `nets.conv.edges`).
    bias: [channels], or None.
    norm: (scale, bias) of an instance norm, each [channels], both None for 1
      and 0; None: there is no norm.
    slope: of the activation for negative values; 1 for none.
    size: rows and columns of pixels to pad at each edge.
    mode: of the padding, as for `edges.before`.
    packed: whether the strips are packed.
    known: {(size, mode): the result}, where it is there already.
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
    """Number of channels of a pixel."""
    return self.x.shape[-1] // (4 if self.packed else 1)

  @property
  def is_linear(self):
    """True if neither norm nor activation nor padding has to run."""
    return self.norm is None and self.slope == 1 and not self.size

  def run(self, count, columns=True):
    """The result.

    Args:
      count: number of strips of each picture.
      columns: whether to pad columns, too.
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
    """The strips with an instance norm, which undoes any bias."""
    return self._replace(norm=norm, bias=None)

  def unpacked(self):
    return self._replace(x=edges.unpack(self.x), packed=False)

  def joined(self, count):
    """The same of whole pictures."""
    return self._replace(x=strips.join(self.x, count), known={})
