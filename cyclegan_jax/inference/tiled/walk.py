"""Goes through a network's layers, each over all tiles of the picture."""

import math
import os
import tempfile
from typing import NamedTuple

import jax
import numpy as np

from cyclegan_jax.common import files
from cyclegan_jax.inference.tiled.layers import (
  ACTIVATIONS,
  BLUR_DOWN,
  BLUR_UP,
  Doubled,
  Kind,
  Layer,
  Part,
  Stored,
  add,
)
from cyclegan_jax.nets.layers import EPSILON
from cyclegan_jax.nets.verbs import Reader

# Tiles shrink with the resolution down to this part of what was asked for:
# with smaller ones it would be kernels that are read, not pictures.
_LEAST_PART = 8
# Activations of fewer bytes than this stay in memory.
SMALL = 2**26


class Activation(NamedTuple):
  """Channels of a picture that a verb returns for the next layer to read.

  Attributes:
    parts: the `Part`s it consists of.
    padding: pixels that `pad` added at each edge.
    edge: a name of `layers.KINDS`' edges, of these pixels.
    pending: the only part's `Layer`, while it is not known whether a norm
      follows.
  """

  parts: tuple
  padding: int = 0
  edge: str = 'zeros'
  pending: Layer | None = None


class Walk(Reader):
  """Goes through the verbs of a network, each layer over all tiles.

  Attributes:
    net: the generator.
    params: its parameters, or those of one of its residual blocks.
    pass_: the `Pass` that they are a part of.
  """

  what = '--tile'

  def __init__(self, net, params, pass_):
    self.net, self.params, self.pass_ = net, params, pass_

  def pad(self, x, size, mode='reflect'):
    edges = {'reflect': 'mirror', 'replicate': 'nearest'}
    edge = self.known(edges, mode, 'generator.padding')
    return self._settled(x)._replace(padding=size, edge=edge)

  def conv(self, x, name, features, kernel, *, stride=1, padding=0, bias=None):
    x = self._settled(x)
    if x.padding and padding:
      raise self.refuse('zeros beyond a padded edge')
    kind = Kind('conv', kernel, x.edge, x.padding or padding, stride)
    return self._layer(x, kind, self.params[name])

  def conv_transpose(self, x, name, features, kernel, *, bias=None):
    kind = Kind('conv_transpose', kernel)
    return self._layer(self._settled(x), kind, self.params[name])

  def blur_down(self, x):
    return self._layer(self._settled(x), BLUR_DOWN)

  def blur_up(self, x):
    return self._layer(self._settled(x), BLUR_UP)

  def normalize(self, x, name):
    if self.net.norm == 'none':
      return x
    if not x.pending:
      raise self.refuse('a norm that follows no convolution')
    weights = self.params.get(name, {})
    frozen = self.net.norm == 'batch_frozen'
    source, moments = self.pass_.run(x.pending, statistics=not frozen)
    norm = _norm(weights, None if frozen else moments)
    return Activation((Part(source, norm),))

  def activate(self, x, kind):
    x = self._settled(x)
    self.known(ACTIVATIONS, kind, 'activation')
    if any(part.activation != 'none' for part in x.parts):
      raise self.refuse('two activations in a row')
    parts = tuple(part._replace(activation=kind) for part in x.parts)
    return x._replace(parts=parts)

  def dropout(self, x, rate):
    return x  # translation drops nothing

  def residual_blocks(self, x, names, layers):
    x = self._settled(x)
    for name in names:
      block = Walk(self.net, self.params[name], self.pass_)
      y = block._settled(layers(block, x))
      x = Activation((self.pass_.add(x.parts, y.parts),))
    return x

  def skip(self, x, layers):
    x = self._settled(x)
    return Activation(x.parts + self._settled(layers(x)).parts)

  def double(self, x):
    x = self._settled(x)
    return Activation(
      tuple(part._replace(source=Doubled(part.source)) for part in x.parts)
    )

  def tap(self, x, name):
    return x

  def _layer(self, x, kind, weights=None):
    layer = Layer(self.net, x.parts, kind, weights)
    return Activation((Part(layer),), pending=layer)

  def _settled(self, x):
    """x, now that no norm follows its layer."""
    if not x.pending:
      return x
    source, _ = self.pass_.run(x.pending)
    return Activation((Part(source),))


class Pass:
  """One pass over a picture: settings of all layers, loops over their tiles."""

  def __init__(self, net, params, height, tile, scratch, progress):
    """Takes what `tiled.apply` takes.

    Args:
      net: the generator.
      params: all of its parameters.
      height: of the picture, padded.
      tile: side of a tile in pixels of the picture.
      scratch: folder for large activations, or None.
      progress: called with the fraction done.
    """
    self.net, self.height, self.tile = net, height, tile
    self.scratch, self.progress = scratch, progress
    self.count = sum(leaf.ndim == 4 for leaf in jax.tree.leaves(params))
    self.done = 0

  def run(self, layer, *, statistics=False, keep=False):
    """Computes a layer as far as it must be.

    Args:
      layer: a `Layer`.
      statistics: whether the moments of its output are needed.
      keep: whether to store it even if it has the picture's full resolution;
        such layers are otherwise computed where they are read.

    Returns:
      The source to read it from, and the moments of its tiles.
    """
    stored, moments = None, []
    if keep or layer.shape[0] < self.height:
      stored = Stored(self._empty(layer.shape))
    if stored or statistics:
      moments = self._over_tiles(layer, stored, statistics)
    self.done += layer.learns
    return stored or layer, moments

  def add(self, parts, others):
    """The sum of two activations, as a `Part`; takes the place of the first."""
    (one,) = parts
    for starts, sizes in self._tiles(one.source.shape):
      y = add((*parts, *others), starts, sizes, self.net.dtype)
      one.source.write(starts, y)
    return Part(one.source)

  def _over_tiles(self, layer, stored, statistics):
    """Computes a layer; returns the moments of its tiles."""
    tiles = list(self._tiles(layer.shape))
    moments = []
    for i, (starts, sizes) in enumerate(tiles):
      y, counted = layer.tile(starts, sizes, statistics)
      moments.append(counted)
      if stored:
        stored.write(starts, y)
      share = (i + 1) / len(tiles) * layer.learns
      self.progress(min(1.0, (self.done + share) / self.count))
    return moments

  def _tiles(self, shape):
    """((row, column), (rows, columns)) of tiles that cover [height, width]."""
    size = max(self.tile * shape[0] // self.height, self.tile // _LEAST_PART)
    for top in range(0, shape[0], size):
      for left in range(0, shape[1], size):
        yield (top, left), (size, size)

  def _empty(self, shape):
    dtype = np.dtype(self.net.dtype)
    size = math.prod(shape) * dtype.itemsize
    if self.scratch is None or size < SMALL:
      return np.empty(shape, dtype)
    with (
      files.writing(self.scratch),
      tempfile.TemporaryFile(dir=self.scratch) as file,
    ):
      file.truncate(size)
      if hasattr(os, 'posix_fallocate'):
        # Else a disk that is full would kill the process at some write.
        os.posix_fallocate(file.fileno(), 0, size)
      return np.memmap(file, dtype, 'r+', shape=shape)


def _norm(weights, moments):
  """(mean, factor, shift) of a norm, by its averages if there are no moments.

  Official files have averages that only `batch_frozen` uses.
  """
  if moments is None:
    mean, variance = (np.asarray(weights[x]) for x in ('mean', 'var'))
  else:
    mean, variance = _merge(moments)
  factor = np.asarray(weights.get('scale', 1)) / np.sqrt(variance + EPSILON)
  shift = np.broadcast_to(weights.get('bias', 0), mean.shape)
  return tuple(
    np.asarray(x, np.float32)[None, None] for x in (mean, factor, shift)
  )


def _merge(moments):
  """Mean and variance of all from (count, mean, squares) of tiles, float64."""
  counts, means, squares = (
    np.array(x, np.float64) for x in zip(*jax.device_get(moments))
  )
  counts = counts[:, None]
  mean = (counts * means).sum(0) / counts.sum()
  squares = squares.sum(0) + (counts * (means - mean) ** 2).sum(0)
  return mean, squares / counts.sum()
