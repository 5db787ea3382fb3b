"""Applies generators to images of any size in tiles, with little memory.

The layers of the network are computed one after the other, each in tiles. Each
tile reads all pixels of the previous layer that it needs, including those
beyond its edges, and every norm uses the statistics of the whole image. The
result therefore equals that of the whole image and has no seams. Tiles have
fixed shapes, and kernels are arguments of the compiled functions, so a new
image size compiles no new program.
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
  """Applies a generator to one image in tiles, with little memory.

  The result equals `nets.apply(net, params, image[None])[0]` up to rounding.
  The ResNet keeps three activations of its residual blocks: 192 bytes per pixel
  at width 64, where translating the whole image takes up to 1500.

  Args:
    net: a generator of this package (`nets.generators.Generator`).
    params: parameters of `net`.
    image: float32 [height, width, channels] in [-1, 1].
    tile: side of a tile in pixels of the image, a multiple of 16.
    scratch: existing folder for large activations, which are written to
      unnamed temporary files that disappear when the process ends. None keeps
      all activations in memory.
    progress: function that is called with the fraction done, up to 1.

  Returns:
    The translation: float32 [height, width, out_channels] in [-1, 1].

  Raises:
    UserError: `tile`, `scratch` or the number of channels of `image` is
      invalid, `net` is not a generator, or `net` has a layer or option that is
      not supported in tiles.
  """
  if not isinstance(net, Generator):
    raise UserError(
      f'--tile does not support {type(net).__name__}: give a generator'
    )
  if tile < 16 or tile % 16:
    raise UserError(f'tile={tile}: must be a multiple of 16')
  if scratch is not None and not pathlib.Path(scratch).is_dir():
    raise UserError(
      f'no folder {scratch} (scratch): create it, or give another folder'
    )
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
  """Returns roughly the peak memory in bytes of translating a whole image.

  The estimate is based on measurements on a CPU (docs/performance.md) and does
  not include the parameters.

  Args:
    net: a generator of this package.
    height: height of the image in pixels.
    width: width of the image in pixels.
  """
  pixels = math.prod(padded_size((height, width), net.multiple))
  first = pixels * net.width * np.dtype(net.dtype).itemsize
  return int(first * net.peak)
