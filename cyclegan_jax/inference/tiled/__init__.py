"""Generators over pictures of any size in bounded memory, to the same result.

The network is walked layer by layer, and each layer tile by tile: a tile reads
what it needs of the layer before, edges included, and every norm has the
statistics of the whole picture. So there are no seams. Tiles have fixed shapes
and kernels are arguments: a size of picture not met before compiles nothing.
"""

import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.images import crop_to, pad_to_multiple, padded_size
from cyclegan_jax.inference.tiled.layers import Part, Stored
from cyclegan_jax.inference.tiled.walk import Activation, Pass, Walk
from cyclegan_jax.nets.generators import Generator


def apply(
  net, params, image, *, tile=256, scratch=None, progress=lambda fraction: None
):
  """What `nets.apply(net, params, image[None])[0]` gives, in bounded memory.

  For the ResNet that is three activations of its residual blocks: 192 bytes
  a pixel at width 64, where a whole picture takes up to 1500.

  Args:
    net: a generator of this package.
    params: its parameters.
    image: float32 [height, width, channels] in [-1, 1].
    tile: side of a tile in pixels of the picture, a multiple of 16.
    scratch: an existing folder for activations, in files without a name that
      are gone however the process ends; None keeps them in memory.
    progress: called with the fraction done, up to 1.

  Returns:
    float32 [height, width, out_channels].

  Raises:
    UserError: a tile, picture or folder that can't be, a network that is no
      generator, or a layer or an option that has no form in tiles.
  """
  if not isinstance(net, Generator):
    raise UserError(f'--tile has no {type(net).__name__}: give a generator')
  if tile < 16 or tile % 16:
    raise UserError(f'tile={tile} must be a multiple of 16')
  if scratch is not None and not pathlib.Path(scratch).is_dir():
    raise UserError(f'no folder {scratch} (scratch): make it or name another')
  height, width = image.shape[:2]
  image = pad_to_multiple(image, net.multiple)
  params = jax.tree.map(jnp.asarray, params)
  shared = Pass(net, params, image.shape[0], tile, scratch, progress)
  walk = Walk(net, params, shared)
  last = net.layers(walk, Activation((Part(Stored(image)),)))
  stored, _ = shared.run(last.pending, keep=True)
  output = np.tanh(np.asarray(stored.array, np.float32))
  return crop_to(output, height, width)


def whole_bytes(net, height, width):
  """About the most memory that translating a whole picture takes at a time.

  Measured on a CPU, parameters not included (docs/performance.md).

  Args:
    net: a generator of this package.
    height, width: of the picture.
  """
  pixels = math.prod(padded_size((height, width), net.multiple))
  first = pixels * net.width * np.dtype(net.dtype).itemsize
  return int(first * net.peak)
