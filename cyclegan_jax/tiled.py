"""Generators over pictures of any size in bounded memory, to the same result.

The network is walked layer by layer, and each layer tile by tile: a tile reads
what it needs of the layer before, edges included, and every norm has the
statistics of the whole picture. So there are no seams. Tiles have fixed shapes
and kernels are arguments: a size of picture not met before compiles nothing.
"""

import os
import tempfile
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cyclegan_jax import files
from cyclegan_jax.errors import UserError
from cyclegan_jax.nets import conv_forms
from cyclegan_jax.nets.generators import ResnetGenerator, UnetGenerator

# Tiles down to this part of `tile` follow the resolution; smaller ones would
# read kernels more than pictures.
_LEAST_PART = 8
# Activations of fewer bytes than this stay in memory.
_SMALL = 2**26
_EPSILON = 1e-5  # of all norms


def apply(
  net, params, image, *, tile=256, scratch=None, progress=lambda fraction: None
):
  """What `nets.apply(net, params, image[None])[0]` gives, in bounded memory.

  Stored at a time are about three activations of the residual blocks, or one
  of these and one of half resolution.

  Args:
    net: a generator of this package.
    params: its parameters.
    image: float32 [height, width, channels] in [-1, 1].
    tile: side of a tile in pixels of the picture, a multiple of 16.
    scratch: an existing folder for activations, in files without a name that
      are gone however the process ends; None keeps them in memory.
    progress: called with the fraction done, from 0 to 1.

  Returns:
    float32 [height, width, out_channels].

  Raises:
    UserError: a generator, tile, picture or folder that can't be.
  """
  if type(net) not in _WALKS:
    names = ', '.join(sorted(known.__name__ for known in _WALKS))
    raise UserError(
      f'{type(net).__name__} has no form in tiles: use one of {names}, or '
      'translate whole pictures'
    )
  if tile < 16 or tile % 16:
    raise UserError(f'tile={tile} must be a multiple of 16')
  if scratch is not None and not os.path.isdir(scratch):
    raise UserError(f'no folder {scratch} (scratch): make it or name another')
  multiple, walk_network = _WALKS[type(net)]
  height, width = image.shape[:2]
  extra = [-side % multiple(net) for side in (height, width)]
  top, left = (e // 2 for e in extra)
  if any(extra):
    pads = [(e // 2, e - e // 2) for e in extra]
    image = np.pad(image, (*pads, (0, 0)), 'reflect')
  params = jax.tree.map(jnp.asarray, params)
  walk = _Walk(net, params, image.shape[0], tile, scratch, progress)
  x = walk_network(net, params, walk, (_Part(_Stored(image)),))
  output = np.tanh(np.asarray(x[0].source.array, np.float32))
  return output[top : top + height, left : left + width]


def _resnet(net, params, walk, x):
  """`ResnetGenerator`; what has full resolution is computed twice."""
  x = walk.conv(x, params, 'first', 'mirrored', keep=False)
  for i in (1, 2):
    x = walk.conv(_then(x, 'relu'), params, f'down_{i}', 'halving')
  x = _then(x, 'relu')
  for i in range(net.depth):
    block = params[f'block_{i}']
    y = walk.conv(x, block, 'conv_1', 'mirrored', norm='norm_1')
    y = walk.conv(_then(y, 'relu'), block, 'conv_2', 'mirrored', norm='norm_2')
    x = walk.add(x, y)
  for i in (1, 2):
    x = walk.conv(x, params, f'up_{i}', net.upsampling, keep=i == 1)
    x = _then(x, 'relu')
  return walk.conv(x, params, 'last', 'mirrored', norm=None)


def _unet(net, params, walk, x):
  """`UnetGenerator`."""
  levels = range(1, net.depth)
  x = walk.conv(x, params, 'down_0', 'halving', norm=None)
  skips = []
  for i in levels:
    skips.append(x)
    norm = f'down_{i}_norm' if i < net.depth - 1 else None
    x = walk.conv(
      _then(x, 'leaky_relu'), params, f'down_{i}', 'halving', norm=norm
    )
  for i in reversed(levels):
    x = walk.conv(_then(x, 'relu'), params, f'up_{i}', net.upsampling)
    x = skips.pop() + x
  return walk.conv(_then(x, 'relu'), params, 'up_0', net.upsampling, norm=None)


# class -> (what sides are padded to a multiple of, its layers)
_WALKS = {
  ResnetGenerator: (lambda net: 4, _resnet),
  UnetGenerator: (lambda net: 2**net.depth, _unet),
}


class _Stored(NamedTuple):
  """An array that can be read in windows."""

  array: np.ndarray

  @property
  def shape(self):
    return self.array.shape

  def read(self, rows, columns):
    """The pixels [rows, columns, channels] at indices of the picture."""
    return self.array[np.ix_(rows, columns)]


class _Part(NamedTuple):
  """Some channels of what a layer reads: source, then norm, then activation.

  Attributes:
    source: a `_Stored` or a `_Layer`.
    norm: (mean, factor, shift), float32 [1, 1, channels] or [1, 1, 1].
    activation: a name of `_ACTIVATIONS`.
  """

  source: Any
  norm: tuple = tuple(np.full((1, 1, 1), x, np.float32) for x in (0, 1, 0))
  activation: str = 'none'


_ACTIVATIONS = {
  'none': lambda x: x,
  'relu': nn.relu,
  'leaky_relu': lambda x: nn.leaky_relu(x, 0.2),
}


def _then(parts, activation):
  return tuple(part._replace(activation=activation) for part in parts)


class _Kind(NamedTuple):
  """Which window of its input a tile of a convolution's output needs.

  Attributes:
    edge: what lies beyond the picture: a name of `_EDGES`.
    scale: output's resolution by input's.
    window: (first output, outputs, kernel) -> (first input, inputs).
    padding: kernel -> zeros (before, after) the window.
    stride, dilation: of the convolution.
    repeat: of the window's pixels, before all that.
  """

  edge: str
  scale: float
  window: Any
  padding: Any = lambda kernel: (0, 0)
  stride: int = 1
  dilation: int = 1
  repeat: int = 1


# Tiles that are upsampled start at even pixels.
_KINDS = {
  'mirrored': _Kind(
    'mirror', 1, lambda start, size, k: (start - k // 2, size + k - 1)
  ),
  'halving': _Kind(
    'zeros',
    0.5,
    lambda start, size, k: (2 * start - 1, 2 * size + k - 2),
    stride=2,
  ),
  'transpose': _Kind(
    'zeros',
    2,
    lambda start, size, k: (start // 2 + 3 - k, size // 2 + k - 2),
    padding=lambda k: (k % 2, 0),
    dilation=2,
  ),
  # Mirroring the doubled picture by a pixel is repeating the edge.
  'resize': _Kind(
    'nearest',
    2,
    lambda start, size, k: (start // 2 - 1, size // 2 + 2),
    padding=lambda k: (-1, -1),
    repeat=2,
  ),
}


def _mirror(places, size):
  period = max(2 * (size - 1), 1)
  return np.minimum(places % period, -places % period)


def _nearest(places, size):
  return np.clip(places, 0, size - 1)


# (places, size) -> indices within; zeros are laid over them.
_EDGES = {'mirror': _mirror, 'nearest': _nearest, 'zeros': _nearest}


class _Layer:
  """A convolution's output, computed in the windows that are asked for."""

  def __init__(self, net, parts, weights, kind):
    self.parts, self.weights, self.kind = parts, weights, _KINDS[kind]
    height, width = parts[0].source.shape[:2]
    self.shape = (
      int(height * self.kind.scale),
      int(width * self.kind.scale),
      weights['kernel'].shape[-1],
    )
    self.options = dict(kind=kind, target=net.target, dtype=net.dtype)

  def tile(self, starts, sizes, statistics=False):
    """Output pixels and their moments; beyond the picture they mean nothing.

    Args:
      starts: (row, column) of the first.
      sizes: (rows, columns).
      statistics: whether the moments are asked for.

    Returns:
      [rows, columns, channels], and (count, mean, sum of squared deviations)
      of those within the picture, or None.
    """
    kernel = self.weights['kernel'].shape[0]
    edge = _EDGES[self.kind.edge]
    indices, inside = [], []
    for start, size, side in zip(starts, sizes, self.parts[0].source.shape):
      first, count = self.kind.window(start, size, kernel)
      places = np.arange(first, first + count)
      indices.append(edge(places, side))
      within = (places >= 0) & (places < side)
      inside.append(within if self.kind.edge == 'zeros' else within | True)
    counted = [
      np.arange(start, start + size) < side
      for start, size, side in zip(starts, sizes, self.shape)
    ]
    return _convolve(
      [part.source.read(*indices) for part in self.parts],
      [part.norm for part in self.parts],
      inside,
      self.weights,
      counted if statistics else None,
      activations=tuple(part.activation for part in self.parts),
      **self.options,
    )

  def read(self, rows, columns):
    """As `_Stored.read`, for indices that lie in one window as long as they."""
    starts = [side.min() // 2 * 2 for side in (rows, columns)]
    sizes = [len(side) // 2 * 2 + 2 for side in (rows, columns)]
    output, _ = self.tile(starts, sizes)
    return np.asarray(output)[np.ix_(rows - starts[0], columns - starts[1])]


def _finish(x, norm, activation, dtype):
  """Norm and activation of a window."""
  mean, factor, shift = norm
  x = (x.astype(jnp.float32) - mean) * factor + shift
  return _ACTIVATIONS[activation](x.astype(dtype))


@partial(jax.jit, static_argnames=('activations', 'kind', 'target', 'dtype'))
def _convolve(
  windows, norms, inside, weights, counted, *, activations, kind, target, dtype
):
  kind = _KINDS[kind]
  x = jnp.concatenate(
    [_finish(*part, dtype) for part in zip(windows, norms, activations)], -1
  )
  x = jnp.where(_grid(*inside), x, jnp.zeros_like(x))[None]
  for axis in (1, 2):
    x = jnp.repeat(x, kind.repeat, axis) if kind.repeat > 1 else x
  kernel = weights['kernel'].astype(dtype)
  before, after = kind.padding(kernel.shape[0])
  if before < 0:
    x, before, after = x[:, -before:after, -before:after], 0, 0
  y = conv_forms.convolution(target)(
    x,
    kernel,
    (kind.stride,) * 2,
    ((before, after),) * 2,
    lhs_dilation=(kind.dilation,) * 2,
  )[0]
  if 'bias' in weights:
    y += weights['bias'].astype(dtype)[None, None]
  return y, None if counted is None else _moments(y, _grid(*counted))


def _grid(rows, columns):
  return rows[:, None, None] & columns[None, :, None]


def _moments(x, counted):
  """Count, mean and sum of squared deviations, exact for near constants."""
  x = x.astype(jnp.float32)
  count = counted.sum()
  mean = jnp.where(counted, x, 0).sum((0, 1)) / count
  off = jnp.where(counted, x - mean[None, None], 0)
  error = off.sum((0, 1))  # what rounding left in the mean
  squares = (off**2).sum((0, 1)) - error**2 / count
  return count, mean + error / count, squares


@partial(jax.jit, static_argnames=('activations', 'dtype'))
def _add(windows, norms, *, activations, dtype):
  return sum(_finish(*x, dtype) for x in zip(windows, norms, activations))


class _Walk:
  """Goes through a network's layers, each over all tiles of the picture."""

  def __init__(self, net, params, height, tile, scratch, progress):
    self.net, self.height, self.side = net, height, tile
    self.scratch, self.progress = scratch, progress
    self.layers = sum(leaf.ndim == 4 for leaf in jax.tree.leaves(params))
    self.done = 0

  def conv(self, parts, params, name, kind, *, norm='', keep=True):
    """A convolution and the norm behind it.

    Args:
      parts: `_Part`s, what it reads.
      params: where its parameters are.
      name: its name there.
      kind: a name of `_KINDS`.
      norm: the norm's name there; None for none.
      keep: whether the output is stored, or computed where it is read.
    """
    layer = _Layer(self.net, parts, params[name], kind)
    output = self._empty(layer.shape) if keep else None
    weights = None
    if norm is not None and self.net.norm != 'none':
      weights = params.get(norm or f'{name}_norm', {})
    statistics = weights is not None and 'mean' not in weights
    moments = []
    if keep or statistics:
      for starts, sizes in self._tiles(layer.shape):
        y, counted = layer.tile(starts, sizes, statistics)
        moments.append(counted)
        if keep:
          _write(output, starts, y)
    self.done += 1
    self.progress(self.done / self.layers)
    part = _Part(_Stored(output) if keep else layer)
    if weights is not None:
      part = part._replace(norm=_norm(weights, moments))
    return (part,)

  def add(self, parts, others):
    """Sum of two activations, which takes the place of the first."""
    both = (*parts, *others)
    output = parts[0].source.array
    for starts, sizes in self._tiles(output.shape):
      indices = [
        _nearest(np.arange(start, start + size), side)
        for start, size, side in zip(starts, sizes, output.shape)
      ]
      y = _add(
        [part.source.read(*indices) for part in both],
        [part.norm for part in both],
        activations=tuple(part.activation for part in both),
        dtype=self.net.dtype,
      )
      _write(output, starts, y)
    return (_Part(_Stored(output)),)

  def _tiles(self, shape):
    size = max(self.side * shape[0] // self.height, self.side // _LEAST_PART)
    for top in range(0, shape[0], size):
      for left in range(0, shape[1], size):
        yield (top, left), (size, size)

  def _empty(self, shape):
    dtype = np.dtype(self.net.dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    if self.scratch is None or size < _SMALL:
      return np.empty(shape, dtype)
    with files.writing(self.scratch):
      file = tempfile.TemporaryFile(dir=self.scratch)  # noqa: SIM115
      if hasattr(os, 'posix_fallocate'):
        # A disk that fills up while pages are written would kill the process.
        os.posix_fallocate(file.fileno(), 0, size)
      return np.memmap(file, dtype, 'r+', shape=shape)


def _write(output, starts, tile):
  """Writes what lies within the picture."""
  top, left = starts
  there = output[top : top + tile.shape[0], left : left + tile.shape[1]]
  there[...] = np.asarray(tile)[: there.shape[0], : there.shape[1]]


def _norm(weights, moments):
  """(mean, factor, shift) of a norm with these parameters."""
  if 'mean' in weights:
    mean, variance = (np.asarray(weights[x]) for x in ('mean', 'var'))
  else:
    counts, means, squares = (
      np.array(x, np.float64) for x in zip(*jax.device_get(moments))
    )
    shares = counts[:, None] / counts.sum()
    mean = (shares * means).sum(0)
    variance = squares.sum(0) / counts.sum()
    variance += (shares * (means - mean) ** 2).sum(0)
  factor = np.asarray(weights.get('scale', 1)) / np.sqrt(variance + _EPSILON)
  shift = np.broadcast_to(weights.get('bias', 0), mean.shape)
  return tuple(
    np.asarray(x, np.float32)[None, None] for x in (mean, factor, shift)
  )
