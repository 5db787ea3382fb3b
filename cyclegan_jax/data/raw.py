"""Pictures as arrays of values: any channels, any type, any range.

Beside the 8-bit pictures that `decode` has Pillow read. Values are resized as
float32, bicubic as Pillow's on each channel, and become levels from 0 to 255.
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

# In the `info` of what is decoded: the share of the values that the range of
# the domain does not hold.
OUTSIDE = 'outside'
# The share of the range of its type that a picture of more than 8 bits uses.
SPAN = 'span'
# Values that no gray or RGB picture has, to have files read as arrays.
ANY = Values(0)
_TIFF_STARTS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_TIFF, _PNG = ('.tif', '.tiff'), ('.png', '.apng')
# Modes of Pillow whose bands are values; others are converted to these.
_BANDS = {'1': 'L', 'P': 'RGB', 'PA': 'RGBA', 'CMYK': 'RGB', 'YCbCr': 'RGB'}
_DEEP_GRAY = ('I;16', 'I;16B', 'I;16L', 'I')


class Raw(NamedTuple):
  """A decoded picture whose values are kept.

  Attributes:
    array: the values [height, width, channels], float32 or the file's type.
    dtype: type of the values in the file.
    info: facts for messages, such as `OUTSIDE`.
  """

  array: Num[np.ndarray, 'height width channels']
  dtype: np.dtype
  info: dict[str, Any]

  @property
  def size(self) -> tuple[int, int]:
    """(width, height), as Pillow's images have it."""
    height, width = self.array.shape[:2]
    return width, height


def form_of(picture: Picture, values: Values) -> ArrayFormat | None:
  """The format of arrays that a file is read by; None if Pillow opens it.

  Pillow reads TIFFs and PNGs as long as the domain is plain; `instead` then
  tells those that it would read in part.
  """
  ending = _ending(picture)
  form = arrays.find(ending)
  if form is None or ending in _PNG:
    return None
  if ending in _TIFF and values.plain and picture.cut.pages == 'first':
    return None
  return form


def instead(picture: Picture, name: str) -> ArrayFormat | None:
  """The format of arrays for a file that Pillow reads in part or not at all.

  Args:
    picture: a `Picture`.
    name: of the format, as Pillow has it: 'TIFF' or 'PNG'.

  Returns:
    The format; None for a PNG if its package is not installed, as Pillow can
    read it all the same.

  Raises:
    UserError: the package for TIFFs is not installed.
  """
  (form,) = (x for x in arrays.ARRAY_FORMATS if name in x.name)
  if name == 'PNG' and arrays.missing(form):
    return None
  _check_package(picture, form)
  return form


def is_tiff(picture: Picture) -> bool:
  """Returns True for a TIFF by its name, or by its first bytes."""
  if isinstance(picture.data, bytes):
    return picture.data.startswith(_TIFF_STARTS)
  return _ending(picture) in _TIFF


def _ending(picture):
  if isinstance(picture.data, bytes):
    return ''
  return formats.ending_of(picture.data.name)


def facts(picture: Picture, form: ArrayFormat) -> Facts:
  """The facts in a header; the size is checked.

  Raises:
    UserError: it is no such file, its package is missing, or the size won't do.
  """
  try:
    _check_package(picture, form)
    found = form.facts(_data(picture), picture.cut)
  except UserError:
    raise
  except Exception as e:  # the packages raise all kinds
    raise unreadable(picture, e) from e
  check_size(picture, *found.size)
  return found


def _check_package(picture, form):
  if command := arrays.missing(form):
    raise UserError(
      f'{picture.name}: {form.name} is read after: {command}, or remove it'
    )


def _data(picture):
  data = picture.data
  if not isinstance(data, bytes) and files.remote(data):
    return data.read_bytes()
  return data


def check_channels(picture: Picture, found: Facts, values: Values) -> None:
  """Raises `UserError` for channels that a domain does not take."""
  has, wants = found.channels, values.channels
  if has == wants or (has, wants) == (1, 3) or found.colour and wants == 1:
    return
  raise UserError(
    f'{picture.name}: {has} channel{"" if has == 1 else "s"}, and '
    f'{values.channels_option}={wants}: set '
    f'--config.{values.channels_option}={has}, or remove it'
  )


def read(picture: Picture, form: ArrayFormat, values: Values) -> Raw:
  """Reads a picture of a format of arrays; its values may be any.

  Raises:
    UserError: the file can't be read, or its channels are others.
  """
  found = facts(picture, form)
  check_channels(picture, found, values)
  try:
    array = form.read(_data(picture), picture.cut)
  except Exception as e:  # the packages raise all kinds
    raise unreadable(picture, e) from e
  return _made(picture, array, values)


def of_pillow(picture: Picture, image: Image.Image, values: Values) -> Raw:
  """The values of a picture that Pillow has opened, for any `Values`.

  Gray and RGB are converted to each other as `decode.decoded` does; a domain
  of another number of channels takes the bands of the file.

  Raises:
    UserError: the bands of the file are not the channels of the domain.
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
  """Raises `UserError` if `of_pillow` would refuse an opened picture."""
  if values.channels not in (1, 3):
    bands = Image.getmodebands(_mode(image))
    check_channels(
      picture, Facts(image.size, bands, np.dtype(np.uint8)), values
    )


def _bands(image, channels):
  """An image whose bands are values; gray or RGB for 1 or 3 channels."""
  if channels in (1, 3):
    return over_white(image).convert({1: 'L', 3: 'RGB'}[channels])
  return image.convert(_mode(image))


def _mode(image):
  """The mode whose bands are the values of an image."""
  if image.mode == 'P' and image.has_transparency_data:
    return 'RGBA'
  return _BANDS.get(image.mode, image.mode)


def over_white(image: Image.Image) -> Image.Image:
  """A picture without its transparency, composited over white."""
  if not image.has_transparency_data:
    return image
  image = image.convert('RGBA')
  paper = Image.new('RGBA', image.size, 'white')
  return Image.alpha_composite(paper, image)


def _made(picture, array, values):
  dtype = array.dtype
  if picture.half is not None:
    width = array.shape[1] // 2
    array = array[:, picture.half * width :][:, :width]
  if array.shape[-1] != values.channels:
    array = _converted(array, values.channels)
  return Raw(array, dtype, {})


def _converted(array, channels):
  """Gray as RGB or RGB as gray, which `check_channels` let pass."""
  if channels == 1:
    return images.luminance(array.astype(np.float32))
  return np.repeat(array, channels, axis=-1)


def in_range(picture: Picture, raw: Raw, values: Values) -> Raw:
  """The same picture with the share of its values that are `OUTSIDE`.

  Raises:
    UserError: the values have no range of their own, and the domain has none.
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
  """Levels of a picture, resized bicubic and antialiased on each channel.

  Args:
    raw: the picture.
    values: of its domain.
    size: (width, height).

  Returns:
    [height, width, channels] in [0, 255], see `Values.levels`.
  """
  array = raw.array
  if size != raw.size:
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
      # One value that is no number would spread to all around it.
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
