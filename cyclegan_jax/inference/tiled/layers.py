"""Computes one tile of the output of one layer.

In all functions `starts` is the first (row, column) of a tile, and `sizes` its
numbers of (rows, columns). A tile may extend beyond the image: its values there
are meaningless and are not stored.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.nets import blur
from cyclegan_jax.nets.conv import forms

ACTIVATIONS = {
  'none': lambda x: x,
  'relu': nn.relu,
  'leaky_relu': lambda x: nn.leaky_relu(x, 0.2),
}


class Stored(NamedTuple):
  """Output of a layer, stored in an array.

  `write` stores a tile, `read` returns pixels.

  Attributes:
    array: [height, width, channels], in memory or in a temporary file.
  """

  array: np.ndarray

  @property
  def shape(self):
    return self.array.shape

  def read(self, rows, columns):
    """Returns the pixels at some rows and columns.

    Args:
      rows: indices of rows, an integer array.
      columns: indices of columns, an integer array.

    Returns:
      [rows, columns, channels].
    """
    return self.array[np.ix_(rows, columns)]

  def write(self, starts, tile):
    top, left = starts
    there = self.array[top : top + tile.shape[0], left : left + tile.shape[1]]
    there[...] = np.asarray(tile)[: there.shape[0], : there.shape[1]]


class Part(NamedTuple):
  """Input of a layer: a source, to which a norm and an activation are applied.

  The norm and the activation are applied each time the input is read, so that
  they need no array of their own.

  Attributes:
    source: a `Stored`, `Doubled` or `Layer`.
    norm: (mean, factor, shift), each float32 [1, 1, channels] or [1, 1, 1]; x
      becomes (x - mean) * factor + shift.
    activation: a name in `ACTIVATIONS`, applied after the norm.
  """

  source: Any
  norm: tuple = tuple(np.full((1, 1, 1), x, np.float32) for x in (0, 1, 0))
  activation: str = 'none'


class Doubled(NamedTuple):
  """Source of twice the height and width: each pixel becomes 2x2 pixels.

  Attributes:
    source: the source to double, a `Stored` or `Layer`.
  """

  source: Any

  @property
  def shape(self):
    height, width, channels = self.source.shape
    return 2 * height, 2 * width, channels

  def read(self, rows, columns):
    return self.source.read(rows // 2, columns // 2)


class Kind(NamedTuple):
  """Geometry of a layer, equal for rows and columns.

  Attributes:
    operation: a name in `_OPERATIONS`.
    kernel: side of the kernel.
    edge: a name in `_EDGES`: the rule for pixels beyond the image.
    padding: number of pixels beyond each edge that are read.
    stride: stride of the kernel.
  """

  operation: str = 'conv'
  kernel: int = 3
  edge: str = 'zeros'
  padding: int = 1
  stride: int = 1

  def size(self, size):
    """Returns the height or width of the output of a layer.

    Args:
      size: height or width of the input, in pixels.
    """
    if _OPERATIONS[self.operation].doubles:
      return 2 * size
    return (size + 2 * self.padding - self.kernel) // self.stride + 1

  def window(self, first, count):
    """Returns the range (first, count) of input pixels that outputs depend on.

    Args:
      first: first output pixel along a side. Must be an even number for a layer
        that doubles the side.
      count: number of output pixels, with the same condition.
    """
    if _OPERATIONS[self.operation].doubles:
      return first // 2 + 3 - self.kernel, count // 2 + self.kernel - 2
    start = first * self.stride - self.padding
    return start, (count - 1) * self.stride + self.kernel


BLUR_DOWN = Kind('blur_down', edge='mirror', stride=2)
BLUR_UP = Kind('blur_up', kernel=4, edge='nearest')


def _convolution(x, kernel, kind, target):
  strides, padding = (kind.stride,) * 2, ((0, 0),) * 2
  convolve = forms.convolution(target)
  return convolve(x, kernel, strides, padding, lhs_dilation=(1, 1))


def _transposed(x, kernel, kind, target):
  padding = ((kind.kernel % 2, 0),) * 2
  convolve = forms.convolution(target)
  return convolve(x, kernel, (1, 1), padding, lhs_dilation=(2, 2))


class Operation(NamedTuple):
  """Computation of a layer on the pixels that it reads.

  Attributes:
    run: function (window, kernel, kind, target) -> output. Window and output
      are [1, rows, columns, channels].
    doubles: True if the output has twice the height and width of the input.
  """

  run: Callable
  doubles: bool = False


_OPERATIONS = {
  'conv': Operation(_convolution),
  'conv_transpose': Operation(_transposed, doubles=True),
  'blur_down': Operation(lambda x, *_: blur.halve(x)),
  'blur_up': Operation(lambda x, *_: blur.double(x), doubles=True),
}


def _mirror(places, size):
  period = max(2 * size - 2, 1)
  return np.minimum(places % period, -places % period)


def _nearest(places, size):
  return np.clip(places, 0, size - 1)


# Edge -> function (places, size) -> valid indices. `_convolve` overwrites the
# pixels that are to be zeros, so any index does for them.
_EDGES = {'mirror': _mirror, 'nearest': _nearest, 'zeros': _nearest}


class Layer:
  """Output of a layer, computed tile by tile when it is read.

  `tile` computes a rectangle of the output, `read` any rows and columns.

  Attributes:
    shape: (height, width, channels) of the output.
    learns: True if the layer has parameters.
  """

  def __init__(self, net, parts, kind, weights=None):
    """Makes a layer that has computed nothing yet.

    Args:
      net: the generator that the layer belongs to.
      parts: the inputs, `Part`s (sources with a norm and an activation) whose
        channels are concatenated.
      kind: the `Kind`: operation, kernel size, padding and stride.
      weights: parameters of the layer, or None.

    Raises:
      UserError: the kernel needs another number of input channels.
    """
    self._parts, self._weights, self._kind = parts, weights or {}, kind
    self.learns = bool(weights)
    self._options = dict(kind=kind, target=net.target, dtype=net.dtype)
    inputs = sum(part.source.shape[2] for part in parts)
    outputs = inputs
    if weights:
      takes, outputs = weights['kernel'].shape[2:]
      if inputs != takes:
        raise UserError(
          f'an image of {inputs} channels for a generator that takes {takes}: '
          'convert the image'
        )
    height, width = parts[0].source.shape[:2]
    self.shape = kind.size(height), kind.size(width), outputs

  def tile(self, starts, sizes, statistics=False):
    """Computes a tile of the output.

    Args:
      starts: first (row, column) of the tile. Must be even numbers for a layer
        that doubles height and width.
      sizes: (rows, columns) of the tile, with the same condition.
      statistics: if True, the sums that a norm needs (`_moments`) are computed
        as well.

    Returns:
      (tile [rows, columns, channels], moments of the pixels inside the image).
      The moments are None if `statistics` is False.
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
    """Computes the output at some rows and columns: [rows, columns, channels].

    Args:
      rows: indices of rows, all within `len(rows)` consecutive rows.
      columns: indices of columns, all within `len(columns)` consecutive
        columns.
    """
    starts = [min(side) // 2 * 2 for side in (rows, columns)]
    sizes = [len(side) // 2 * 2 + 2 for side in (rows, columns)]
    output = np.asarray(self.tile(starts, sizes)[0])
    return output[np.ix_(rows - starts[0], columns - starts[1])]

  def _indices(self, start, size, side):
    """Returns the input indices that a tile reads along one side.

    Args:
      start: first output pixel of the tile along the side.
      size: number of output pixels.
      side: size of the input along the side.

    Returns:
      (indices, mask); the mask is False where zeros are read instead.
    """
    first, count = self._kind.window(start, size)
    places = first + np.arange(count)
    inside = (places >= 0) & (places < side)
    zeros = self._kind.edge == 'zeros'
    return _EDGES[self._kind.edge](places, side), inside | (not zeros)


def add(parts, starts, sizes, dtype):
  """Returns a tile of the sum of activations.

  Args:
    parts: the activations, `Part`s of equal shape: stored or computed values
      [height, width, channels] with a norm and an activation to apply.
    starts: first (row, column) of the tile.
    sizes: (rows, columns) of the tile.
    dtype: type in which the activations are added and returned.

  Returns:
    The tile, [rows, columns, channels].
  """
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
  x = jnp.concatenate(_finish(windows, norms, activations, dtype), -1)
  x = jnp.where(_grid(*inside), x, jnp.zeros_like(x))[None]
  kernel = weights['kernel'].astype(dtype) if weights else None
  y = _OPERATIONS[kind.operation].run(x, kernel, kind, target)[0]
  if 'bias' in weights:
    y += weights['bias'].astype(dtype)[None, None]
  return y, None if counted is None else _moments(y, _grid(*counted))


def _finish(windows, norms, activations, dtype):
  """Returns the windows after norm and activation, as a list of arrays."""
  return [
    ACTIVATIONS[activation](
      ((x.astype(jnp.float32) - mean) * factor + shift).astype(dtype)
    )
    for x, (mean, factor, shift), activation in zip(windows, norms, activations)
  ]


def _grid(rows, columns):
  return rows[:, None, None] & columns[None, :, None]


def _moments(x, counted):
  """Returns (count, mean, sum of squared deviations) of the counted pixels.

  Computed in two passes, which is accurate for nearly constant images too.
  """
  x = x.astype(jnp.float32)
  count = counted.sum()
  mean = jnp.where(counted, x, 0).sum((0, 1)) / count
  off = jnp.where(counted, x - mean[None, None], 0)
  return count, mean, (off**2).sum((0, 1))
