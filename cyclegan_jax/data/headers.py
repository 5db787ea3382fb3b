"""Facts about a picture from its header, without decoding pixels."""

from typing import NamedTuple

from PIL import Image

from cyclegan_jax.data import raw
from cyclegan_jax.data.arrays.base import ArrayFormat
from cyclegan_jax.data.decode import as_values, is_shallow, open_by
from cyclegan_jax.data.picture import Picture, unreadable
from cyclegan_jax.data.values import Values

_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # EXIF tag; values
# A PNG has its orientation under these keys before its pixels, or in these
# chunks behind them.
_BEFORE_PIXELS = {'exif', 'Raw profile type exif', 'XML:com.adobe.xmp'}
_TEXTS = (b'tEXt', b'zTXt', b'iTXt')
_TELLING = (b'Raw profile type exif', b'XML:com.adobe.xmp')
_BANDS, _EXTRA_BANDS = 277, 338  # TIFF tags


class Header(NamedTuple):
  """Facts about a picture, read from its header.

  Attributes:
    size: (width, height) of the picture once EXIF orientation is applied; for
      a half of a side-by-side pair, the size of the half.
    gray: True if the file declares a grayscale picture.
    frames: True if the file has several pages or frames, of which only the
      first is used.
    bands: number of bands per pixel in the file.
    used: number of bands that are used; a transparency band counts as used.
    shallow: True if only 8 of 16 bits per colour are used.
  """

  size: tuple[int, int]
  gray: bool
  frames: bool
  bands: int
  used: int
  shallow: bool = False


def read(picture: Picture, values: Values | int | None = None) -> Header:
  """Returns the `Header` of a picture; no pixel is decoded.

  Args:
    picture: the `Picture` to read.
    values: `Values` (channels and value range) of the picture's domain, or a
      number of channels; None for a picture without a domain, such as a label
      map.

  Raises:
    UserError: the file cannot be read, its size is too small or too large, or
      its channels do not fit the domain.
  """
  where = open_by(picture, values)
  if isinstance(where, ArrayFormat):
    return of_arrays(picture, where, values)
  with where as image:
    return facts(picture, image, values)


def of_arrays(
  picture: Picture, form: ArrayFormat, values: Values | int | None = None
) -> Header:
  """Returns the `Header` of a picture in an array format.

  Args:
    picture: the `Picture` to read.
    form: the `ArrayFormat` that reads the file.
    values: `Values` (channels and value range) of the picture's domain, or a
      number of channels; None to accept any number of channels.

  Raises:
    UserError: the file cannot be read, its size is too small or too large, or
      it has another number of channels than `values`.
  """
  found = raw.facts(picture, form)
  if values is not None:
    raw.check_channels(picture, found, as_values(values))
  width, height = found.size
  if picture.half is not None:
    width //= 2
  gray = found.channels == 1
  return Header(
    (width, height), gray, bool(found.unused), found.channels, found.channels
  )


def facts(
  picture: Picture,
  image: Image.Image,
  values: Values | int | None = None,
) -> Header:
  """Returns the `Header` of a picture that Pillow has opened.

  Args:
    picture: the `Picture`, for its half and for error messages.
    image: the return value of `decode.opened` for this picture.
    values: `Values` (channels and value range) of the picture's domain, or a
      number of channels; None to accept any number of bands.

  Raises:
    UserError: the header is damaged, or the bands do not fit the domain.
  """
  try:
    width, height = upright_size(image)
    gray = Image.getmodebase(image.mode) == 'L'
    bands, used = _bands(image)
  except Exception as e:  # Pillow raises all kinds
    raise unreadable(picture, e) from e
  if picture.half is not None:
    width //= 2
  if values is not None and not as_values(values).plain:
    raw.check_bands(picture, image, as_values(values))
    used = bands
  return Header(
    (width, height), gray, _has_frames(image), bands, used, is_shallow(image)
  )


def upright_size(image: Image.Image) -> tuple[int, int]:
  """Returns (width, height) of an image after applying EXIF orientation."""
  width, height = image.size
  # Pillow already applies the orientation to the size of a TIFF.
  if width == height or image.format == 'TIFF':
    return width, height
  # Image.getexif decodes the pixels of a PNG to find chunks behind them.
  if image.format == 'PNG' and not _tells_orientation(image):
    return width, height
  turned = image.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE
  return (height, width) if turned else (width, height)


def _tells_orientation(image):
  """Returns True if a PNG may have an orientation; decodes no pixels."""
  if not _BEFORE_PIXELS.isdisjoint(image.info):
    return True
  file, place = image.fp, image.fp.tell()
  chunk = image.tile[0].offset - 8  # the first chunk of pixels
  try:
    while file.seek(chunk) and len(start := file.read(40)) >= 8:
      kind, content = start[4:8], start[8:]
      if kind == b'eXIf' or kind in _TEXTS and content.startswith(_TELLING):
        return True
      chunk += int.from_bytes(start[:4], 'big') + 12
  finally:
    file.seek(place)
  return False


def _has_frames(image):
  """Returns True if the file has a second frame or page, even if damaged."""
  # The second frame of a phone's MPO is a preview or a depth map.
  try:
    return image.format != 'MPO' and bool(getattr(image, 'is_animated', False))
  except Exception:  # Pillow raises all kinds
    return True


def _bands(image):
  """Returns (bands per pixel in the file, bands that are used)."""
  used = len(image.getbands())
  tags = getattr(image, 'tag_v2', {})
  bands = tags.get(_BANDS, used)
  if bands == 4 and image.mode == 'RGBA' and not tags.get(_EXTRA_BANDS):
    used = 3  # Pillow only guesses that the fourth band is transparency
  return max(bands, used), used
