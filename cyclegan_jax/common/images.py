"""Functions for images in [-1, 1]: pixels, padding, crops, grids of images.

Functions of an `Array` take NumPy arrays and JAX arrays, and return the same
kind.
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

HALF_RANGE = 127.5  # half of 255: pixel / HALF_RANGE - 1 is in [-1, 1]
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow converts RGB to gray
_GAP = 2  # pixels between the images of a grid
_LETTERS = 14  # smallest font size of the titles in a grid, in pixels


def from_pixels(
  pixels: Num[Array, '*shape'],
  out: Float32[np.ndarray, '*shape'] | None = None,
) -> Float32[Array, '*shape']:
  """Converts pixels in [0, 255] to an image in [-1, 1].

  Args:
    pixels: an array of any shape, of integers or floats.
    out: a NumPy array that the result is written to, which saves a copy; None
      for a new array. Only for NumPy pixels.

  Returns:
    The image as float32, of the shape of `pixels`; `out` if given.
  """
  if out is None:
    return pixels.astype('float32') / HALF_RANGE - 1
  np.divide(pixels, HALF_RANGE, out=out, dtype=np.float32)
  out -= 1
  return out  # type: ignore[return-value]


def to_levels(
  image: Float[Array, '*shape'], top: float = 255
) -> Float[Array, '*shape']:
  """Scales an image from [-1, 1] to [0, top], without rounding or clipping.

  Args:
    image: a float array of any shape.
    top: the value that 1 becomes.
  """
  return (image + 1) * (top / 2)


def to_pixels(
  image: Float[Array, '*shape'], dtype: type[np.unsignedinteger] = np.uint8
) -> UInt[Array, '*shape']:
  """Converts an image in [-1, 1] to integer pixels, rounded and clipped.

  Args:
    image: a float array of any shape.
    dtype: type of the pixels, np.uint8 or np.uint16.

  Returns:
    The pixels, from 0 to the largest value of `dtype`, of the shape of `image`.
  """
  top = np.iinfo(dtype).max
  return to_levels(image, top).round().clip(0, top).astype(dtype)


def shown(
  image: Float[Array, '*shape channels'],
  channels: Sequence[int] | None = None,
) -> Float[np.ndarray, '*shape 3']:
  """Returns an image's three channels to show on a screen or to an RGB network.

  Args:
    image: [..., c] in [-1, 1], with any number of channels c.
    channels: numbers of the channels to show, counted from 1: three for red,
      green and blue, or one for gray. With None, a single channel is shown as
      gray, two channels as red and green with blue at -1, and of three or more
      channels the first three.

  Returns:
    [..., 3] in [-1, 1]. May be a view of `image`, or `image` itself.
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
  """Parses an option such as data.show_a='3,2,1' to the channels for `shown`.

  Args:
    text: 'auto', or one or three channel numbers, counted from 1 and separated
      by commas.
    channels: number of channels of the images.
    option: name of the option, for messages.

  Returns:
    One or three channel numbers; None for 'auto'.

  Raises:
    UserError: `text` has another form, or there is no channel of that number.
  """
  if text == 'auto':
    return None
  try:
    chosen = tuple(int(number) for number in text.split(','))
  except ValueError:
    chosen = ()
  if len(chosen) not in (1, 3):
    raise UserError(
      f'{option}={text!r} must be auto, three channels such as 3,2,1 (shown as '
      'red, green and blue), or one channel (shown as gray)'
    )
  for channel in chosen:
    if not 1 <= channel <= channels:
      raise UserError(
        f'{option}={text!r}: there is no channel {channel}, channels are '
        f'numbered from 1 to {channels}'
      )
  return chosen


def shown_as(count: int, channels: Sequence[int] | None = None) -> str:
  """Returns a text such as 'channels 3, 2 and 1 as red, green and blue'.

  Args:
    count: number of channels of the images.
    channels: one or three numbers of the channels that are shown, counted from
      1; None for the channels that `shown` chooses, which are the first three
      or fewer.
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
  """Converts an image to RGB pixels, uint8 in [0, 255].

  Args:
    image: [height, width, channels] in [-1, 1], with any number of channels.
    channels: numbers of the channels to show as red, green and blue, counted
      from 1; None for the choice of `shown`: gray, or the first three.
  """
  return to_pixels(shown(image, channels))


def luminance(
  image: Float[Array, '*shape channels'],
) -> Float[Array, '*shape 1']:
  """Returns the luminance of an image, in the value range of the image.

  The luminance of three channels is that of ITU-R BT.601 for RGB. For any other
  number of channels, it is the mean of the channels.

  Args:
    image: [..., channels].
  """
  if image.shape[-1] != 3:
    return image.mean(axis=-1, keepdims=True)
  return (image @ np.asarray(_LUMA, image.dtype))[..., None]


def margins(size: Sequence[int], multiple: int) -> tuple[tuple[int, int], ...]:
  """Returns the pixels to add on each side to reach multiples of a number.

  Args:
    size: (height, width) of an image.
    multiple: the padded height and width are the next multiples of this number.

  Returns:
    ((above, below), (left, right)); the second may be larger by one.
  """
  extra = [-(-side // multiple) * multiple - side for side in size]
  return tuple((x // 2, x - x // 2) for x in extra)


def padded_size(size: Sequence[int], multiple: int) -> tuple[int, ...]:
  """Returns (height, width), each rounded up to a multiple of `multiple`."""
  return tuple(
    side + sum(pads) for side, pads in zip(size, margins(size, multiple))
  )


def pad_to_multiple(
  image: Shaped[np.ndarray, 'height width channels'], multiple: int
) -> Shaped[np.ndarray, 'padded_height padded_width channels']:
  """Pads a NumPy image by reflection to multiples of `multiple` in both sides.

  `margins` gives the width of the padding. `crop_to` removes the padding.

  Args:
    image: [height, width, channels] of any type.
    multiple: number that divides the height and width of the result.
  """
  pads = margins(image.shape[:2], multiple)
  return np.pad(image, [*pads, (0, 0)], 'reflect') if np.any(pads) else image


def crop_to(
  image: Shaped[Array, '*batch padded_height padded_width channels'],
  height: int,
  width: int,
) -> Shaped[Array, '*batch height width channels']:
  """Returns the central `height` x `width` pixels of images [..., h, w, c].

  This removes the padding that `pad_to_multiple` added.
  """
  top = (image.shape[-3] - height) // 2
  left = (image.shape[-2] - width) // 2
  return image[..., top : top + height, left : left + width, :]


def grid(
  rows: Iterable[Iterable[Float[Array, '_ _ _']]],
  titles: Sequence[str] = (),
  heading: str = '',
) -> UInt8[np.ndarray, 'height width 3']:
  """Returns a grid of images as uint8 RGB pixels, with white gaps between them.

  Images may differ in size and have any number of channels; `shown` chooses the
  channels. Images of at most 64 pixels are enlarged by repeating pixels.

  Args:
    rows: for each row, its images [h, w, c] in [-1, 1].
    titles: one title per column, drawn above the column in black on white. With
      titles, a column has the same width in all rows and is wide enough for its
      title.
    heading: a line of text above the titles; '' for none.
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
  """Returns the pixels of the heading and of the column titles below it."""
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
  """Encodes RGB pixels as a PNG file and returns the bytes of the file."""
  file = io.BytesIO()
  Image.fromarray(picture).save(file, 'PNG')
  return file.getvalue()
