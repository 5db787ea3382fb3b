"""Decodes picture files to arrays and resizes them as the official code does.

Pillow decodes and resizes 8-bit pictures, as in the official code.
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
# TIFF tags.
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _TILE = 258, 262, 339, (322, 323)
_WHITE_IS_ZERO = 0

warnings.simplefilter('error', Image.DecompressionBombWarning)


def opened(picture: Picture) -> Image.Image:
  """Opens a picture with Pillow and returns the image; decodes no pixels.

  The size in the header is checked.

  Args:
    picture: the `Picture` to open.

  Raises:
    UserError: the file is not a picture that Pillow can read, needs a package
      that is not installed, or declares a size that is too small or too large.
  """
  data = picture.data
  if not isinstance(data, bytes) and files.remote(data):
    data = data.read_bytes()  # errors of a bucket are passed on
  try:
    image = formats.opened(data)
  except formats.NeedsPackageError as e:
    raise UserError(f'{picture.name}: {e}, or remove the picture') from e
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
  """Decodes a picture, turns it upright, converts its channels and resizes it.

  Args:
    picture: the `Picture` to read.
    values: `Values` of the picture's domain; or a number of channels, for the
      value range of the file's type.
    new_size: function from the (width, height) of the picture to the size to
      resize to; None keeps the size.

  Returns:
    An array [height, width, channels] in [0, 255]: uint8, or float32 for files
    of 16 bits and for files of arrays and domains with a range or channels of
    their own.

  Raises:
    UserError: the file cannot be read, its pixels cannot be converted, or the
      new size has too many pixels.
  """
  image = decoded(picture, values)
  size = new_size(*image.size) if new_size else image.size
  return resized(picture, image, values, size)


def decoded(picture: Picture, values: Values | int) -> Image.Image | Raw:
  """Decodes a picture, turns it upright and converts its channels; no resizing.

  For pictures that Pillow reads: palettes are looked up, transparency is
  composited over white, CMYK becomes RGB, EXIF orientation is applied, and of
  an animation the first frame is used. Grayscale of 12 or 16 bits keeps all its
  bits.

  Args:
    picture: the `Picture` to read.
    values: `Values` of the picture's domain; or a number of channels, for the
      value range of the file's type.

  Returns:
    A `PIL.Image.Image` of mode L or RGB, or of mode F in [0, 255] for grayscale
    of more than 8 bits. If the file has 16 bits per band, `info[SPAN]` is the
    share of the value range that the picture uses, in [0, 1]. Files of arrays,
    and all files of a domain that is not `Values.plain`, return a `Raw`, an
    array with the values of the file.

  Raises:
    UserError: the file cannot be read, or its pixels cannot be converted.
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
  """Returns a `Values`: `values` itself, or one made from a number of channels.

  Args:
    values: a `Values` (channels and value range of a domain), which is returned
      unchanged; or a number of channels, which gives a `Values` without a range
      of its own, so that the range of each file's integer type is used.
  """
  return Values(values) if isinstance(values, int) else values


def open_by(
  picture: Picture, values: Values | int | None = None
) -> Image.Image | ArrayFormat:
  """Returns the picture opened by Pillow, or the array format that reads it.

  Args:
    picture: the `Picture` to open.
    values: `Values` (channels and value range) of the picture's domain, or a
      number of channels; None for a picture without a domain, such as a label
      map.

  Returns:
    A `PIL.Image.Image` whose header has been read, or the `ArrayFormat` to read
    the file with: for array files, and for TIFFs and PNGs whose values Pillow
    cannot read in full.

  Raises:
    UserError: the file is not a picture that can be read, needs a package that
      is not installed, or declares a size that is too small or too large.
  """
  form = raw.form_of(picture, as_values(3 if values is None else values))
  if form:
    return form
  try:
    image = opened(picture)
  except UserError:
    # Pillow does not support many kinds of TIFF.
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
  """Returns True for an image whose values Pillow would truncate or misread."""
  tags = getattr(image, 'tag_v2', None)
  if tags is None:
    if image.format != 'PNG' or not is_shallow(image):
      return False
    # Transparency is composited over white, which Pillow does with 8 bits.
    return not image.has_transparency_data
  bits, kinds = tags.get(_BITS, (1,)), tags.get(_SAMPLE_FORMAT, (1,))
  return set(kinds) != {1} or max(bits) > (16 if len(bits) == 1 else 8)


def is_shallow(image: Image.Image) -> bool:
  """Returns True for a 16-bit colour image, of which Pillow reads 8 bits."""
  return _is_deep(image) and Image.getmodebase(image.mode) == 'RGB'


def _plain(picture, image, channels):
  """Returns the mode L, RGB or F image of an opened picture, for `decoded`."""
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
  """Returns a decoded picture as an array, resized bicubic and antialiased.

  Args:
    picture: the `Picture`, for error messages.
    image: the return value of `decoded` for this picture.
    values: the `values` given to `decoded`.
    size: (width, height) to resize to.

  Returns:
    An array [height, width, channels] in [0, 255]: uint8; float32 if `image` is
    of mode F or a `Raw`.

  Raises:
    UserError: `size` has too many pixels.
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
  """Returns the integers (black, white) of a file of more than 8 bits.

  Raises:
    ValueError: the pixels are floating point, signed or wider than 16 bits, or
      the file is a TIFF whose tiles have more than `MAX_PIXELS` pixels.
  """
  tags = getattr(image, 'tag_v2', None)
  if tags is None:
    if image.mode == 'F':  # a PFM
      raise ValueError('floating point pixels; integers are needed')
    return 0, 65535
  if np.prod([tags.get(side, 0) for side in _TILE], dtype=float) > MAX_PIXELS:
    raise ValueError('the tiles of the TIFF are too large')
  if set(tags.get(_SAMPLE_FORMAT, (1,))) != {1}:
    raise ValueError('signed or floating point pixels; unsigned are needed')
  bits = tags.get(_BITS, (1,))[0]
  if bits > 16:
    raise ValueError('integers of more than 16 bits')
  # Pillow, too, reads a missing photometric tag as white-is-zero.
  inverted = tags.get(_PHOTOMETRIC, _WHITE_IS_ZERO) == _WHITE_IS_ZERO
  return (2**bits - 1, 0) if inverted else (0, 2**bits - 1)


def _is_deep(image):
  """Returns True if a file has over 8 bits per band, even if Pillow reads 8."""
  args = image.tile[0].args if image.tile else ''
  if image.format == 'PPM' and isinstance(args, tuple):
    return args[-1] > 255
  return image.mode.startswith('I') or ';16' in str(args)


def _span(image):
  """Returns the share of [0, 255] that the pixels of an image span, 0 to 1."""
  extrema = np.array(image.getextrema()).reshape(-1, 2)
  return (extrema[:, 1].max() - extrema[:, 0].min()) / 255


def _mend_transparency(image):
  """Scales the transparent colour of a 2- or 4-bit PNG to 8 bits, in place.

  Pillow decodes the pixels to 8 bits and leaves the transparent colour as it is
  in the file.

  Raises:
    ValueError: the transparent colour has 16 bits per band, and Pillow reads 8
      bits of the pixels, so they cannot be compared.
  """
  clear = image.info.get('transparency')
  if image.format != 'PNG' or clear is None:
    return
  stored = image.tile[0][3]
  if stored == 'RGB;16B':
    raise ValueError('a transparent colour of 16 bits: use an alpha channel')
  image.info['transparency'] = clear * {'L;2': 85, 'L;4': 17}.get(stored, 1)


def _convert(image, channels, black, white):
  """Returns the image in mode L or RGB, or in mode F for 16-bit grayscale.

  Pixels of mode F are in [0, 255].
  """
  if image.mode.startswith('I'):
    array = np.asarray(image).astype(np.float32)
    clear = array == image.info.get('transparency', -1)
    array = (array - black) / ((white - black) / 255)
    array[clear] = 255
    return Image.fromarray(array)
  return raw.over_white(image).convert(_MODES[channels])
