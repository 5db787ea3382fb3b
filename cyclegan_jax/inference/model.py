"""A trained model, to translate pictures with: `cyclegan_jax.load_model`."""

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
  """Networks with their weights.

  Attributes:
    config: the resolved config, a locked ConfigDict.
    method: the `Method` it asks for.
    params: {'gen': {'a2b', 'b2a'}, 'disc': {'a', 'b'}}, what there is of them.
    step: the step of training it is from; None for imported weights.
    name: the path or address that it was read from, an address on the Hugging
      Face Hub with the hash of its commit; '' for a model made otherwise.
    directions: what it can translate, of 'a2b' and 'b2a'.
    channels: {'a': int, 'b': int}, such as 1 (gray) or 3 (RGB).
    values: {'a', 'b'}: `data.values.Values`, the range of a domain's pictures.
    show: {'a', 'b'}: the channels to show, as `images.shown` takes them.
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
    """The number that heights and widths are padded to multiples of."""
    networks = self.method.generators.values()
    return max((net.multiple for net in networks), default=1)

  def _translatable(self):
    networks = self.method.generators
    return self.params['gen'] if networks else self.method.directions

  def network(self, direction: str) -> tuple[Net, Params]:
    """The generator of a direction, a Flax module, and its parameters.

    Raises:
      UserError: there is none.
    """
    self.check(direction)
    networks = self.method.generators
    if direction not in networks:
      raise UserError(
        f'method={self.config.method!r} translates by more than one network'
      )
    return networks[direction], self.params['gen'][direction]

  def check(self, direction: str) -> None:
    """Raises `UserError` for a direction the model can't translate."""
    if direction not in self.directions:
      raise UserError(
        f'this model has no direction {direction!r}: it translates '
        f'{" and ".join(self.directions) or "nothing"}'
      )

  @property
  def joins(self) -> bool:
    """Returns True if the pictures of a batch do not change each other."""
    return self.config.generator.norm != 'batch'

  def checksum(self) -> int:
    """CRC-32 of the generators, which tells one model from another."""
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
    """Translates pictures of any size.

    Compiles once for each size, raised to multiples of what the network takes
    (4 for the ResNet).

    Args:
      images: [height, width, channels] or [batch, height, width, channels];
        uint8, or float of any precision in [-1, 1]. A resized picture may
        exceed that a little. `translate_values` takes values of the range of
        the domain.
      direction: 'a2b' or 'b2a'.
      tile: whether to go tile by tile, which takes little memory, gives the
        same to 1e-3 and compiles nothing for another size.
      progress: with `tile` called with the fraction done of each picture.

    Returns:
      An array of the same height, width and kind (uint8, or float32 in
      [-1, 1]) with the other domain's channels.

    Raises:
      UserError: another direction than the model's, or an array that is no
        such picture: floats in [0, 255], NaN, integers other than uint8; uint8
        of a model whose pictures have a range other than 0 to 255.
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
    """Translates values as they are in the files that a model is trained on.

    Args:
      array: [height, width, channels] or [batch, height, width, channels], of
        any type, in the range of the domain (data.range_a, data.range_b; auto
        is the range of the integer type). Values outside are clipped, and NaN
        becomes the lowest.
      direction: 'a2b' or 'b2a'.
      tile: as for `translate`.

    Returns:
      An array of the same height and width with the other domain's channels, in
      the range of that domain. It has the type of the domain's training
      pictures if the model knows it; otherwise float32 where the domain has a
      range of its own, and else the integer type of `array`, or uint8.

    Raises:
      UserError: another direction than the model's, an array of another shape,
        or floats of a domain without a range.
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
    """Translates pictures that have the same size once they are padded.

    Whole pictures are padded here alone: the network is given multiples of
    what it takes.

    Args:
      images: a sequence of float32 [height, width, channels] in [-1, 1].
      direction: 'a2b' or 'b2a', which the model has.
      count: number to translate at a time at least: fewer are filled up, so
        that nothing is compiled for them.

    Returns:
      A list of float32 [height, width, channels of the other domain].
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
