"""Trained model that translates images; made by `cyclegan_jax.load_model`."""

import tempfile
import zlib
from collections.abc import Callable, Sequence

import jax
import ml_collections
import numpy as np
from jaxtyping import Float, Float32, Num, UInt8

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.images import (
  crop_to,
  from_pixels,
  pad_to_multiple,
  show_channels,
  to_pixels,
)
from cyclegan_jax.common.types import Image, Images, Params
from cyclegan_jax.config.method import build_method
from cyclegan_jax.data.values import parse
from cyclegan_jax.inference import arrays, tiled
from cyclegan_jax.nets.layers import Net


class Model:
  """A method's networks with their trained weights.

  `translate` translates images in [-1, 1] or uint8, and `translate_values`
  arrays in the range of the training files.

  Attributes:
    config: the resolved config, a locked ConfigDict.
    method: the `Method` that `config` names.
    params: {'gen': {'a2b': params, 'b2a': params}, 'disc': {'a': params, 'b':
      params}}; networks that the model lacks are left out.
    step: the training step of the weights (for official files the epoch); None
      if unknown.
    name: the path or address that the model was read from. An address on the
      Hugging Face Hub contains the hash of its commit. '' for a model that was
      not read by `saved.load`.
    directions: tuple of the directions that the model can translate: 'a2b',
      'b2a' or both.
    channels: {'a': int, 'b': int}, the number of channels of each domain, such
      as 1 (gray) or 3 (RGB).
    values: {'a': `Values`, 'b': `Values`}, the range of each domain's pictures
      (`data.values.Values`).
    show: {'a': channels, 'b': channels}, the channels to show of each domain,
      one or three numbers counted from 1, or None for the choice of
      `images.shown`.
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    params: Params,
    step: int | None = None,
    name: str = '',
  ) -> None:
    self.config = config
    self.method = build_method(config)
    self.params = {'gen': {}, 'disc': {}} | params
    self.step = step
    self.name = name
    self.directions = tuple(
      d for d in self.method.directions if d in self._translatable()
    )
    data = config.data
    self.channels = {'a': data.channels_a, 'b': data.channels_b}
    self.values = {
      d: parse(data[f'range_{d}'], count, f'data.range_{d}')
      for d, count in self.channels.items()
    }
    self.show = {
      d: show_channels(data[f'show_{d}'], count, f'data.show_{d}')
      for d, count in self.channels.items()
    }
    self._translate = jax.jit(self.method.translate, static_argnums=2)

  @property
  def multiple(self) -> int:
    """Number that padded heights and widths are multiples of."""
    networks = self.method.generators.values()
    return max((net.multiple for net in networks), default=1)

  def _translatable(self):
    networks = self.method.generators
    return self.params['gen'] if networks else self.method.directions

  def network(self, direction: str) -> tuple[Net, Params]:
    """Returns the generator of a direction and its parameters.

    Args:
      direction: 'a2b' or 'b2a'.

    Returns:
      (network, a Flax module; its parameters, nested dicts).

    Raises:
      UserError: the model does not translate in this direction, or its method
        translates by more than one network.
    """
    self.check(direction)
    networks = self.method.generators
    if direction not in networks:
      raise UserError(
        f'method={self.config.method!r} translates by more than one network, '
        'which tiles and exports do not support'
      )
    return networks[direction], self.params['gen'][direction]

  def check(self, direction: str) -> None:
    """Raises `UserError` if the model cannot translate in a direction.

    Args:
      direction: 'a2b' or 'b2a'.
    """
    if direction not in self.directions:
      raise UserError(
        f'this model has no direction {direction!r}: it translates '
        f'{" and ".join(self.directions) or "nothing"}'
      )

  @property
  def joins(self) -> bool:
    """True if the images of a batch are translated independently."""
    return self.config.generator.norm != 'batch'

  def checksum(self) -> int:
    """Returns the CRC-32 of the generators' weights, to identify a model."""
    crc = 0
    for leaf in jax.tree.leaves(self.params['gen']):
      crc = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), crc)
    return crc

  def translate(
    self,
    images: UInt8[np.ndarray, '*batch height width channels']
    | Float[np.ndarray, '*batch height width channels'],
    direction: str,
    tile: bool = False,
    progress: Callable[[float], object] = lambda fraction: None,
  ) -> (
    UInt8[np.ndarray, '*batch height width other_channels']
    | Float32[np.ndarray, '*batch height width other_channels']
  ):
    """Translates images of any size.

    Sizes are padded to multiples of a number that the network needs (4 for the
    ResNet), and one program is compiled per padded shape.

    Args:
      images: [height, width, channels] or [batch, height, width, channels];
        uint8, or floats of any precision in [-1, 1]. Floats may exceed this
        range a little, as after resizing. For values in the range of the
        domain use `translate_values`.
      direction: 'a2b' or 'b2a'.
      tile: if True, each image is processed in tiles. This takes little memory,
        changes the result by at most about 1e-3, and compiles no program for a
        new size.
      progress: function that is called with the fraction done of each image, if
        `tile` is True.

    Returns:
      An array of the shape of `images` but with the channels of the other
      domain: uint8 if `images` is uint8, otherwise float32 in [-1, 1].

    Raises:
      UserError: the model does not translate in this direction, or `images` has
        a wrong shape, NaN, floats outside [-1, 1] or integers other than uint8;
        or `images` is uint8 and the pictures of the model have a range other
        than 0 to 255.
    """
    self.check(direction)
    images = np.asarray(images)
    arrays.check_images(images, self.values[direction[0]])
    pixels = images.dtype == np.uint8
    for domain in direction.split('2') if pixels else ():
      arrays.check_bytes(
        self.values[domain], 'images of uint8: use translate_values()'
      )
    batch = images[None] if images.ndim == 3 else images
    batch = from_pixels(batch) if pixels else batch.astype(np.float32)
    if tile:
      fakes = self._by_tiles(batch, direction, progress)
    else:
      fakes = np.stack(self.translate_together(batch, direction))
    if pixels:
      fakes = to_pixels(fakes)
    return fakes[0] if images.ndim == 3 else fakes

  def translate_values(
    self,
    array: Num[np.ndarray, '*batch height width channels'],
    direction: str,
    tile: bool = False,
  ) -> Num[np.ndarray, '*batch height width other_channels']:
    """Translates values in the range of the training files.

    Args:
      array: [height, width, channels] or [batch, height, width, channels] of
        any real type, in the range of the input domain (data.range_a,
        data.range_b; `auto` is the range of the integer type). Values outside
        that range are clipped, and NaN becomes the lowest value.
      direction: 'a2b' or 'b2a'.
      tile: if True, each image is processed in tiles, which takes little
        memory.

    Returns:
      An array of the shape of `array` but with the channels of the other
      domain, in the range of that domain. Its type is the type of the other
      domain's training pictures, if the model has recorded that type. Otherwise
      its type is float32 if the other domain has a range of its own; if not,
      the integer type of `array`, or uint8 if `array` has floats.

    Raises:
      UserError: the model does not translate in this direction, `array` has a
        wrong shape or no real numbers, or `array` has floats and the input
        domain has no range of its own.
    """
    self.check(direction)
    array = np.asarray(array)
    here, there = (self.values[domain] for domain in direction.split('2'))
    arrays.check_values(array, here)
    images = from_pixels(here.levels(array, array.dtype))
    fakes = self.translate(images, direction, tile)
    return there.of_image(fakes, arrays.made_type(there, array.dtype))

  def translate_together(
    self, images: Images | Sequence[Image], direction: str, count: int = 0
  ) -> list[Image]:
    """Translates whole images of equal padded size in one batch.

    Each image is padded to multiples of `multiple`, and its translation is
    cropped to the size of the image.

    Args:
      images: sequence of float32 [height, width, channels] in [-1, 1].
      direction: 'a2b' or 'b2a'; the model must translate in this direction.
      count: smallest size of the batch. A smaller batch is filled with copies
        of its last image, so that no other batch size is compiled.

    Returns:
      A list of float32 [height, width, channels of the other domain] in
      [-1, 1], one per image.
    """
    padded = [pad_to_multiple(x, self.multiple) for x in images]
    padded += padded[-1:] * (count - len(padded))
    parts = [padded] if self.joins else [[x] for x in padded]
    fakes = np.concatenate(
      [self._translate(self.params, np.stack(x), direction) for x in parts]
    )
    return [crop_to(y, *x.shape[:2]) for x, y in zip(images, fakes)]

  def _by_tiles(self, batch, direction, progress):
    net, params = self.network(direction)
    with tempfile.TemporaryDirectory() as scratch:
      return np.stack(
        [
          tiled.apply(net, params, x, scratch=scratch, progress=progress)
          for x in batch
        ]
      )
