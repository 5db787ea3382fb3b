"""Facts of a picture that its header tells."""

from typing import NamedTuple

from PIL import Image

from cyclegan_jax.data import raw
from cyclegan_jax.data.arrays.base import ArrayFormat
from cyclegan_jax.data.decode import as_values, is_shallow, open_by
from cyclegan_jax.data.picture import Picture, unreadable
from cyclegan_jax.data.values import Values

_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # of EXIF
# Where a PNG has it: before its pixels, or behind them in such chunks.
_BEFORE_PIXELS = {'exif', 'Raw profile type exif', 'XML:com.adobe.xmp'}
_TEXTS = (b'tEXt', b'zTXt', b'iTXt')
_TELLING = (b'Raw profile type exif', b'XML:com.adobe.xmp')
_BANDS, _EXTRA_BANDS = 277, 338  # tags of a TIFF


class Header(NamedTuple):
  """Facts that the header of a picture tells.

  Attributes:
    size: (width, height) of the upright picture, or of its half.
    gray: whether the file declares a gray picture.
    frames: whether it has more than one page or frame; only the first is used.
    bands: the bands of a pixel in the file.
    used: how many of these are used; a band of transparency is.
    shallow: whether 8 of 16 bits per colour are used.
  """

  size: tuple[int, int]
  gray: bool
  frames: bool
  bands: int
  used: int
  shallow: bool = False


def read(picture: Picture, values: Values | int | None = None) -> Header:
  """Reads a header; no pixel is decoded.

  Args:
    picture: a `Picture`.
    values: of its domain, or its channels; None for what has no domain.

  Raises:
    UserError: the header alone shows that the picture won't do.
  """
  where = open_by(picture, values)
  if isinstance(where, ArrayFormat):
    return of_arrays(picture, where, values)
  with where as image:
    return facts(picture, image, values)


def of_arrays(
  picture: Picture, form: ArrayFormat, values: Values | int | None = None
) -> Header:
  """Returns the `Header` of a file of arrays.

  Raises:
    UserError: as `read`, and for channels that the domain does not take.
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
  """Returns the `Header` of a picture that is `decode.opened`.

  Raises:
    UserError: as `read`.
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
  """(width, height) of an opened picture once EXIF orientation is applied."""
  width, height = image.size
  # Pillow gives that of a TIFF as it will be.
  if width == height or image.format == 'TIFF':
    return width, height
  # Asked for a PNG's orientation behind its pixels, Pillow would decode these.
  if image.format == 'PNG' and not _tells_orientation(image):
    return width, height
  turned = image.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE
  return (height, width) if turned else (width, height)


def _tells_orientation(image):
  """Returns True if a PNG has an orientation; its pixels stay."""
  if not _BEFORE_PIXELS.isdisjoint(image.info):
    return True
  file, place = image.fp, image.fp.tell()
  chunk = image.tile[0].offset - 8  # the first one of pixels
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
  """Returns True if there is a second frame or page, be it damaged."""
  # That of a phone's MPO is a preview or a depth map.
  try:
    return image.format != 'MPO' and bool(getattr(image, 'is_animated', False))
  except Exception:  # Pillow raises all kinds
    return True


def _bands(image):
  """The bands of a pixel in the file, and how many of them are used."""
  used = len(image.getbands())
  tags = getattr(image, 'tag_v2', {})
  bands = tags.get(_BANDS, used)
  if bands == 4 and image.mode == 'RGBA' and not tags.get(_EXTRA_BANDS):
    used = 3  # it is only a guess that the fourth is transparency
  return max(bands, used), used
