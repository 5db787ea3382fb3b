"""One picture file to one array, with the official code's resizing.

Pillow reads and resizes, so sizes come out as the official code makes them.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Num
from PIL import Image, ImageOps

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import formats

EXTENSIONS = formats.EXTENSIONS
MIN_SIDE = 8
# 89 million; Pillow itself stops at twice.
MAX_PIXELS: int = Image.MAX_IMAGE_PIXELS  # type: ignore[assignment]
_MODES = {1: 'L', 3: 'RGB'}
# Tags of a TIFF.
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _TILE = 258, 262, 339, (322, 323)
_WHITE_IS_ZERO = 0
# In the `info` of what `decoded` gives: the share of its range that a file of
# 16 bits makes use of.
SPAN = 'span'

warnings.simplefilter('error', Image.DecompressionBombWarning)


class Picture(NamedTuple):
  """A picture that has not been read yet.

  Attributes:
    name: what errors, samples and test tables call it.
    data: its file, or its encoded bytes.
    half: None for the whole picture; 0 or 1 for the left or right half of a
      side-by-side pair.
  """

  name: str
  data: files.Path | bytes
  half: int | None = None


def named(file: files.Path) -> Picture:
  """A picture called by its path, on one line whatever that holds."""
  name = str(file)
  return Picture(name if name.isprintable() else repr(name), file)


def opened(picture: Picture) -> Image.Image:
  """The file with its header read; the size it declares is checked.

  Raises:
    UserError: it is no picture, or of a size that won't do.
  """
  data = picture.data
  if not isinstance(data, bytes) and files.remote(data):
    data = data.read_bytes()  # a bucket that fails is no fault of the picture
  try:
    image = formats.opened(data)
  except formats.NeedsPackageError as e:
    raise UserError(f'{picture.name}: {e}, or remove it') from e
  except Exception as e:  # Pillow raises all kinds
    raise unreadable(picture, e) from e
  try:
    _check_size(picture, *image.size)
  except UserError:
    image.close()
    raise
  return image


def _check_size(picture, width, height):
  if width * height > MAX_PIXELS:
    raise UserError(
      f'{picture.name}: {width}x{height} is too large, pictures may have '
      f'{MAX_PIXELS:,} pixels: remove it or make it smaller'
    )
  if picture.half is not None:
    width //= 2
  if min(width, height) < MIN_SIDE:
    raise UserError(
      f'{picture.name}: {width}x{height} is too small, pictures need at '
      f'least {MIN_SIDE}x{MIN_SIDE} pixels: remove it'
    )


def check_resized(picture: Picture, width: int, height: int) -> None:
  """Raises `UserError` for a size that is too large to resize a picture to."""
  if width * height > MAX_PIXELS:
    raise UserError(
      f'{picture.name}: it would be resized to {width}x{height}, more than '
      f'{MAX_PIXELS:,} pixels: remove it or cut it'
    )


def unreadable(picture: Picture, error: Exception) -> UserError:
  """The error for a picture that Pillow refused."""
  reason = 'no image format known here'
  if not isinstance(error, Image.UnidentifiedImageError):
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
  return UserError(
    f'{picture.name}: cannot be read as a picture ({reason}): '
    'remove it or save it anew'
  )


def load(
  picture: Picture,
  channels: int,
  new_size: Callable[[int, int], tuple[int, int]] | None = None,
) -> Num[np.ndarray, 'height width channels']:
  """Reads, orients, converts and resizes a picture.

  Args:
    picture: a `Picture`.
    channels: 1 (gray) or 3 (RGB).
    new_size: (width, height) -> (width, height) to resize to; None to keep
      the size.

  Returns:
    As `resized`.

  Raises:
    UserError: as `decoded` and `resized`.
  """
  image = decoded(picture, channels)
  size = new_size(*image.size) if new_size else image.size
  return resized(picture, image, channels, size)


def decoded(picture: Picture, channels: int) -> Image.Image:
  """Reads, orients and converts a picture, at the size it has.

  Palettes are looked up, transparency is composited over white, CMYK becomes
  RGB, EXIF orientation is applied, of an animation the first frame is taken.
  Gray of 12 or 16 bits keeps them; of colours with 16 bits Pillow gives 8.

  Args:
    picture: a `Picture`.
    channels: 1 (gray) or 3 (RGB).

  Returns:
    A `PIL.Image.Image` of mode L, RGB, or F in [0, 255] for deep gray; of a
    file of 16 bits a band it has a number in [0, 1] in `info[SPAN]`.

  Raises:
    UserError: the file can't be read, or holds what can't be converted.
  """
  with opened(picture) as image:
    try:
      black, white = _range(image)
      deep = _is_deep(image)
      _mend_transparency(image)
      image = ImageOps.exif_transpose(image)
      if picture.half is not None:
        width, height = image.size
        left = picture.half * (width // 2)
        image = image.crop((left, 0, left + width // 2, height))
      image = _convert(image, channels, black, white)
      if deep:
        image.info[SPAN] = _span(image)
      return image
    except Exception as e:  # Pillow raises all kinds
      raise unreadable(picture, e) from e


def resized(
  picture: Picture, image: Image.Image, channels: int, size: tuple[int, int]
) -> Num[np.ndarray, 'height width channels']:
  """Resizes what `decoded` gave, bicubic and antialiased.

  Args:
    picture: the `Picture`, for errors.
    image: a `PIL.Image.Image`.
    channels: 1 (gray) or 3 (RGB).
    size: (width, height).

  Returns:
    [height, width, channels] in [0, 255]: uint8, or float32 where the file
    has 16 bits.

  Raises:
    UserError: the size is too large.
  """
  check_resized(picture, *size)
  if size != image.size:
    image = image.resize(size, Image.Resampling.BICUBIC)
  array = np.asarray(image)
  if array.dtype != np.uint8:
    array = np.clip(array, 0, 255)
  if array.ndim == 2:
    array = np.repeat(array[..., None], channels, axis=-1)
  return array


def _range(image):
  """The integers that stand for black and white in a file of deep gray.

  Raises:
    ValueError: it is a TIFF that Pillow would misread, or whose tiles are
      larger than a picture may be.
  """
  tags = getattr(image, 'tag_v2', None)
  if tags is None:
    if image.mode == 'F':  # a PFM
      raise ValueError('floating point pixels: it needs 8 or 16 bits')
    return 0, 65535
  if np.prod([tags.get(side, 0) for side in _TILE], dtype=float) > MAX_PIXELS:
    raise ValueError('its tiles are too large')
  if set(tags.get(_SAMPLE_FORMAT, (1,))) != {1}:
    raise ValueError('signed or floating point pixels: it needs 8 or 16 bits')
  bits = tags.get(_BITS, (1,))[0]
  if bits > 16:
    raise ValueError('integers beyond 16 bits')
  # Pillow takes a missing photometric tag for white-is-zero too.
  inverted = tags.get(_PHOTOMETRIC, _WHITE_IS_ZERO) == _WHITE_IS_ZERO
  return (2**bits - 1, 0) if inverted else (0, 2**bits - 1)


def _is_deep(image):
  """Returns True if a band has 16 bits; Pillow may have given 8 of them."""
  args = image.tile[0].args if image.tile else ''
  if image.format == 'PPM' and isinstance(args, tuple):
    return args[-1] > 255
  return image.mode.startswith('I') or ';16' in str(args)


def _span(image):
  """The share of its range that an image of mode L, RGB or F makes use of."""
  extrema = np.array(image.getextrema()).reshape(-1, 2)
  return (extrema[:, 1].max() - extrema[:, 0].min()) / 255


def _mend_transparency(image):
  """Makes a PNG's transparent colour one of the pixels Pillow will give.

  Raises:
    ValueError: the pixels lose the bits that tell it.
  """
  clear = image.info.get('transparency')
  if image.format != 'PNG' or clear is None:
    return
  stored = image.tile[0][3]
  if stored == 'RGB;16B':
    raise ValueError('a transparent colour of 16 bits: use an alpha channel')
  image.info['transparency'] = clear * {'L;2': 85, 'L;4': 17}.get(stored, 1)


def _convert(image, channels, black, white):
  """To mode L, RGB, or F in [0, 255] for deep gray."""
  if image.mode.startswith('I'):
    array = np.asarray(image).astype(np.float32)
    clear = array == image.info.get('transparency', -1)
    array = (array - black) / ((white - black) / 255)
    array[clear] = 255
    return Image.fromarray(array)
  if image.has_transparency_data:
    image = image.convert('RGBA')
    paper = Image.new('RGBA', image.size, 'white')
    image = Image.alpha_composite(paper, image)
  return image.convert(_MODES[channels])
