"""Images in [-1, 1]: to and from pixels, padded, cropped, shown in a grid.

What is said of arrays holds for NumPy's and for JAX's.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float, Float32, Num, Shaped, UInt, UInt8
from PIL import Image, ImageDraw, ImageFont

from cyclegan_jax.common.errors import UserError

if TYPE_CHECKING:
  import jax

Array = TypeVar('Array', np.ndarray, 'jax.Array')

HALF_RANGE = 127.5  # of 8 bits: pixel / HALF_RANGE - 1 is in [-1, 1]
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow turns colours to gray
_GAP = 2
_LETTERS = 14  # pixels: size of the titles in a grid, at least


def from_pixels(
  pixels: Num[Array, '*shape'],
  out: Float32[np.ndarray, '*shape'] | None = None,
) -> Float32[Array, '*shape']:
  """Pixels in [0, 255] as an image in [-1, 1].

  Args:
    pixels: an array of any shape, of integers or floats.
    out: a float32 array of NumPy to write to, for speed.

  Returns:
    float32, of the shape of `pixels`.
  """
  if out is None:
    return pixels.astype('float32') / HALF_RANGE - 1
  np.divide(pixels, HALF_RANGE, out=out, dtype=np.float32)
  out -= 1
  return out  # type: ignore[return-value]


def to_levels(
  image: Float[Array, '*shape'], top: float = 255
) -> Float[Array, '*shape']:
  """An image in [-1, 1] on the scale from 0 to `top`, not rounded."""
  return (image + 1) * (top / 2)


def to_pixels(
  image: Float[Array, '*shape'], dtype: type[np.unsignedinteger] = np.uint8
) -> UInt[Array, '*shape']:
  """An image in [-1, 1] as integers from 0 to the largest of their type.

  Args:
    image: a float array of any shape.
    dtype: np.uint8 or np.uint16.

  Returns:
    An array of that type and of the shape of `image`.
  """
  top = np.iinfo(dtype).max
  return to_levels(image, top).round().clip(0, top).astype(dtype)


def shown(
  image: Float[Array, '*shape channels'],
  channels: Sequence[int] | None = None,
) -> Float[np.ndarray, '*shape 3']:
  """The three channels of an image that screens and RGB networks are given.

  Args:
    image: [..., c] in [-1, 1], c any number from 1.
    channels: numbers of the channels to show, from 1: three as red, green and
      blue, or one as gray. None shows one channel as gray, two as red and green
      with a blue of -1, and of more the first three.

  Returns:
    [..., 3] in [-1, 1]; the image itself if nothing is to be changed.
  """
  array: np.ndarray = np.asarray(image)
  if channels:
    array = array[..., [channel - 1 for channel in channels]]
  elif array.shape[-1] == 2:
    blue = np.full_like(array[..., :1], -1)
    return np.concatenate([array, blue], axis=-1)
  elif array.shape[-1] > 3:
    return array[..., :3]
  if array.shape[-1] == 3:
    return array
  return np.broadcast_to(array, (*array.shape[:-1], 3))


def show_channels(
  text: str, channels: int, option: str
) -> tuple[int, ...] | None:
  """The channels that a text such as '3,2,1' chooses, for `shown`.

  Args:
    text: 'auto', or one or three numbers of channels, from 1, with commas.
    channels: number of channels of the images.
    option: name of the option, for messages.

  Returns:
    One or three numbers; None for 'auto'.

  Raises:
    UserError: it is no such text, or there is no such channel.
  """
  if text == 'auto':
    return None
  try:
    chosen = tuple(int(number) for number in text.split(','))
  except ValueError:
    chosen = ()
  if len(chosen) not in (1, 3):
    raise UserError(
      f'{option}={text!r} must be auto, three channels such as 3,2,1 (to show '
      'as red, green and blue), or one (as gray)'
    )
  for channel in chosen:
    if not 1 <= channel <= channels:
      raise UserError(
        f'{option}={text!r}: there is no channel {channel}, channels go from 1 '
        f'to {channels}'
      )
  return chosen


def shown_as(count: int, channels: Sequence[int] | None = None) -> str:
  """A text such as 'channels 3, 2 and 1 as red, green and blue'.

  Args:
    count: number of channels of the images.
    channels: as for `shown`.
  """
  chosen = tuple(channels or range(1, min(count, 3) + 1))
  if len(chosen) == 1:
    return f'channel {chosen[0]} as gray'
  if len(chosen) == 2:
    return 'channels 1 and 2 as red and green'
  return 'channels {}, {} and {} as red, green and blue'.format(*chosen)


def to_rgb(
  image: Float[Array, 'height width channels'],
  channels: Sequence[int] | None = None,
) -> UInt8[np.ndarray, 'height width 3']:
  """The `shown` channels of an image [h, w, c] in [-1, 1], uint8 [h, w, 3]."""
  return to_pixels(shown(image, channels))


def luminance(
  image: Float[Array, '*shape channels'],
) -> Float[Array, '*shape 1']:
  """The luminance [..., 1] of an RGB image [..., 3], in the same range.

  Of another number of channels it is their mean.
  """
  if image.shape[-1] != 3:
    return image.mean(axis=-1, keepdims=True)
  return (image @ np.asarray(_LUMA, image.dtype))[..., None]


def margins(size: Sequence[int], multiple: int) -> tuple[tuple[int, int], ...]:
  """Pixels to add for (height, width) to become multiples.

  Returns:
    ((above, below), (left, right)).
  """
  extra = [-(-side // multiple) * multiple - side for side in size]
  return tuple((x // 2, x - x // 2) for x in extra)


def padded_size(size: Sequence[int], multiple: int) -> tuple[int, ...]:
  """(height, width), each raised to the next multiple."""
  return tuple(
    side + sum(pads) for side, pads in zip(size, margins(size, multiple))
  )


def pad_to_multiple(
  image: Shaped[np.ndarray, 'height width channels'], multiple: int
) -> Shaped[np.ndarray, 'padded_height padded_width channels']:
  """Mirrors a NumPy image [h, w, c] up to multiples; `crop_to` undoes it."""
  pads = margins(image.shape[:2], multiple)
  return np.pad(image, [*pads, (0, 0)], 'reflect') if np.any(pads) else image


def crop_to(
  image: Shaped[Array, '*batch padded_height padded_width channels'],
  height: int,
  width: int,
) -> Shaped[Array, '*batch height width channels']:
  """The middle of [..., h, w, c], where `pad_to_multiple` put it."""
  top = (image.shape[-3] - height) // 2
  left = (image.shape[-2] - width) // 2
  return image[..., top : top + height, left : left + width, :]


def grid(
  rows: Iterable[Iterable[Float[Array, '_ _ _']]],
  titles: Sequence[str] = (),
  heading: str = '',
) -> UInt8[np.ndarray, 'height width 3']:
  """Rows of images of any sizes -> one uint8 picture, white between them.

  Images have any number of channels, of which `shown` chooses. Those of 64
  pixels and less are shown larger, pixel by pixel.

  Args:
    rows: images [h, w, c] in [-1, 1].
    titles: one for each column, drawn above it in black on white; columns are
      then equally wide in all rows, and wide enough for their titles.
    heading: a line above the titles.
  """
  cells = [[_zoom(to_rgb(image)) for image in row] for row in rows]
  narrowest = min(cell.shape[1] for row in cells for cell in row)
  font = ImageFont.load_default(max(_LETTERS, narrowest // 16))
  widths = [
    max(math.ceil(length) + 4 * _GAP, *(row[i].shape[1] for row in cells))
    for i, length in enumerate(map(font.getlength, titles))
  ]
  lines = []
  for row in cells:
    height = max(cell.shape[0] for cell in row) + _GAP
    sides = widths or [cell.shape[1] for cell in row]
    lines.append(
      np.concatenate(
        [_pad(x, height, side + _GAP) for x, side in zip(row, sides)], axis=1
      )
    )
  if titles or heading:
    lines.insert(0, _header(titles, widths, heading, font))
  width = max(line.shape[1] for line in lines)
  picture = np.concatenate([_pad(x, x.shape[0], width) for x in lines])
  return picture[:-_GAP, :-_GAP]


def _header(titles, widths, heading, font):
  """The heading, and below it each title at the left of its column."""
  line = sum(font.getmetrics()) + 2 * _GAP
  length = math.ceil(font.getlength(heading)) + _GAP
  width = max(length, sum(widths) + _GAP * len(widths))
  height = line * (bool(heading) + bool(titles))
  image = Image.new('RGB', (width, height), 'white')
  draw = ImageDraw.Draw(image)
  draw.text((0, _GAP), heading, 'black', font)
  left, top = 0, _GAP + line * bool(heading)
  for title, width in zip(titles, widths):
    draw.text((left, top), title, 'black', font)
    left += width + _GAP
  return np.asarray(image)


def _zoom(picture, at_least=128):
  times = max(1, at_least // max(picture.shape[:2]))
  return picture.repeat(times, axis=0).repeat(times, axis=1)


def _pad(picture, height, width):
  white = np.full((height, width, 3), 255, np.uint8)
  white[: picture.shape[0], : picture.shape[1]] = picture
  return white


def png(picture: UInt8[np.ndarray, 'height width 3']) -> bytes:
  """A uint8 [h, w, 3] picture as the bytes of a PNG file."""
  file = io.BytesIO()
  Image.fromarray(picture).save(file, 'PNG')
  return file.getvalue()
