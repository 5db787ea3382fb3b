"""Computes the layers of a network one by one, each over all tiles."""

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

# Tiles shrink with the resolution of a layer, but at most by this factor: with
# smaller tiles most of the time would go into reading kernels.
_LEAST_PART = 8
# Activations of fewer bytes than this stay in memory.
SMALL = 2**26


class Activation(NamedTuple):
  """Activation that a verb of `Walk` returns and the next layer reads.

  Attributes:
    parts: tuple of `layers.Part`s (sources with a norm and an activation
      function) whose channels are concatenated.
    padding: number of pixels that `pad` added at each edge.
    edge: `Kind.edge` of the pixels that `pad` added.
    pending: the `Layer` of the only part, as long as the next verb may be a
      norm; otherwise None.
  """

  parts: tuple
  padding: int = 0
  edge: str = 'zeros'
  pending: Layer | None = None


class Walk(Reader):
  """Reader that computes each layer of a network over all tiles of an image.

  A network calls one method (verb) of a reader per layer; see `nets.verbs`. The
  verbs here take and return an `Activation`.

  Attributes:
    net: the generator.
    params: parameters of the generator; in the reader of a residual block,
      those of the block.
    pass_: the `Pass` over the image, which holds the loops over tiles.
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
      raise self.refuse('zero padding of an input that is padded already')
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
      raise self.refuse('a norm without a convolution before it')
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
    return x  # no dropout in translation

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
    """Returns x after computing its pending layer, if there is one."""
    if not x.pending:
      return x
    source, _ = self.pass_.run(x.pending)
    return Activation((Part(source),))


class Pass:
  """One pass of a network over an image, with the loops over tiles.

  `run` computes a layer; `add` adds two activations.
  """

  def __init__(self, net, params, height, tile, scratch, progress):
    """Makes a pass from the arguments of `tiled.apply`.

    Args:
      net: the generator.
      params: all parameters of the generator.
      height: height of the padded image.
      tile: side of a tile in pixels of the image.
      scratch: folder for large activations, or None for memory.
      progress: function that is called with the fraction done.
    """
    self.net, self.height, self.tile = net, height, tile
    self.scratch, self.progress = scratch, progress
    self.count = sum(leaf.ndim == 4 for leaf in jax.tree.leaves(params))
    self.done = 0

  def run(self, layer, *, statistics=False, keep=False):
    """Computes a layer, and stores its output or leaves it to be recomputed.

    A layer of the full resolution of the image is not stored, to save memory:
    the layers that read its output compute it again.

    Args:
      layer: the `layers.Layer` to compute.
      statistics: if True, the moments of the output (sums that a norm needs)
        are computed.
      keep: if True, the output is stored at any resolution.

    Returns:
      (source, moments): a `Stored` or the layer itself, from which the output
      can be read, and the list of the moments of its tiles. The list is empty
      if no tile had to be computed.
    """
    stored, moments = None, []
    if keep or layer.shape[0] < self.height:
      stored = Stored(self._empty(layer.shape))
    if stored or statistics:
      moments = self._over_tiles(layer, stored, statistics)
    self.done += layer.learns
    return stored or layer, moments

  def add(self, parts, others):
    """Adds two activations, and stores the sum in the array of the first.

    Args:
      parts: tuple of the one `Part` of the first activation, which must be
        stored.
      others: `Part`s of the second activation, of the same shape.

    Returns:
      The sum, as a `Part`.
    """
    (one,) = parts
    for starts, sizes in self._tiles(one.source.shape):
      y = add((*parts, *others), starts, sizes, self.net.dtype)
      one.source.write(starts, y)
    return Part(one.source)

  def _over_tiles(self, layer, stored, statistics):
    """Computes all tiles of a layer; returns the list of their moments."""
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
    """Yields (starts, sizes) of the tiles that cover an output of a shape."""
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
        # On a full disk a write to the memory map would kill the process.
        os.posix_fallocate(file.fileno(), 0, size)
      return np.memmap(file, dtype, 'r+', shape=shape)


def _norm(weights, moments):
  """Returns `Part.norm`, the (mean, factor, shift) of a norm.

  Args:
    weights: parameters of the norm: any of scale, bias, mean and var.
    moments: moments of the tiles of the input. None uses the running averages
      `mean` and `var` of `weights` instead ('batch_frozen').
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
  """Returns mean and variance (float64) of an image from moments of tiles."""
  counts, means, squares = (
    np.array(x, np.float64) for x in zip(*jax.device_get(moments))
  )
  counts = counts[:, None]
  mean = (counts * means).sum(0) / counts.sum()
  squares = squares.sum(0) + (counts * (means - mean) ** 2).sum(0)
  return mean, squares / counts.sum()
