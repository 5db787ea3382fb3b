"""Reader of one TIFF page: checks the page, returns its values as a picture."""

import math
from typing import Any

import numpy as np
from jaxtyping import Num

from cyclegan_jax.data.arrays import base, codestream

# Photometric interpretations.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = 0, 1, 2, 3
_CMYK, _YCBCR, _LINEAR = 5, 6, 34892
_JPEG = 7
# Supported compressions and their highest ratio: a file that declares more
# values than its size allows is damaged or a decompression bomb.
_COMPRESSIONS = {
  1: 1,
  5: 2000,  # LZW
  _JPEG: 4000,
  8: 1100,  # deflate
  32946: 1100,
  32773: 130,  # PackBits
  34925: 10000,  # LZMA
  50000: 40000,  # Zstandard
}
_PREDICTORS = (1, 2, 3)
_INTERLEAVED, _SEPARATE = 1, 2
_FLOAT = 3
_PHOTOMETRIC, _ORIENTATION, _COLOUR_MAP = 262, 274, 320  # tags
_SMALL_TILE = 2**24  # pixels allowed in a tile even if the picture is smaller
_START = 2**16  # bytes that surely include a JPEG's header
# By orientation, to make a picture upright: transpose, then reverse the rows,
# then reverse the columns.
_UPRIGHT = {
  2: (False, False, True),
  3: (False, True, True),
  4: (False, True, False),
  5: (True, False, False),
  6: (True, False, True),
  7: (True, True, True),
  8: (True, True, False),
}


def facts(page: Any) -> base.Facts:
  """Returns the facts in the header of a `tifffile.TiffPage`.

  Raises:
    ValueError: the page is damaged, not supported or too large.
  """
  width, height, bands = page.imagewidth, page.imagelength, page.samplesperpixel
  base.check(width, height, bands)
  dtype = _type(page)
  _check_layout(page)
  _check_size(page, dtype)
  if _turn(page)[0]:
    width, height = height, width
  if page.photometric == _PALETTE:
    base.check(width, height, 3)
    return base.Facts((width, height), 3, np.dtype(np.uint8), colour=True)
  colour = bands == 3 and page.photometric in (_RGB, _YCBCR, _LINEAR)
  return base.Facts((width, height), bands, dtype, colour=colour)


def read(page: Any) -> Num[np.ndarray, 'height width channels']:
  """Returns the values of a `tifffile.TiffPage`, turned upright.

  Palette indices become RGB colours. Boolean and unsigned values that store
  white as zero are inverted.

  Raises:
    ValueError: the page is damaged, not supported or too large.
    Exception: any error of tifffile, if the file is damaged.
  """
  told = facts(page)
  _check_segments(page)
  # [separate bands, 1, height, width, interleaved bands]
  array = page.asarray(squeeze=False, maxworkers=1)[:, 0]
  array = array.transpose(1, 2, 0, 3).reshape(*array.shape[1:3], -1)
  if page.photometric == _PALETTE:
    array = _colours(page)[array[..., 0]]
  elif page.photometric == _WHITE_IS_ZERO and told.dtype.kind in 'bu':
    array = _inverted(array, max(1, told.channels - len(page.extrasamples)))
  turned, rows, columns = _turn(page)
  if turned:
    array = array.transpose(1, 0, 2)
  array = array[:: -1 if rows else 1, :: -1 if columns else 1]
  array = np.ascontiguousarray(array, told.dtype)
  if array.shape != (*told.size[::-1], told.channels):
    raise ValueError('the page is damaged')
  return array


def _type(page):
  """Returns the NumPy type of a page's stored values.

  Raises:
    ValueError: the values do not have 1, 8, 16, 32 or 64 bits (for a palette
      also 2 or 4) of one known type.
  """
  bits, kind = page.bitspersample, page.dtype
  few = (1, 2, 4, 8, 16) if page.photometric == _PALETTE else ()
  if kind is None or bits not in (1, 8, 16, 32, 64, *few):
    raise ValueError(
      f'values of {bits} bits of format {page.sampleformat} are not supported: '
      'save them with 8, 16 or 32 bits'
    )
  return base.number_type(kind)


def _check_layout(page):
  if page.imagedepth != 1 or page.tiledepth != 1:
    raise ValueError('pages with a depth are not supported')
  if page.planarconfig not in (_INTERLEAVED, _SEPARATE):
    raise ValueError(f'planar configuration {page.planarconfig} is unknown')
  if page.compression not in _COMPRESSIONS:
    name = getattr(page.compression, 'name', page.compression)
    raise ValueError(
      f'compression {name} is not supported: save it with deflate or LZW'
    )
  if page.predictor not in _PREDICTORS:
    raise ValueError(f'predictor {page.predictor} is not supported')
  is_jpeg = page.compression == _JPEG
  if is_jpeg and (page.bitspersample != 8 or page.dtype != np.uint8):
    raise ValueError('JPEG compression is supported for 8-bit values only')
  known = {_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _LINEAR}
  if page.photometric not in known | ({_YCBCR} if is_jpeg else set()):
    name = getattr(page.photometric, 'name', page.photometric)
    raise ValueError(
      f'colours of kind {name} are not supported: save it as RGB'
    )
  if page.photometric == _PALETTE:
    _check_palette(page)


def _check_palette(page):
  if page.samplesperpixel != 1 or page.dtype.kind not in 'bu':
    raise ValueError('a palette is supported for one band of integers only')
  _colours(page)


def _check_size(page, dtype):
  """Raises `ValueError` if the file is too small for the declared page."""
  if page.is_tiled:
    tile = page.tilewidth * page.tilelength
    if not 0 < tile <= max(_SMALL_TILE, 4 * page.imagewidth * page.imagelength):
      raise ValueError('the tiles of the TIFF are too large')
    base.check(page.tilewidth, page.tilelength, page.samplesperpixel)
  elif page.rowsperstrip < 1:
    raise ValueError('the strips of the TIFF have no rows')
  segments = math.prod(page.chunked)
  if not segments == len(page.dataoffsets) == len(page.databytecounts):
    raise ValueError('some strips or tiles of the TIFF are missing')
  row = math.ceil(page.imagewidth * page.bitspersample / 8)
  size = row * page.imagelength * page.samplesperpixel
  if size > page.parent.filehandle.size * _COMPRESSIONS[page.compression]:
    raise ValueError('the file is cut off')


def _check_segments(page):
  """Raises `ValueError` if a JPEG is larger than its strip or tile."""
  if page.compression != _JPEG:
    return
  width, height = page.imagewidth, page.rowsperstrip
  if page.is_tiled:
    width, height = page.tilewidth, page.tilelength
  file = page.parent.filehandle
  for place, size in zip(page.dataoffsets, page.databytecounts):
    file.seek(place)
    if size:
      told = codestream.declared(file.read(min(size, _START)))
      if told.width > width or told.height > height or told.channels > 4:
        raise ValueError('a JPEG in the file is larger than its strip or tile')


def _colours(page):
  """Returns the palette as uint8 [colours, 3]; 16-bit entries lose 8 bits."""
  table = page.tags.valueof(_COLOUR_MAP)
  size = 3 * 2**page.bitspersample
  if table is None or np.size(table) != size:
    raise ValueError('the palette is damaged')
  table = np.reshape(table, (3, -1)).T
  # Some programs write 8-bit entries, although TIFF requires 16 bits.
  return (table if table.max() < 256 else table // 256).astype(np.uint8)


def _inverted(array, bands):
  """Returns a copy of `array` with the first `bands` channels inverted."""
  array = np.array(array)
  array[..., :bands] = np.invert(array[..., :bands])
  return array


def _turn(page):
  """Returns the entry of `_UPRIGHT` that turns a page upright."""
  return _UPRIGHT.get(page.tags.valueof(_ORIENTATION), (False, False, False))
