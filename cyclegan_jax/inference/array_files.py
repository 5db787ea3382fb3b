"""Writes pictures of any number of channels as TIFF, .npy and .npz files."""

import importlib
import io
import re

import numpy as np

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import arrays
from cyclegan_jax.data.arrays import base

# Types whose three channels are red, green and blue.
_COLOUR = (np.uint8, np.uint16)
_LONGEST_TIFF = 2**32 - 2**25  # bytes of pixels; larger ones need BigTIFF
# Tags of the input that hold for any values on the same grid of pixels: scale,
# tie points and transformation, then the keys of GeoTIFF and their values.
_GRID = (33550, 33922, 34264, 34735, 34736, 34737)
_GDAL_METADATA, _GDAL_NODATA = 42112, 42113
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 282, 283, 296
_ORIENTATION, _UPRIGHT = 274, 1
_ON_SIDE = (5, 6, 7, 8)  # orientations; readers turn such pictures upright
_NO_UNIT, _INCH, _UNITS = 1, 2, (1, 2, 3)
_ASCII = 2  # the type of texts
# GDAL's records of the values that the input has.
_STATISTICS = re.compile(r'\s*<Item name="STATISTICS_[^>]*>[^<]*</Item>')


def library(path, ending):
  """Imports the package that writes a file.

  Args:
    path: the file.
    ending: of the files that the package reads and writes, such as '.nii'.

  Raises:
    UserError: it is not installed.
  """
  known = arrays.find(ending)
  if command := arrays.missing(known):
    raise UserError(f'{path} is written after: {command}')
  return importlib.import_module(known.package)


def write_tiff(path, array, like=None):
  """Writes a TIFF file, compressed by Deflate, whole or not at all.

  The channels of a pixel are stored side by side. Three channels of uint8 or
  uint16 are red, green and blue; of several others the first is gray and the
  rest have no meaning.

  Args:
    path: the file.
    array: [height, width, channels] of integers or floats.
    like: a TIFF file, or its contents, whose resolution is kept; or None.
      Georeferences and the metadata of GDAL are kept too where they fit: the
      grid for an equal height and width that were stored upright, metadata for
      an equal number of channels, and the value that means "no data" for a type
      that has it.

  Raises:
    UserError: tifffile is not installed, or the file can't be written.
  """
  tifffile = library(path, '.tif')
  channels = array.shape[-1]
  colour = channels == 3 and array.dtype in _COLOUR
  file = io.BytesIO()
  tifffile.imwrite(
    file,
    array[..., 0] if channels == 1 else array,
    bigtiff=array.nbytes > _LONGEST_TIFF,
    photometric='rgb' if colour else 'minisblack',
    planarconfig=None if channels == 1 else 'contig',
    compression='zlib',
    software=False,
    metadata=None,
    **_kept(tifffile, like, array) if like else {},
  )
  files.write(path, file.getvalue())


def has_tifffile():
  """Returns True if `write_tiff` has what it needs."""
  return not arrays.missing(arrays.find('.tif'))


def write_png(path, array):
  """Writes a PNG file of 16 bits per colour, whole or not at all.

  Args:
    path: the file.
    array: uint16 [height, width, 3].

  Raises:
    UserError: imagecodecs is not installed, or the file can't be written.
  """
  imagecodecs = library(path, '.png')
  files.write(path, bytes(imagecodecs.png_encode(array)))


def _kept(tifffile, like, array):
  """The tags of a TIFF file that hold for an array too: words of `imwrite`."""
  with base.opened(like) as file, tifffile.TiffFile(file) as tiff:
    page = tiff.pages.first
    tags = {tag.code: tag for tag in page.tags}
    keep = []
    turned = page.tags.valueof(_ORIENTATION, default=_UPRIGHT)
    size = page.imagelength, page.imagewidth
    if size == array.shape[:2] and turned == _UPRIGHT:
      keep += _GRID
    if page.samplesperpixel == array.shape[-1]:
      keep.append(_GDAL_METADATA)
    nodata = tags.get(_GDAL_NODATA)
    if nodata and _has_value(array.dtype, nodata.value):
      keep.append(_GDAL_NODATA)
    copies = [_copied(tags[code]) for code in keep if code in tags]
    return {'extratags': copies} | _resolution(page.tags, turned in _ON_SIDE)


def _copied(tag):
  """A tag as `imwrite` takes it."""
  value = tag.value
  if tag.dtype == _ASCII:  # GDAL has texts of UTF-8
    value = value.encode() if isinstance(value, str) else bytes(value)
    if tag.code == _GDAL_METADATA:
      value = _STATISTICS.sub('', value.decode(errors='replace')).encode()
  return tag.code, int(tag.dtype), tag.count, value, True


def _has_value(dtype, text):
  """Returns True if a NumPy type has the number in a text among its values."""
  try:
    value = float(text)
    if np.issubdtype(dtype, np.integer):
      info = np.iinfo(dtype)
      return info.min <= value <= info.max and value.is_integer()
    return not abs(value) > float(np.finfo(dtype).max)  # NaN is one
  except (TypeError, ValueError):
    return False


def _resolution(tags, on_side):
  """The resolution, across and down, that tags tell: words of `imwrite`."""
  pair = tags.valueof(_X_RESOLUTION), tags.valueof(_Y_RESOLUTION)
  unit = tags.valueof(_UNIT, default=_INCH)
  for x in pair:  # numerator and denominator
    if not isinstance(x, tuple) or len(x) != 2 or not x[1]:
      return {}
  return {
    'resolution': pair[::-1] if on_side else pair,
    'resolutionunit': unit if unit in _UNITS else _NO_UNIT,
  }


def write_npy(path, array, flat=False):
  """Writes an array as a .npy file, whole or not at all.

  Args:
    path: the file.
    array: [height, width, channels].
    flat: whether one channel is written as [height, width].

  Raises:
    UserError: the file can't be written.
  """
  file = io.BytesIO()
  np.save(file, _flat(array) if flat else array)
  files.write(path, file.getvalue())


def write_npz(path, array, flat=False):
  """Writes an array as the only one of a compressed .npz file; `write_npy`."""
  file = io.BytesIO()
  np.savez_compressed(file, _flat(array) if flat else array)
  files.write(path, file.getvalue())


def _flat(array):
  return array[..., 0] if array.shape[-1] == 1 else array
