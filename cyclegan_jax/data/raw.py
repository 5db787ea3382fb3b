"""Pictures with any number of channels, any type and any range of values.

`decode` uses this module for all pictures that Pillow cannot read as gray or
RGB without loss. The values are kept as stored in the file until they are
resized, with Pillow's bicubic filter on each channel in float32, and scaled to
levels in [0, 255].
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Num
from PIL import Image, ImageOps

from cyclegan_jax.common import files, images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import arrays, formats
from cyclegan_jax.data.arrays.base import ArrayFormat, Facts
from cyclegan_jax.data.picture import Picture, check_size, unreadable
from cyclegan_jax.data.values import Values

# Keys in the `info` of a decoded picture.
# Share in [0, 1] of the values that are outside the range of the domain.
OUTSIDE = 'outside'
# Share in [0, 1] of the range of its type that a picture of more than 8 bits
# uses.
SPAN = 'span'
# `Values` that are not plain, so that files are read as arrays.
ANY = Values(0)
_TIFF_STARTS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_TIFF, _PNG = ('.tif', '.tiff'), ('.png', '.apng')
# Pillow mode -> mode to convert to, for modes whose bands are not gray, RGB or
# alpha values.
_BANDS = {'1': 'L', 'P': 'RGB', 'PA': 'RGBA', 'CMYK': 'RGB', 'YCbCr': 'RGB'}
_DEEP_GRAY = ('I;16', 'I;16B', 'I;16L', 'I')


class Raw(NamedTuple):
  """A decoded picture with the values of its file.

  Attributes:
    array: the values, [height, width, channels], in the type of the file;
      float32 after RGB was converted to gray.
    dtype: type of the values in the file.
    info: {key: share}, facts for messages: `OUTSIDE` or `SPAN`.
  """

  array: Num[np.ndarray, 'height width channels']
  dtype: np.dtype
  info: dict[str, Any]

  @property
  def size(self) -> tuple[int, int]:
    """(width, height) in pixels, like `size` of a Pillow image."""
    height, width = self.array.shape[:2]
    return width, height


def form_of(picture: Picture, values: Values) -> ArrayFormat | None:
  """Returns the array format of a picture by its name, or None for Pillow.

  Pillow reads all PNG files first, and the TIFF files of a plain domain; the
  function `instead` finds the format for those that Pillow would not read
  completely.

  Args:
    picture: a `Picture`.
    values: `Values` (channels and value range) of its domain.

  Returns:
    The `ArrayFormat` that reads the file; None if Pillow opens it.
  """
  ending = _ending(picture)
  form = arrays.find(ending)
  if form is None or ending in _PNG:
    return None
  if ending in _TIFF and values.plain and picture.cut.pages == 'first':
    return None
  return form


def instead(picture: Picture, name: str) -> ArrayFormat | None:
  """Returns the array format for a file that Pillow cannot read completely.

  Args:
    picture: a `Picture`.
    name: Pillow's name of the format, 'TIFF' or 'PNG'.

  Returns:
    The `ArrayFormat`. None for a PNG file if the package imagecodecs is not
    installed, because Pillow can read the file with 8 bits per value.

  Raises:
    UserError: the package that reads TIFF files is not installed.
  """
  (form,) = (x for x in arrays.ARRAY_FORMATS if name in x.name)
  if name == 'PNG' and arrays.missing(form):
    return None
  _check_package(picture, form)
  return form


def is_tiff(picture: Picture) -> bool:
  """Returns True if a picture is a TIFF file.

  A file is judged by its ending, a picture given as bytes by the first bytes.
  """
  if isinstance(picture.data, bytes):
    return picture.data.startswith(_TIFF_STARTS)
  return _ending(picture) in _TIFF


def _ending(picture):
  """Returns the ending of a picture's file, such as '.tif'; '' for bytes."""
  if isinstance(picture.data, bytes):
    return ''
  return formats.ending_of(picture.data.name)


def facts(picture: Picture, form: ArrayFormat) -> Facts:
  """Returns the facts in the header of a file of arrays.

  Args:
    picture: a `Picture`.
    form: the `ArrayFormat` of the file.

  Raises:
    UserError: the file is not of this format, the package that reads the format
      is not installed, or the picture is too small or too large.
  """
  try:
    _check_package(picture, form)
    found = form.facts(_data(picture), picture.cut)
  except UserError:
    raise
  except Exception as e:  # the packages raise exceptions of many types
    raise unreadable(picture, e) from e
  check_size(picture, *found.size)
  return found


def _check_package(picture, form):
  """Raises `UserError` if the package that reads a format is not installed."""
  if command := arrays.missing(form):
    raise UserError(
      f'{picture.name}: reading {form.name} files needs: {command} (or remove '
      'the file)'
    )


def _data(picture):
  """Returns the path or the bytes of a picture; remote files as bytes."""
  data = picture.data
  if not isinstance(data, bytes) and files.remote(data):
    return data.read_bytes()
  return data


def check_channels(picture: Picture, found: Facts, values: Values) -> None:
  """Checks the number of channels of a picture.

  A domain of 3 channels also takes gray pictures, and a domain of 1 channel
  also takes RGB pictures; `read` and `of_pillow` convert them.

  Args:
    picture: a `Picture`.
    found: `Facts` of the picture.
    values: `Values` (channels and value range) of its domain.

  Raises:
    UserError: the picture has another number of channels than the domain.
  """
  has, wants = found.channels, values.channels
  if has == wants or (has, wants) == (1, 3) or found.colour and wants == 1:
    return
  raise UserError(
    f'{picture.name}: {has} channel{"" if has == 1 else "s"}, but '
    f'{values.channels_option}={wants}: set '
    f'--config.{values.channels_option}={has}, or remove the picture'
  )


def read(picture: Picture, form: ArrayFormat, values: Values) -> Raw:
  """Reads a picture from a file of arrays.

  Args:
    picture: a `Picture`.
    form: the `ArrayFormat` of the file.
    values: `Values` (channels and value range) of its domain. The range is not
      used.

  Returns:
    The picture as `Raw` without `info`, converted to gray or RGB where the
    domain has 1 or 3 channels.

  Raises:
    UserError: the file cannot be read, or its number of channels does not fit
      the domain.
  """
  found = facts(picture, form)
  check_channels(picture, found, values)
  try:
    array = form.read(_data(picture), picture.cut)
  except Exception as e:  # the packages raise exceptions of many types
    raise unreadable(picture, e) from e
  return _made(picture, array, values)


def of_pillow(picture: Picture, image: Image.Image, values: Values) -> Raw:
  """Returns the values of a picture that Pillow has opened.

  EXIF orientation is applied. For a domain of 1 or 3 channels the picture is
  composited over white and converted to gray or RGB, as `decode.decoded` does;
  gray of more than 8 bits is kept as uint16. A domain with another number of
  channels receives the bands of the file.

  Args:
    picture: a `Picture`.
    image: the Pillow image of its file.
    values: `Values` (channels and value range) of its domain. The range is not
      used.

  Returns:
    The picture as `Raw` without `info`.

  Raises:
    UserError: the file has another number of bands than the domain has
      channels.
  """
  image = ImageOps.exif_transpose(image)
  if image.mode in _DEEP_GRAY:
    array = np.asarray(image).astype(np.uint16)[..., None]
  else:
    array = np.asarray(_bands(image, values.channels))
    array = array[..., None] if array.ndim == 2 else array
  colour = array.shape[-1] == 3
  found = Facts(image.size, array.shape[-1], array.dtype, colour=colour)
  check_channels(picture, found, values)
  return _made(picture, array, values)


def check_bands(picture: Picture, image: Image.Image, values: Values) -> None:
  """Checks the number of bands of an opened picture; decodes no pixels.

  Args:
    picture: the `Picture`, for messages.
    image: the Pillow image of its file.
    values: `Values` (channels and value range) of its domain.

  Raises:
    UserError: the domain has neither 1 nor 3 channels, and the file has another
      number of bands than the domain has channels.
  """
  if values.channels not in (1, 3):
    bands = Image.getmodebands(_mode(image))
    check_channels(
      picture, Facts(image.size, bands, np.dtype(np.uint8)), values
    )


def _bands(image, channels):
  """Returns a Pillow image whose bands are the channels of the picture."""
  if channels in (1, 3):
    return over_white(image).convert({1: 'L', 3: 'RGB'}[channels])
  return image.convert(_mode(image))


def _mode(image):
  """Returns the Pillow mode to convert an image to, to read its bands."""
  if image.mode == 'P' and image.has_transparency_data:
    return 'RGBA'
  return _BANDS.get(image.mode, image.mode)


def over_white(image: Image.Image) -> Image.Image:
  """Returns an image composited over white, where it has transparency.

  An image without transparency is returned unchanged.

  Args:
    image: a Pillow image.
  """
  if not image.has_transparency_data:
    return image
  image = image.convert('RGBA')
  paper = Image.new('RGBA', image.size, 'white')
  return Image.alpha_composite(paper, image)


def _made(picture, array, values):
  """Returns the `Raw` of an array: half cut out, gray or RGB converted."""
  dtype = array.dtype
  if picture.half is not None:
    width = array.shape[1] // 2
    array = array[:, picture.half * width :][:, :width]
  if array.shape[-1] != values.channels:
    array = _converted(array, values.channels)
  return Raw(array, dtype, {})


def _converted(array, channels):
  """Converts RGB to gray (1 channel), or repeats gray for more channels.

  `check_channels` has excluded all other cases.
  """
  if channels == 1:
    return images.luminance(array.astype(np.float32))
  return np.repeat(array, channels, axis=-1)


def in_range(picture: Picture, raw: Raw, values: Values) -> Raw:
  """Returns a picture with facts about the range of its values in `info`.

  If the domain has a range, `info[OUTSIDE]` is the share of the values outside
  the range, if there are any. Else `info[SPAN]` is the share of the range of
  its type that a picture of more than 8 bits uses.

  Args:
    picture: the `Picture`, for messages.
    raw: the values of the picture.
    values: `Values` (channels and value range) of its domain.

  Raises:
    UserError: the values are floating-point numbers, and the domain has no
      range.
  """
  try:
    values.range_of(raw.dtype)
  except UserError as e:
    raise UserError(f'{picture.name}: {e}') from e
  info = {}
  if values.low:
    if outside := values.outside(raw.array, raw.dtype):
      info[OUTSIDE] = outside / raw.array.size
  elif raw.dtype.itemsize > 1:
    low, high = values.range_of(raw.dtype)
    used = float(raw.array.max()) - float(raw.array.min())
    info[SPAN] = used / float((high - low)[0])
  return raw._replace(info=info)


def resized(
  raw: Raw, values: Values, size: tuple[int, int]
) -> Float32[np.ndarray, 'height width channels']:
  """Resizes a picture and scales its values to levels in [0, 255].

  Each channel is resized with Pillow's antialiased bicubic filter.

  Args:
    raw: the values of the picture.
    values: `Values` (channels and value range) of its domain.
    size: (width, height) to resize to, in pixels.

  Returns:
    Levels in [0, 255], not rounded: the range of the domain is scaled to [0,
    255], and values outside the range are clipped.
  """
  array = raw.array
  if size != raw.size:
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
      # Resizing would spread a NaN or infinity to the values around it.
      low, high = values.range_of(raw.dtype)
      array = np.where(np.isfinite(array), array, low)
    planes = [
      Image.fromarray(np.ascontiguousarray(array[..., i])).resize(
        size, Image.Resampling.BICUBIC
      )
      for i in range(array.shape[-1])
    ]
    array = np.stack([np.asarray(plane) for plane in planes], axis=-1)
  return values.levels(array, raw.dtype)
