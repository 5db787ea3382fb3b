"""One picture file to one array, with the official code's resizing.

Pillow reads and resizes, so sizes come out as the official code makes them.
"""

import io
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from cyclegan_jax.errors import UserError

MIN_SIDE = 8
EXTENSIONS = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff')
_MODES = {1: 'L', 3: 'RGB'}
_UNREADABLE = (
  OSError,
  ValueError,
  SyntaxError,  # Pillow's for some broken PNGs
  Image.DecompressionBombError,
)


class Picture(NamedTuple):
  """A picture that has not been read yet.

  Attributes:
    name: what errors, samples and test tables call it.
    data: its file, or its encoded bytes.
    half: None for the whole picture; 0 or 1 for the left or right half of a
      side-by-side pair.
  """

  name: str
  data: pathlib.Path | bytes
  half: int | None = None


def _open(picture):
  data = picture.data
  try:
    return Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
  except _UNREADABLE as e:
    raise _unreadable(picture, e) from e


def check_header(picture):
  """Raises `UserError` if the header alone shows that it won't do."""
  with _open(picture) as image:
    _check_size(picture, *image.size)


def _check_size(picture, width, height):
  if picture.half is not None:
    width //= 2
  if min(width, height) < MIN_SIDE:
    raise UserError(
      f'{picture.name}: {width}x{height} is too small, pictures need at '
      f'least {MIN_SIDE}x{MIN_SIDE} pixels: remove it'
    )


def _unreadable(picture, error):
  reason = 'no image format known here'
  if not isinstance(error, Image.UnidentifiedImageError):
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
  return UserError(
    f'{picture.name}: cannot be read as a picture ({reason}): '
    'remove it or save it anew'
  )


def load(picture, channels, new_size):
  """Reads, orients, converts and resizes a picture.

  Palettes are looked up, transparency is composited over white, CMYK becomes
  RGB, EXIF orientation is applied, of an animation the first frame is taken.

  Args:
    picture: a `Picture`.
    channels: 1 (gray) or 3 (RGB).
    new_size: (width, height) -> (width, height) to resize to, bicubic and
      antialiased.

  Returns:
    [height, width, channels] in [0, 255]: uint8, or float32 where the file
    has 16 bits.

  Raises:
    UserError: the file can't be read, or holds what can't be converted.
  """
  with _open(picture) as image:
    _check_size(picture, *image.size)
    try:
      image = ImageOps.exif_transpose(image)
      if picture.half is not None:
        width, height = image.size
        left = picture.half * (width // 2)
        image = image.crop((left, 0, left + width // 2, height))
      image = _convert(image, channels)
      size = new_size(*image.size)
      if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    except _UNREADABLE as e:
      raise _unreadable(picture, e) from e
  array = np.asarray(image)
  if array.dtype != np.uint8:
    array = np.clip(array, 0, 255)
  if array.ndim == 2:
    array = np.repeat(array[..., None], channels, axis=-1)
  return array


def _convert(image, channels):
  """To mode L, RGB, or F in [0, 255] for 16-bit gray."""
  if image.mode.startswith('I'):
    array = np.asarray(image).astype(np.float32)
    if array.min() < 0 or array.max() > 65535:
      raise ValueError('integers beyond 16 bits')
    return Image.fromarray(array / 257)
  if image.mode == 'F':
    raise ValueError('floating point pixels: save it with 8 or 16 bits')
  if image.has_transparency_data:
    image = image.convert('RGBA')
    white = Image.new('RGBA', image.size, 'white')
    image = Image.alpha_composite(white, image)
  return image.convert(_MODES[channels])
