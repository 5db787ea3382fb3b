"""Goes through a network's layers, each over all tiles of the picture."""

import math
import os
import tempfile

import jax
import numpy as np

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.inference.tiled.layers import Layer, Part, Stored, add
from cyclegan_jax.nets.layers import EPSILON

# Tiles shrink with the resolution down to this part of what was asked for:
# with smaller ones it would be kernels that are read, not pictures.
_LEAST_PART = 8
# Activations of fewer bytes than this stay in memory.
SMALL = 2**26


class Walk:
  """What the layers of a pass share.

  Attributes:
    net: the generator.
    height: of the picture, padded.
    tile: side of a tile in pixels of the picture.
    scratch: folder for large activations, or None.
    progress: called with the fraction done.
    count, done: layers there are, and passed.
  """

  def __init__(self, net, params, height, tile, scratch, progress):
    self.net, self.height, self.tile = net, height, tile
    self.scratch, self.progress = scratch, progress
    self.count = sum(leaf.ndim == 4 for leaf in jax.tree.leaves(params))
    self.done = 0

  def conv(self, parts, params, name, kind, *, norm='', keep=True):
    """A convolution and the norm behind it.

    Args:
      parts: `Part`s, what it reads.
      params: where its parameters are.
      name: its name there.
      kind: a name of `layers.KINDS`.
      norm: the norm's name there; by default the layer's with '_norm' behind;
        None for no norm.
      keep: whether the output is stored, or computed where it is read.

    Returns:
      The output, as `Part`s.
    """
    layer = Layer(self.net, parts, params[name], kind)
    inputs = sum(part.source.shape[2] for part in parts)
    if inputs != layer.inputs:
      raise UserError(
        f'a picture of {inputs} channels for a generator that takes '
        f'{layer.inputs}: convert it'
      )
    weights = None
    if norm is not None and self.net.norm != 'none':
      weights = params.get(norm or f'{name}_norm', {})
    frozen = self.net.norm == 'batch_frozen'
    statistics = weights is not None and not frozen
    stored, moments = None, []
    if keep:
      stored = Stored(self._empty(layer.shape))
    if keep or statistics:
      moments = self._pass(layer, stored, statistics)
    self.done += 1
    part = Part(stored or layer)
    if weights is not None:
      part = part._replace(norm=_norm(weights, None if frozen else moments))
    return (part,)

  def add(self, parts, others):
    """Sum of two activations, which takes the place of the first."""
    (one,) = parts
    for starts, sizes in self._tiles(one.source.shape):
      y = add((*parts, *others), starts, sizes, self.net.dtype)
      one.source.write(starts, y)
    return (Part(one.source),)

  def _pass(self, layer, stored, statistics):
    """Computes a layer; the moments of its tiles."""
    tiles = list(self._tiles(layer.shape))
    moments = []
    for i, (starts, sizes) in enumerate(tiles):
      y, counted = layer.tile(starts, sizes, statistics)
      moments.append(counted)
      if stored:
        stored.write(starts, y)
      self.progress((self.done + (i + 1) / len(tiles)) / self.count)
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
