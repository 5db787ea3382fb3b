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

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.nets import blur
from cyclegan_jax.nets.conv import forms

ACTIVATIONS = {
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
    activation: a name of `ACTIVATIONS`.
  """

  source: Any
  norm: tuple = tuple(np.full((1, 1, 1), x, np.float32) for x in (0, 1, 0))
  activation: str = 'none'


class Doubled(NamedTuple):
  """A source of which every pixel is repeated."""

  source: Any

  @property
  def shape(self):
    height, width, channels = self.source.shape
    return 2 * height, 2 * width, channels

  def read(self, rows, columns):
    return self.source.read(rows // 2, columns // 2)


class Kind(NamedTuple):
  """The geometry of a layer, the same along both sides.

  Attributes:
    operation: a name of `_OPERATIONS`.
    kernel: side of the kernel.
    edge: a name of `_EDGES`: what lies beyond the picture.
    padding: pixels beyond each edge that are read.
    stride: of the kernel.
  """

  operation: str = 'conv'
  kernel: int = 3
  edge: str = 'zeros'
  padding: int = 1
  stride: int = 1

  def size(self, size):
    """Pixels of the output along a side of `size` pixels."""
    if _OPERATIONS[self.operation].doubles:
      return 2 * size
    return (size + 2 * self.padding - self.kernel) // self.stride + 1

  def window(self, first, count):
    """(first, count) of the inputs of some outputs; pairs if it doubles."""
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
  """The sums of a layer over the pixels that it reads.

  Attributes:
    run: (window, kernel, kind, target) -> output, [1, rows, columns, ...].
    doubles: whether the output has twice the height and width.
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


# (places, size) -> indices; of zeros, which are laid over them later, any.
_EDGES = {'mirror': _mirror, 'nearest': _nearest, 'zeros': _nearest}


class Layer:
  """A layer's output, computed where it is asked for.

  Attributes:
    shape: of its output, [height, width, channels].
    learns: whether it has parameters.
  """

  def __init__(self, net, parts, kind, weights=None):
    """Takes a network, the `Part`s it reads, a `Kind`, and its parameters."""
    self._parts, self._weights, self._kind = parts, weights or {}, kind
    self.learns = bool(weights)
    self._options = dict(kind=kind, target=net.target, dtype=net.dtype)
    inputs = sum(part.source.shape[2] for part in parts)
    outputs = inputs
    if weights:
      takes, outputs = weights['kernel'].shape[2:]
      if inputs != takes:
        raise UserError(
          f'a picture of {inputs} channels for a generator that takes {takes}: '
          'convert it'
        )
    height, width = parts[0].source.shape[:2]
    self.shape = kind.size(height), kind.size(width), outputs

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
    first, count = self._kind.window(start, size)
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
  x = jnp.concatenate(_finish(windows, norms, activations, dtype), -1)
  x = jnp.where(_grid(*inside), x, jnp.zeros_like(x))[None]
  kernel = weights['kernel'].astype(dtype) if weights else None
  y = _OPERATIONS[kind.operation].run(x, kernel, kind, target)[0]
  if 'bias' in weights:
    y += weights['bias'].astype(dtype)[None, None]
  return y, None if counted is None else _moments(y, _grid(*counted))


def _finish(windows, norms, activations, dtype):
  """Windows after norm and activation."""
  return [
    ACTIVATIONS[activation](
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
