"""One picture file to one array, with the official code's resizing.

Pillow reads and resizes, so sizes come out as the official code makes them.
"""

import warnings
from collections.abc import Callable

import numpy as np
from jaxtyping import Num
from PIL import Image, ImageOps

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import formats, raw
from cyclegan_jax.data.arrays.base import ArrayFormat
from cyclegan_jax.data.picture import (
  MAX_PIXELS,
  Picture,
  check_resized,
  check_size,
  unreadable,
)
from cyclegan_jax.data.raw import SPAN, Raw
from cyclegan_jax.data.values import Values

EXTENSIONS = formats.EXTENSIONS
_MODES = {1: 'L', 3: 'RGB'}
# Tags of a TIFF.
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _TILE = 258, 262, 339, (322, 323)
_WHITE_IS_ZERO = 0

warnings.simplefilter('error', Image.DecompressionBombWarning)


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
    check_size(picture, *image.size)
  except UserError:
    image.close()
    raise
  return image


def load(
  picture: Picture,
  values: Values | int,
  new_size: Callable[[int, int], tuple[int, int]] | None = None,
) -> Num[np.ndarray, 'height width channels']:
  """Reads, orients, converts and resizes a picture.

  Args:
    picture: a `Picture`.
    values: of its domain, or for the range of the file's type its channels.
    new_size: (width, height) -> (width, height) to resize to; None to keep
      the size.

  Returns:
    As `resized`.

  Raises:
    UserError: as `decoded` and `resized`.
  """
  image = decoded(picture, values)
  size = new_size(*image.size) if new_size else image.size
  return resized(picture, image, values, size)


def decoded(picture: Picture, values: Values | int) -> Image.Image | Raw:
  """Reads, orients and converts a picture, at the size it has.

  Of the pictures that Pillow reads palettes are looked up, transparency is
  composited over white, CMYK becomes RGB, EXIF orientation is applied, of an
  animation the first frame is taken. Gray of 12 or 16 bits keeps them.

  Args:
    picture: a `Picture`.
    values: of its domain, or for the range of the file's type its channels.

  Returns:
    A `PIL.Image.Image` of mode L, RGB, or F in [0, 255] for deep gray; of a
    file of 16 bits a band it has a number in [0, 1] in `info[SPAN]`. A `Raw`
    for files of arrays and domains that are not `Values.plain`.

  Raises:
    UserError: the file can't be read, or holds what can't be converted.
  """
  values = as_values(values)
  where = open_by(picture, values)
  if isinstance(where, ArrayFormat):
    found = raw.read(picture, where, values)
    return raw.in_range(picture, found, values)
  with where as image:
    try:
      if not values.plain:
        found = raw.of_pillow(picture, image, values)
        return raw.in_range(picture, found, values)
      return _plain(picture, image, values.channels)
    except UserError:
      raise
    except Exception as e:  # Pillow raises all kinds
      raise unreadable(picture, e) from e


def as_values(values: Values | int) -> Values:
  """`Values` of so many channels, of the range of each file's type."""
  return Values(values) if isinstance(values, int) else values


def open_by(
  picture: Picture, values: Values | int | None = None
) -> Image.Image | ArrayFormat:
  """The file opened by Pillow, or the format of arrays that reads it.

  Args:
    picture: a `Picture`.
    values: of its domain; None for what has no domain.

  Raises:
    UserError: as `opened`.
  """
  form = raw.form_of(picture, as_values(3 if values is None else values))
  if form:
    return form
  try:
    image = opened(picture)
  except UserError:
    # There are many TIFFs that Pillow does not know.
    if raw.is_tiff(picture) and (form := raw.instead(picture, 'TIFF')):
      return form
    raise
  try:
    form = raw.instead(picture, str(image.format)) if _in_part(image) else None
  except UserError:
    image.close()
    raise
  except Exception as e:  # Pillow raises all kinds
    image.close()
    raise unreadable(picture, e) from e
  if form:
    image.close()
  return form or image


def _in_part(image):
  """Returns True for a file whose values Pillow would not give as they are."""
  tags = getattr(image, 'tag_v2', None)
  if tags is None:
    if image.format != 'PNG' or not is_shallow(image):
      return False
    # Transparency is composited over white, which Pillow does with 8 bits.
    return not image.has_transparency_data
  bits, kinds = tags.get(_BITS, (1,)), tags.get(_SAMPLE_FORMAT, (1,))
  return set(kinds) != {1} or max(bits) > (16 if len(bits) == 1 else 8)


def is_shallow(image: Image.Image) -> bool:
  """Returns True if Pillow gives 8 of the 16 bits per colour of a file."""
  return _is_deep(image) and Image.getmodebase(image.mode) == 'RGB'


def _plain(picture, image, channels):
  """Gray or RGB by Pillow, as `decoded` says."""
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


def resized(
  picture: Picture,
  image: Image.Image | Raw,
  values: Values | int,
  size: tuple[int, int],
) -> Num[np.ndarray, 'height width channels']:
  """Resizes what `decoded` gave, bicubic and antialiased.

  Args:
    picture: the `Picture`, for errors.
    image: what `decoded` gave.
    values: as for `decoded`.
    size: (width, height).

  Returns:
    [height, width, channels] in [0, 255]: uint8, or float32 where the file
    has 16 bits or is a `Raw`.

  Raises:
    UserError: the size is too large.
  """
  check_resized(picture, *size)
  if isinstance(image, Raw):
    return raw.resized(image, as_values(values), size)
  if size != image.size:
    image = image.resize(size, Image.Resampling.BICUBIC)
  array = np.asarray(image)
  if array.dtype != np.uint8:
    array = np.clip(array, 0, 255)
  if array.ndim == 2:
    array = np.repeat(array[..., None], as_values(values).channels, axis=-1)
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
  return raw.over_white(image).convert(_MODES[channels])
