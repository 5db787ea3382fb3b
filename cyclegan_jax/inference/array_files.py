"""Writes arrays of any number of channels as TIFF, .npy and .npz files."""

import importlib
import io
import re

import numpy as np

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import arrays
from cyclegan_jax.data.arrays import base

# Three channels of these types are written as red, green and blue.
_COLOUR = (np.uint8, np.uint16)
_LONGEST_TIFF = 2**32 - 2**25  # bytes of pixels; larger ones need BigTIFF
# Tags of the input that stay valid for other values on its pixel grid: scale,
# tie points and transformation, then the keys of GeoTIFF and their values.
_GRID = (33550, 33922, 34264, 34735, 34736, 34737)
_GDAL_METADATA, _GDAL_NODATA = 42112, 42113
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 282, 283, 296
_ORIENTATION, _UPRIGHT = 274, 1
_ON_SIDE = (5, 6, 7, 8)  # orientations that swap width and height
_NO_UNIT, _INCH, _UNITS = 1, 2, (1, 2, 3)
_ASCII = 2  # the type of tags that hold text
# Statistics of the input's values, as GDAL records them.
_STATISTICS = re.compile(r'\s*<Item name="STATISTICS_[^>]*>[^<]*</Item>')


def library(path, ending):
  """Imports and returns the package that writes files of an ending.

  Args:
    path: the file to write, for the error message.
    ending: an ending of `data.arrays`, such as '.nii', whose package is
      imported.

  Raises:
    UserError: the package is not installed.
  """
  known = arrays.find(ending)
  if command := arrays.missing(known):
    raise UserError(
      f'{path}: a package is missing to write this file: run {command}'
    )
  return importlib.import_module(known.package)


def write_tiff(path, array, like=None):
  """Writes an array as a TIFF file, compressed by Deflate.

  The file is written completely or not at all. The channels of a pixel are
  stored side by side. Three channels of uint8 or uint16 are marked as red,
  green and blue. Any other number or type of channels is marked as gray, with
  the channels after the first one as unspecified.

  Args:
    path: the file to write.
    array: [height, width, channels] of integers or floats.
    like: path or contents of a TIFF file whose resolution is copied, or None.
      The georeference of `like` is copied if `like` has the height and width
      of `array` and its pixels are stored upright. The GDAL metadata of `like`
      is copied if the number of channels is equal, and its "no data" value if
      the type of `array` can hold that value.

  Raises:
    UserError: tifffile is not installed, or the file cannot be written.
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
  """Returns True if tifffile, which `write_tiff` needs, is installed."""
  return not arrays.missing(arrays.find('.tif'))


def write_png(path, array):
  """Writes an array as an RGB PNG file with 16 bits per channel.

  The file is written completely or not at all.

  Args:
    path: the file to write.
    array: uint16 [height, width, 3].

  Raises:
    UserError: imagecodecs is not installed, or the file cannot be written.
  """
  imagecodecs = library(path, '.png')
  files.write(path, bytes(imagecodecs.png_encode(array)))


def _kept(tifffile, like, array):
  """Returns the tags of TIFF file `like` to copy, as arguments of `imwrite`."""
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
  """Returns a tag of a TIFF file as an entry of `extratags` of `imwrite`."""
  value = tag.value
  if tag.dtype == _ASCII:  # GDAL writes its texts in UTF-8
    value = value.encode() if isinstance(value, str) else bytes(value)
    if tag.code == _GDAL_METADATA:
      value = _STATISTICS.sub('', value.decode(errors='replace')).encode()
  return tag.code, int(tag.dtype), tag.count, value, True


def _has_value(dtype, text):
  """Returns True if a NumPy type can hold the number that a text gives."""
  try:
    value = float(text)
    if np.issubdtype(dtype, np.integer):
      info = np.iinfo(dtype)
      return info.min <= value <= info.max and value.is_integer()
    return not abs(value) > float(np.finfo(dtype).max)  # True for NaN
  except (TypeError, ValueError):
    return False


def _resolution(tags, on_side):
  """Returns the resolution in the tags, as arguments of `imwrite`."""
  pair = tags.valueof(_X_RESOLUTION), tags.valueof(_Y_RESOLUTION)
  unit = tags.valueof(_UNIT, default=_INCH)
  for x in pair:  # (numerator, denominator)
    if not isinstance(x, tuple) or len(x) != 2 or not x[1]:
      return {}
  return {
    'resolution': pair[::-1] if on_side else pair,
    'resolutionunit': unit if unit in _UNITS else _NO_UNIT,
  }


def write_npy(path, array, flat=False):
  """Writes an array as a .npy file, completely or not at all.

  Args:
    path: the file to write.
    array: [height, width, channels].
    flat: if True, an array of one channel is written as [height, width].

  Raises:
    UserError: the file cannot be written.
  """
  file = io.BytesIO()
  np.save(file, _flat(array) if flat else array)
  files.write(path, file.getvalue())


def write_npz(path, array, flat=False):
  """Writes an array as the only array of a compressed .npz file.

  The file is written completely or not at all.

  Args:
    path: the file to write.
    array: [height, width, channels].
    flat: if True, an array of one channel is written as [height, width].

  Raises:
    UserError: the file cannot be written.
  """
  file = io.BytesIO()
  np.savez_compressed(file, _flat(array) if flat else array)
  files.write(path, file.getvalue())


def _flat(array):
  return array[..., 0] if array.shape[-1] == 1 else array
