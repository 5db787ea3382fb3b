"""Formats of pictures: endings, readers of Pillow, and what they need."""

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
  """A format that is read.

  Attributes:
    endings: of its files, in small letters.
    reader: Pillow's name of the plugin that reads it.
    feature: Pillow's name of the library that the plugin needs, or ''.
  """

  endings: tuple[str, ...]
  reader: str
  feature: str = ''


# Whatever a file is called, no other reader of Pillow is asked: some of them
# start a program, and each is code that a broken file may misuse.
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
# The package pillow-heif reads it.
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
_KIND, _BRAND = slice(4, 8), slice(8, 12)  # of a file of boxes
_HEIF_BRANDS = (
  *(b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'hevm', b'hevs'),
  *(b'mif1', b'msf1'),
)
_registering = threading.Lock()


class NeedsPackageError(Exception):
  """A picture that only a package that is not installed can read."""


def ending_of(name: str) -> str:
  """The ending of a file's name in small letters: '.nii.gz' is one ending."""
  return split(name)[1].lower()


def split(name: str) -> tuple[str, str]:
  """A file's name and its ending, as they are written."""
  lower = name.lower()
  double = next((e for e in _DOUBLE if lower.endswith(e)), None)
  ending = name[-len(double) :] if double else pathlib.PurePath(name).suffix
  return name[: len(name) - len(ending)], ending


def missing(ending: str) -> str | None:
  """Command that installs the reader of files with an ending; None if there."""
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
  """Reads the header of a picture; no pixel is decoded.

  Args:
    data: a file of this machine, or its contents.

  Raises:
    NeedsPackageError: the picture needs a package.
    Exception: Pillow's, of all kinds: it is no picture that can be read.
  """
  try:
    return Image.open(_file(data), formats=_READERS)
  except Image.UnidentifiedImageError:
    if not _is_heif(data):
      raise
  if not _heif_installed():
    raise NeedsPackageError(f'HEIC is read after: {_INSTALL_HEIF}')
  _register_heif()
  return Image.open(_file(data), formats=(HEIF.reader,))


def _file(data):
  return io.BytesIO(data) if isinstance(data, bytes) else data


def _is_heif(data):
  """Returns True if a file says that it is HEIF, whatever its name."""
  if isinstance(data, bytes):
    start = data[: _BRAND.stop]
  else:
    with data.open('rb') as file:
      start = file.read(_BRAND.stop)
  return start[_KIND] == b'ftyp' and start[_BRAND] in _HEIF_BRANDS


def _register_heif():
  """Makes pillow-heif known to Pillow: only here, as it takes time to load."""
  with _registering:
    if HEIF.reader not in Image.OPEN:
      import pillow_heif

      # Less of a file is parsed, and pictures are decoded several at a time.
      pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
      )
