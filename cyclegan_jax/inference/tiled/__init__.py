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
from cyclegan_jax.inference.tiled.walk import Walk
from cyclegan_jax.nets.generators import ResnetGenerator, UnetGenerator


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
    UserError: a generator, tile, picture or folder that can't be.
  """
  walk_network, _ = _form(net)
  if tile < 16 or tile % 16:
    raise UserError(f'tile={tile} must be a multiple of 16')
  if scratch is not None and not pathlib.Path(scratch).is_dir():
    raise UserError(f'no folder {scratch} (scratch): make it or name another')
  height, width = image.shape[:2]
  image = pad_to_multiple(image, net.multiple)
  params = jax.tree.map(jnp.asarray, params)
  walk = Walk(net, params, image.shape[0], tile, scratch, progress)
  (last,) = walk_network(net, params, walk, (Part(Stored(image)),))
  output = np.tanh(np.asarray(last.source.array, np.float32))
  return crop_to(output, height, width)


def whole_bytes(net, height, width):
  """About the most memory that translating a whole picture takes at a time.

  Measured on a CPU, parameters not included (docs/performance.md).

  Args:
    net: a generator of this package.
    height, width: of the picture.

  Raises:
    UserError: another generator.
  """
  _, activations = _form(net)
  pixels = math.prod(padded_size((height, width), net.multiple))
  first = pixels * net.width * np.dtype(net.dtype).itemsize
  return int(first * activations[net.upsampling])


def _resnet(net, params, walk, x):
  """`ResnetGenerator`; activations of full resolution are not stored."""
  x = walk.conv(x, params, 'first', 'mirrored', keep=False)
  for i in (1, 2):
    x = walk.conv(_then('relu', x), params, f'down_{i}', 'halving')
  x = _then('relu', x)
  for i in range(net.depth):
    x = _residual_block(params[f'block_{i}'], walk, x)
  for i in (1, 2):
    x = walk.conv(x, params, f'up_{i}', net.upsampling, keep=i == 1)
    x = _then('relu', x)
  return walk.conv(x, params, 'last', 'mirrored', norm=None)


def _residual_block(params, walk, x):
  y = walk.conv(x, params, 'conv_1', 'mirrored', norm='norm_1')
  y = _then('relu', y)
  return walk.add(x, walk.conv(y, params, 'conv_2', 'mirrored', norm='norm_2'))


def _unet(net, params, walk, x):
  """`UnetGenerator`."""
  levels = range(1, net.depth)
  x = walk.conv(x, params, 'down_0', 'halving', norm=None)
  skips = []
  for i in levels:
    skips.append(x)
    x = _then('leaky_relu', x)
    norm = f'down_{i}_norm' if i < net.depth - 1 else None
    x = walk.conv(x, params, f'down_{i}', 'halving', norm=norm)
  for i in reversed(levels):
    x = walk.conv(_then('relu', x), params, f'up_{i}', net.upsampling)
    x = skips.pop() + x
  return walk.conv(_then('relu', x), params, 'up_0', net.upsampling, norm=None)


def _then(activation, parts):
  return tuple(part._replace(activation=activation) for part in parts)


# class -> (its layers, {upsampling: how many activations of full resolution
# and its width whole pictures take}).
_FORMS = {
  ResnetGenerator: (_resnet, {'transpose': 6, 'resize': 5}),
  UnetGenerator: (_unet, {'transpose': 2, 'resize': 5}),
}


def _form(net):
  if type(net) not in _FORMS:
    names = ', '.join(sorted(known.__name__ for known in _FORMS))
    raise UserError(
      f'{type(net).__name__} has no form in tiles: or use {names}'
    )
  return _FORMS[type(net)]
