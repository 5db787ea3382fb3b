"""Header of a DICOM file: the facts needed to decode its pictures."""

import math
import os
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from cyclegan_jax.data.arrays import base, dicom_file

_FLOATS = {'FloatPixelData': np.float32, 'DoubleFloatPixelData': np.float64}
TABLES = (
  tuple(range(0x00281101, 0x00281104)),
  tuple(range(0x00281201, 0x00281204)),
)
_MODALITY_TABLE, _SHARED, _PER_FRAME = 0x00283000, 0x52009229, 0x52009230
_TRANSFORMATION = 0x00289145
_SLOPE, _INTERCEPT = 0x00281053, 0x00281052
_TAGS = [
  *range(0x00280002, 0x00280012),
  *range(0x00280100, 0x00280104),
  *(tag for table in TABLES for tag in table),
  *(_SLOPE, _INTERCEPT, _MODALITY_TABLE, _SHARED, _PER_FRAME),
]
GRAY, PALETTE = ('MONOCHROME1', 'MONOCHROME2'), 'PALETTE COLOR'
_YBR = ('YBR_FULL', 'YBR_FULL_422', 'YBR_ICT', 'YBR_RCT')
_SUBSAMPLED = 'YBR_FULL_422'
_MAX_FRAMES = 2**20


class Header(NamedTuple):
  """Facts about the pictures of a DICOM file.

  Attributes:
    tags: pydicom `Dataset` of the tags that were read.
    syntax: pydicom `UID` of the transfer syntax.
    keyword: name of the tag with the pixels, such as 'PixelData'.
    kind: type of the tag with the pixels, such as 'OW'.
    rows: height of a picture in pixels.
    columns: width of a picture in pixels.
    samples: stored values per pixel, 1 or 3.
    planar: 1 if each colour is stored as a plane of its own, else 0.
    allocated: bits that each stored value takes.
    stored: bits of each stored value that are used.
    signed: 1 for signed values, 0 for unsigned ones.
    colours: photometric interpretation, such as 'MONOCHROME2'.
    frames: number of pictures in the file.
    rescale: pairs (slope, intercept): a single pair for all pictures, or one
      pair per picture.
  """

  tags: Any
  syntax: Any
  keyword: str
  kind: str
  rows: int
  columns: int
  samples: int
  planar: int
  allocated: int
  stored: int
  signed: int
  colours: str
  frames: int
  rescale: tuple[tuple[float, float], ...]

  @property
  def stored_type(self) -> np.dtype:
    """NumPy type of the stored values; bool for single bits."""
    if self.keyword in _FLOATS:
      return np.dtype(_FLOATS[self.keyword])
    if self.allocated == 1:
      return np.dtype(bool)
    return np.dtype(f'{"iu"[not self.signed]}{self.allocated // 8}')

  @property
  def ends(self) -> tuple[int, int]:
    """Lowest and highest integer that the stored bits can represent."""
    half = 2 ** (self.stored - 1)
    return (-half, half - 1) if self.signed else (0, 2 * half - 1)


def read(file: BinaryIO) -> Header:
  """Reads the header of a DICOM file and checks it.

  Args:
    file: the file, opened at its start. Afterwards it is at the first byte of
      the pixels.

  Raises:
    ValueError: the file is not a DICOM file, has no picture, or holds a picture
      that is not supported, too large or cut off.
    Exception: any error of pydicom, if the file is damaged.
  """
  tags, syntax = dicom_file.dataset(file, _TAGS)
  if _MODALITY_TABLE in tags:
    raise ValueError('values with a modality lookup table are not supported')
  keyword, kind, length = dicom_file.pixels(file, syntax)
  frames = _number(tags, 'NumberOfFrames', 1) or 1
  allocated = _number(tags, 'BitsAllocated')
  header = Header(
    tags=tags,
    syntax=syntax,
    keyword=keyword,
    kind=kind,
    rows=_number(tags, 'Rows'),
    columns=_number(tags, 'Columns'),
    samples=_number(tags, 'SamplesPerPixel', 1),
    planar=_number(tags, 'PlanarConfiguration', 0),
    allocated=allocated,
    stored=_number(tags, 'BitsStored', allocated),
    signed=_number(tags, 'PixelRepresentation', 0),
    colours=str(tags.get('PhotometricInterpretation', GRAY[1])),
    frames=frames,
    rescale=_rescale(tags, frames),
  )
  _check(header)
  _check_length(file, header, length)
  return header


def _number(tags, name, default=None):
  value = tags.get(name, None)
  if value is None:
    value = default
  if value is None:
    raise ValueError(f'the file has no picture: {name} is missing')
  try:
    return int(value)
  except (TypeError, ValueError):
    raise ValueError(f'{name}={value!r} is not a number') from None


def _rescale(tags, frames):
  """Returns `Header.rescale`: one pair for all frames, or one per frame."""
  if _SLOPE in tags or _INTERCEPT in tags:
    return (_pair(tags),)
  each = [
    _transformation(x) for x in tags.get('PerFrameFunctionalGroupsSequence', ())
  ]
  shared = next(
    (
      _transformation(x) for x in tags.get('SharedFunctionalGroupsSequence', ())
    ),
    None,
  )
  if len(each) == frames and None not in each:
    return tuple(each)
  return (shared or (1.0, 0.0),)


def _transformation(group):
  found = group.get(_TRANSFORMATION)
  return _pair(found.value[0]) if found is not None and found.value else None


def _pair(tags):
  slope, intercept = tags.get('RescaleSlope'), tags.get('RescaleIntercept')
  pair = (
    1.0 if slope is None else float(slope),
    0.0 if intercept is None else float(intercept),
  )
  if not all(map(math.isfinite, pair)):
    raise ValueError(f'rescale slope and intercept {pair} are not finite')
  return pair


def _check(header):
  """Raises `ValueError` if a header is unsupported, damaged or too large."""
  if header.colours in (*GRAY, PALETTE):
    samples = 1
  elif header.colours == 'RGB' or header.colours in _YBR:
    samples = 3
  else:
    raise ValueError(f'colours of the kind {header.colours} are not supported')
  if header.samples != samples:
    raise ValueError(
      f'{header.samples} samples per pixel do not match {header.colours}'
    )
  allowed = (8,) if header.colours in _YBR else (1, 8, 16, 32, 64)
  if header.allocated not in allowed:
    raise ValueError(
      f'{header.colours} values of {header.allocated} bits are not supported'
    )
  if not 1 <= header.stored <= header.allocated or header.signed not in (0, 1):
    raise ValueError('the numbers of bits in the header are damaged')
  if not 1 <= header.frames <= _MAX_FRAMES:
    raise ValueError(f'NumberOfFrames={header.frames} is out of range')
  base.check(header.columns, header.rows, header.samples)


def _check_length(file, header, length):
  """Raises `ValueError` if an uncompressed file is shorter than declared."""
  place = file.tell()
  left = file.seek(0, os.SEEK_END) - place
  file.seek(place)
  if header.syntax.is_encapsulated:
    return
  values = header.rows * header.columns * header.samples * header.frames
  if header.colours == _SUBSAMPLED:
    values = values // 3 * 2
  if math.ceil(values * header.allocated / 8) > min(length, left):
    raise ValueError('the file is cut off')
