"""One layer over one tile: what it reads, and the compiled sums.

A tile is given by starts, its first (row, column), and sizes, its (rows,
columns). Its rows and columns beyond the picture mean nothing and are left out.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cyclegan_jax.nets.conv import forms

_ACTIVATIONS = {
  'none': lambda x: x,
  'relu': nn.relu,
  'leaky_relu': lambda x: nn.leaky_relu(x, 0.2),
}


class Stored(NamedTuple):
  """The output of a layer in an array [height, width, channels]."""

  array: np.ndarray

  @property
  def shape(self):
    return self.array.shape

  def read(self, rows, columns):
    """The pixels at these indices, [rows, columns, channels]."""
    return self.array[np.ix_(rows, columns)]

  def write(self, starts, tile):
    top, left = starts
    there = self.array[top : top + tile.shape[0], left : left + tile.shape[1]]
    there[...] = np.asarray(tile)[: there.shape[0], : there.shape[1]]


class Part(NamedTuple):
  """Channels that a layer reads: those of a source, normed and activated.

  Attributes:
    source: a `Stored` or a `Layer`.
    norm: (mean, factor, shift), float32 [1, 1, channels], or [1, 1, 1].
    activation: a name of `_ACTIVATIONS`.
  """

  source: Any
  norm: tuple = tuple(np.full((1, 1, 1), x, np.float32) for x in (0, 1, 0))
  activation: str = 'none'


class Kind(NamedTuple):
  """A convolution's geometry, and what a tile of its output reads.

  Attributes:
    edge: a name of `_EDGES`: what lies beyond the picture.
    scale: the output's resolution by the input's.
    window: (first output, outputs, kernel) -> (first input, inputs). Outputs
      of an upsampling come in pairs.
    padding: kernel -> zeros (before, after) the window.
    stride, dilation: as in `forms.Geometry`.
    doubled: whether the window's pixels are repeated, but for its outer edge.
  """

  edge: str
  scale: float
  window: Callable
  padding: Callable = lambda kernel: (0, 0)
  stride: int = 1
  dilation: int = 1
  doubled: bool = False


KINDS = {
  'mirrored': Kind('mirror', 1, lambda i, n, k: (i - k // 2, n + k - 1)),
  'halving': Kind(
    'zeros', 0.5, lambda i, n, k: (2 * i - 1, 2 * n + k - 2), stride=2
  ),
  'transpose': Kind(
    'zeros',
    2,
    lambda i, n, k: (i // 2 + 3 - k, n // 2 + k - 2),
    padding=lambda k: (k % 2, 0),
    dilation=2,
  ),
  # A doubled picture mirrored by a pixel is the picture with its edge repeated.
  'resize': Kind(
    'nearest', 2, lambda i, n, k: (i // 2 - 1, n // 2 + 2), doubled=True
  ),
}


def _mirror(places, size):
  period = max(2 * size - 2, 1)
  return np.minimum(places % period, -places % period)


def _nearest(places, size):
  return np.clip(places, 0, size - 1)


# (places, size) -> indices; of zeros, which are laid over them later, any.
_EDGES = {'mirror': _mirror, 'nearest': _nearest, 'zeros': _nearest}


class Layer:
  """A convolution's output, computed where it is asked for.

  Attributes:
    inputs: channels of its input.
    shape: of its output, [height, width, channels].
  """

  def __init__(self, net, parts, weights, kind):
    self._parts, self._weights, self._kind = parts, weights, KINDS[kind]
    self._options = dict(kind=kind, target=net.target, dtype=net.dtype)
    self._kernel, _, self.inputs, outputs = weights['kernel'].shape
    height, width = parts[0].source.shape[:2]
    scale = self._kind.scale
    self.shape = int(height * scale), int(width * scale), outputs

  def tile(self, starts, sizes, statistics=False):
    """A tile of the output; for upsamplings, starts and sizes are even.

    Returns:
      [rows, columns, channels], and the `_moments` of what lies within the
      picture or, where statistics are not asked for, None.
    """
    rows, columns = (
      self._indices(*x) for x in zip(starts, sizes, self._parts[0].source.shape)
    )
    counted = [
      start + np.arange(size) < side
      for start, size, side in zip(starts, sizes, self.shape)
    ]
    return _convolve(
      [part.source.read(rows[0], columns[0]) for part in self._parts],
      [part.norm for part in self._parts],
      (rows[1], columns[1]),
      self._weights,
      counted if statistics else None,
      activations=tuple(part.activation for part in self._parts),
      **self._options,
    )

  def read(self, rows, columns):
    """As `Stored.read`, of indices that lie within as many in a row."""
    starts = [min(side) // 2 * 2 for side in (rows, columns)]
    sizes = [len(side) // 2 * 2 + 2 for side in (rows, columns)]
    output = np.asarray(self.tile(starts, sizes)[0])
    return output[np.ix_(rows - starts[0], columns - starts[1])]

  def _indices(self, start, size, side):
    """Indices along a side of the input, and which are not zeros instead."""
    first, count = self._kind.window(start, size, self._kernel)
    places = first + np.arange(count)
    inside = (places >= 0) & (places < side)
    zeros = self._kind.edge == 'zeros'
    return _EDGES[self._kind.edge](places, side), inside | (not zeros)


def add(parts, starts, sizes, dtype):
  """A tile of the sum of some activations of equal shape."""
  indices = [
    _nearest(start + np.arange(size), side)
    for start, size, side in zip(starts, sizes, parts[0].source.shape)
  ]
  return _add(
    [part.source.read(*indices) for part in parts],
    [part.norm for part in parts],
    activations=tuple(part.activation for part in parts),
    dtype=dtype,
  )


@partial(jax.jit, static_argnames=('activations', 'dtype'))
def _add(windows, norms, *, activations, dtype):
  return sum(_finish(windows, norms, activations, dtype))


@partial(jax.jit, static_argnames=('activations', 'kind', 'target', 'dtype'))
def _convolve(
  windows, norms, inside, weights, counted, *, activations, kind, target, dtype
):
  kind = KINDS[kind]
  x = jnp.concatenate(_finish(windows, norms, activations, dtype), -1)
  x = jnp.where(_grid(*inside), x, jnp.zeros_like(x))[None]
  if kind.doubled:
    x = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)[:, 1:-1, 1:-1]
  kernel = weights['kernel'].astype(dtype)
  y = forms.convolution(target)(
    x,
    kernel,
    (kind.stride,) * 2,
    (kind.padding(len(kernel)),) * 2,
    lhs_dilation=(kind.dilation,) * 2,
  )[0]
  if 'bias' in weights:
    y += weights['bias'].astype(dtype)[None, None]
  return y, None if counted is None else _moments(y, _grid(*counted))


def _finish(windows, norms, activations, dtype):
  """Windows after norm and activation."""
  return [
    _ACTIVATIONS[activation](
      ((x.astype(jnp.float32) - mean) * factor + shift).astype(dtype)
    )
    for x, (mean, factor, shift), activation in zip(windows, norms, activations)
  ]


def _grid(rows, columns):
  return rows[:, None, None] & columns[None, :, None]


def _moments(x, counted):
  """Count, mean and sum of squared deviations of the pixels counted.

  In two passes: pictures may be nearly constant.
  """
  x = x.astype(jnp.float32)
  count = counted.sum()
  mean = jnp.where(counted, x, 0).sum((0, 1)) / count
  off = jnp.where(counted, x - mean[None, None], 0)
  return count, mean, (off**2).sum((0, 1))
