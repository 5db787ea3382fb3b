"""A page of a TIFF: its checks, its values, and what its colours mean."""

import math
from typing import Any

import numpy as np
from jaxtyping import Num

from cyclegan_jax.data.arrays import base, codestream

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = 0, 1, 2, 3
_CMYK, _YCBCR, _LINEAR = 5, 6, 34892  # photometric interpretations, all
_JPEG = 7
# Those that are read, and the most that each of them saves: a file that
# declares more than that is damaged or a bomb.
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
_SMALL_TILE = 2**24  # pixels that a tile may have in any picture
_START = 2**16  # bytes that hold a JPEG's header
# Turns and flips that make a picture upright: transpose, rows, columns.
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
  """Facts of a `tifffile.TiffPage`.

  Raises:
    ValueError: it is of a kind that is not read, or too large.
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
  """Values of a `tifffile.TiffPage`, upright and with black below white.

  Raises:
    ValueError: as `facts`.
    Exception: tifffile's own, for a damaged file.
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
    raise ValueError('it is damaged')
  return array


def _type(page):
  """Type of the stored values.

  Raises:
    ValueError: they are not 1, 8, 16, 32 or 64 bits of one known type.
  """
  bits, kind = page.bitspersample, page.dtype
  few = (1, 2, 4, 8, 16) if page.photometric == _PALETTE else ()
  if kind is None or bits not in (1, 8, 16, 32, 64, *few):
    raise ValueError(
      f'values of {bits} bits of format {page.sampleformat} are not read: save '
      'them with 8, 16 or 32 bits'
    )
  return base.number_type(kind)


def _check_layout(page):
  if page.imagedepth != 1 or page.tiledepth != 1:
    raise ValueError('pages with a depth are not read')
  if page.planarconfig not in (_INTERLEAVED, _SEPARATE):
    raise ValueError(f'planar configuration {page.planarconfig} is unknown')
  if page.compression not in _COMPRESSIONS:
    name = getattr(page.compression, 'name', page.compression)
    raise ValueError(
      f'compression {name} is not read: save it with deflate or LZW'
    )
  if page.predictor not in _PREDICTORS:
    raise ValueError(f'predictor {page.predictor} is not read')
  is_jpeg = page.compression == _JPEG
  if is_jpeg and (page.bitspersample != 8 or page.dtype != np.uint8):
    raise ValueError('JPEG compression of other than 8 bits is not read')
  known = {_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _LINEAR}
  if page.photometric not in known | ({_YCBCR} if is_jpeg else set()):
    name = getattr(page.photometric, 'name', page.photometric)
    raise ValueError(f'colours of the kind {name} are not read: save it as RGB')
  if page.photometric == _PALETTE:
    _check_palette(page)


def _check_palette(page):
  if page.samplesperpixel != 1 or page.dtype.kind not in 'bu':
    raise ValueError('a palette for more than one band is not read')
  _colours(page)


def _check_size(page, dtype):
  """Raises `ValueError` if the file cannot hold what it declares."""
  if page.is_tiled:
    tile = page.tilewidth * page.tilelength
    if not 0 < tile <= max(_SMALL_TILE, 4 * page.imagewidth * page.imagelength):
      raise ValueError('its tiles are too large')
    base.check(page.tilewidth, page.tilelength, page.samplesperpixel)
  elif page.rowsperstrip < 1:
    raise ValueError('its strips have no rows')
  segments = math.prod(page.chunked)
  if not segments == len(page.dataoffsets) == len(page.databytecounts):
    raise ValueError('some of its strips or tiles are missing')
  row = math.ceil(page.imagewidth * page.bitspersample / 8)
  size = row * page.imagelength * page.samplesperpixel
  if size > page.parent.filehandle.size * _COMPRESSIONS[page.compression]:
    raise ValueError('it is cut off')


def _check_segments(page):
  """Raises `ValueError` for JPEGs of another size than their tiles."""
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
        raise ValueError('a JPEG in it is larger than its strip or tile')


def _colours(page):
  """The palette: [colours, 3] uint8, of 16 bits the upper ones."""
  table = page.tags.valueof(_COLOUR_MAP)
  size = 3 * 2**page.bitspersample
  if table is None or np.size(table) != size:
    raise ValueError('its palette is damaged')
  table = np.reshape(table, (3, -1)).T
  # Some programs write 8 bits.
  return (table if table.max() < 256 else table // 256).astype(np.uint8)


def _inverted(array, bands):
  """White-is-zero made black-is-zero for the first bands."""
  array = np.array(array)
  array[..., :bands] = np.invert(array[..., :bands])
  return array


def _turn(page):
  """Turns that make the picture upright; see `_UPRIGHT`."""
  return _UPRIGHT.get(page.tags.valueof(_ORIENTATION), (False, False, False))
