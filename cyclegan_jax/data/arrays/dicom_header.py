"""The header of a DICOM file: what is needed to read its pictures."""

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
  """Facts that a file states of its pictures.

  Attributes:
    tags: its pydicom `Dataset`, of few tags.
    syntax: `UID` of its transfer syntax.
    keyword: name of the tag with the pixels.
    kind: type of that tag, such as 'OW'.
    rows: height of a picture.
    columns: width of a picture.
    samples: values of a pixel as they are stored, 1 or 3.
    planar: 1 where the samples are stored one after the other.
    allocated: bits that a value takes.
    stored: bits of these that are used.
    signed: 1 for signed values.
    colours: kind of the colours, such as 'MONOCHROME2'.
    frames: number of pictures.
    rescale: (slope, intercept) of all pictures, or one pair for each.
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
    """Type of the stored values; bool for single bits."""
    if self.keyword in _FLOATS:
      return np.dtype(_FLOATS[self.keyword])
    if self.allocated == 1:
      return np.dtype(bool)
    return np.dtype(f'{"iu"[not self.signed]}{self.allocated // 8}')

  @property
  def ends(self) -> tuple[int, int]:
    """The lowest and the highest integer of so many stored bits."""
    half = 2 ** (self.stored - 1)
    return (-half, half - 1) if self.signed else (0, 2 * half - 1)


def read(file: BinaryIO) -> Header:
  """Reads a header; the file is left at the first byte of its pixels.

  Raises:
    ValueError: it is no DICOM picture, or not one that can be read.
    Exception: pydicom's own, for a damaged file.
  """
  tags, syntax = dicom_file.dataset(file, _TAGS)
  if _MODALITY_TABLE in tags:
    raise ValueError('values that need a modality table are not read')
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
    raise ValueError(f'it has no picture, as {name} is missing')
  try:
    return int(value)
  except (TypeError, ValueError):
    raise ValueError(f'{name} of {value!r} is no number') from None


def _rescale(tags, frames):
  """(slope, intercept) of all frames, or one pair for each."""
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
  """Raises `ValueError` for what is not read, or is too large."""
  if header.colours in (*GRAY, PALETTE):
    samples = 1
  elif header.colours == 'RGB' or header.colours in _YBR:
    samples = 3
  else:
    raise ValueError(f'colours of the kind {header.colours} are not read')
  if header.samples != samples:
    raise ValueError(
      f'{header.samples} samples do not fit to {header.colours} colours'
    )
  allowed = (8,) if header.colours in _YBR else (1, 8, 16, 32, 64)
  if header.allocated not in allowed:
    raise ValueError(
      f'{header.colours} values of {header.allocated} bits are not read'
    )
  if not 1 <= header.stored <= header.allocated or header.signed not in (0, 1):
    raise ValueError('its numbers of bits are damaged')
  if not 1 <= header.frames <= _MAX_FRAMES:
    raise ValueError(f'{header.frames} frames are too few or too many')
  base.check(header.columns, header.rows, header.samples)


def _check_length(file, header, length):
  """Raises `ValueError` if the file cannot hold what it declares."""
  place = file.tell()
  left = file.seek(0, os.SEEK_END) - place
  file.seek(place)
  if header.syntax.is_encapsulated:
    return
  values = header.rows * header.columns * header.samples * header.frames
  if header.colours == _SUBSAMPLED:
    values = values // 3 * 2
  if math.ceil(values * header.allocated / 8) > min(length, left):
    raise ValueError('it is cut off')
