"""Picture formats: their endings, Pillow readers and required packages."""

import functools
import importlib.util
import io
import pathlib
import threading
from typing import NamedTuple

from PIL import Image, features

from cyclegan_jax.common import files
from cyclegan_jax.data import arrays
from cyclegan_jax.data.arrays import ARRAY_FORMATS


class Format(NamedTuple):
  """A picture format that Pillow reads.

  Attributes:
    endings: file endings with their dot, in lower case.
    reader: Pillow's name of the plugin that reads the format.
    feature: Pillow's name of the library that the plugin needs; '' for none.
  """

  endings: tuple[str, ...]
  reader: str
  feature: str = ''


# Pillow's other readers are never used, whatever a file is called: some of them
# start programs, and each is more code that a malicious file could attack.
FORMATS = (
  Format(('.png', '.apng'), 'PNG'),
  Format(('.jpg', '.jpeg', '.jpe', '.jfif'), 'JPEG'),
  Format(('.webp',), 'WEBP', 'webp'),
  Format(('.bmp',), 'BMP'),
  Format(('.tif', '.tiff'), 'TIFF'),
  Format(('.gif',), 'GIF'),
  Format(('.ppm', '.pgm', '.pbm', '.pnm'), 'PPM'),
  Format(('.avif',), 'AVIF', 'avif'),
)
# Read by the package pillow-heif.
HEIF = Format(('.heic', '.heif', '.hif'), 'HEIF')
_PILLOWS = tuple(e for f in (*FORMATS, HEIF) for e in f.endings)
EXTENSIONS = (
  *_PILLOWS,
  *(e for f in ARRAY_FORMATS for e in f.endings if e not in _PILLOWS),
)

_DOUBLE = tuple(e for e in EXTENSIONS if e.count('.') > 1)
_READERS = tuple(x.reader for x in FORMATS)
_FEATURES = {e: x.feature for x in FORMATS for e in x.endings if x.feature}
_INSTALL_HEIF = "pip install -e '.[heic]'"
_UPGRADE = 'pip install --upgrade pillow'
_KIND, _BRAND = slice(4, 8), slice(8, 12)  # bytes of an ISO media file
_HEIF_BRANDS = (
  *(b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'hevm', b'hevs'),
  *(b'mif1', b'msf1'),
)
_registering = threading.Lock()


class NeedsPackageError(Exception):
  """A picture needs a package that is not installed."""


def ending_of(name: str) -> str:
  """Returns the ending of a file name with its dot, in lower case.

  '.nii.gz' is one ending; '' if the name has none.
  """
  return split(name)[1].lower()


def split(name: str) -> tuple[str, str]:
  """Splits a file name into (name without ending, ending), in its own case.

  'brain.NII.gz' becomes ('brain', '.NII.gz').
  """
  lower = name.lower()
  double = next((e for e in _DOUBLE if lower.endswith(e)), None)
  ending = name[-len(double) :] if double else pathlib.PurePath(name).suffix
  return name[: len(name) - len(ending)], ending


def missing(ending: str) -> str | None:
  """Returns the command that installs the reader of a file ending.

  Returns None if the reader is installed, and for unknown endings.

  Args:
    ending: a file ending with its dot, in lower case.
  """
  if ending in HEIF.endings:
    return None if _heif_installed() else _INSTALL_HEIF
  if ending not in _PILLOWS and (form := arrays.find(ending)):
    return arrays.missing(form)
  return None if _supported(_FEATURES.get(ending)) else _UPGRADE


@functools.cache
def _supported(feature):
  return not feature or features.check(feature)


def _heif_installed():
  return importlib.util.find_spec('pillow_heif') is not None


def opened(data: files.Path | bytes) -> Image.Image:
  """Returns a Pillow image after reading its header; no pixel is decoded.

  The format is recognised by the contents, not by the file name.

  Args:
    data: a local path, or the contents of a file.

  Raises:
    NeedsPackageError: the picture is HEIC and pillow-heif is not installed.
    Exception: any exception of Pillow, for data that is not a readable picture.
  """
  try:
    return Image.open(_file(data), formats=_READERS)
  except Image.UnidentifiedImageError:
    if not _is_heif(data):
      raise
  if not _heif_installed():
    raise NeedsPackageError(f'HEIC needs pillow-heif: {_INSTALL_HEIF}')
  _register_heif()
  return Image.open(_file(data), formats=(HEIF.reader,))


def _file(data):
  return io.BytesIO(data) if isinstance(data, bytes) else data


def _is_heif(data):
  """Returns True if the first bytes of a file declare HEIF."""
  if isinstance(data, bytes):
    start = data[: _BRAND.stop]
  else:
    with data.open('rb') as file:
      start = file.read(_BRAND.stop)
  return start[_KIND] == b'ftyp' and start[_BRAND] in _HEIF_BRANDS


def _register_heif():
  """Registers pillow-heif with Pillow, once; slow, so only when needed."""
  with _registering:
    if HEIF.reader not in Image.OPEN:
      import pillow_heif

      # Parse no more than needed, and one thread per picture: many pictures are
      # decoded in parallel.
      pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
      )
