"""DICOM files: one picture, or the frames of one file.

Of gray pictures the slope and intercept are applied. The type of the values is
the stored one where these change nothing, else int16 or int32 if all values
that the stored bits can have become whole numbers that fit, else float32.
"""

from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Num

from cyclegan_jax.data.arrays import base, codestream, dicom_header
from cyclegan_jax.data.arrays.dicom_series import geometry as geometry
from cyclegan_jax.data.arrays.dicom_series import position as position
from cyclegan_jax.data.picture import Cut

_INVERTED = 'MONOCHROME1'
_RLE = '1.2.840.10008.1.2.5'
_RLE_RATIO = 64
_INSTALL = "pip install -e '.[medical]'"


def facts(data: base.Data, cut: Cut) -> base.Facts:
  """Facts of a file's pictures; see `base.ArrayFormat`.

  Raises:
    ValueError: it has no picture that can be read, or a too large one.
    Exception: pydicom's own, for a damaged file.
  """
  with base.opened(data) as file:
    return _facts(dicom_header.read(file))


def read(data: base.Data, cut: Cut) -> Num[np.ndarray, 'height width channels']:
  """Values of a picture; see `base.ArrayFormat`.

  MONOCHROME1, where the lowest value is white, is inverted within the range of
  the stored bits, before slope and intercept: v becomes lowest + highest - v.

  Raises:
    ValueError: as `facts`; or several frames without `cut.number`; or the
      package that decompresses it is missing.
    Exception: pydicom's own, for a damaged file.
  """
  with base.opened(data) as file:
    header = dicom_header.read(file)
    told = _facts(header)
    index = 0
    if told.slices is not None:
      index = base.pick(cut, told.slices, 'frames')
    array = _decoded(file, header, index)
  if header.colours == dicom_header.PALETTE:
    array = _colours(header)[_indices(header, array)]
  elif header.samples == 1:
    array = _values(header, array, index)
  array = array.reshape(header.rows, header.columns, -1)
  return np.ascontiguousarray(array, told.dtype)


def _facts(header):
  size, frames = (header.columns, header.rows), header.frames
  slices = frames if frames > 1 else None
  if header.colours == dicom_header.PALETTE:
    base.check(*size, 3)
    return base.Facts(size, 3, np.dtype(np.uint8), slices, colour=True)
  dtype = header.stored_type if header.samples == 3 else _type(header)
  return base.Facts(
    size, header.samples, dtype, slices, colour=header.samples == 3
  )


def _type(header):
  """Type of gray values with slope and intercept applied."""
  if set(header.rescale) == {(1.0, 0.0)}:
    return header.stored_type
  if header.stored_type.kind == 'f':
    return np.dtype(np.float32)
  ends = [
    slope * x + intercept
    for slope, intercept in header.rescale
    for x in header.ends
  ]
  if all(x.is_integer() for pair in header.rescale for x in pair):
    for kind in (np.int16, np.int32):
      info = np.iinfo(kind)
      if info.min <= min(ends) and max(ends) <= info.max:
        return np.dtype(kind)
  return np.dtype(np.float32)


def _decoded(file: BinaryIO, header: dicom_header.Header, index: int):
  """Stored values of a frame: [rows, columns] or [rows, columns, 3] in RGB."""
  from pydicom import pixels

  try:
    decoder = pixels.get_decoder(header.syntax)
  except NotImplementedError:
    raise ValueError(
      f'transfer syntax {header.syntax.name} is not read'
    ) from None
  if not decoder.is_available:
    raise ValueError(
      f'transfer syntax {header.syntax.name} is read after: {_INSTALL}'
    )
  if header.syntax.is_encapsulated:
    _check_frame(file, header, index)
  options: dict[str, Any] = {
    'rows': header.rows,
    'columns': header.columns,
    'samples_per_pixel': header.samples,
    'photometric_interpretation': header.colours,
    'planar_configuration': header.planar,
    'number_of_frames': header.frames,
    'bits_allocated': header.allocated,
    'bits_stored': header.stored,
    'pixel_representation': header.signed,
    'pixel_keyword': header.keyword,
    'pixel_vr': header.kind,
  }
  try:
    array, _ = decoder.as_array(file, index=index, **options)
  except RuntimeError:  # one line per package that was tried
    raise ValueError(
      f'no installed package can read its {header.syntax.name} data'
    ) from None
  return array


def _check_frame(file, header, index):
  """Raises `ValueError` if a compressed frame is of another size."""
  from pydicom import encaps

  place = file.tell()
  frame = encaps.get_frame(file, index, number_of_frames=header.frames)
  file.seek(place)
  if header.syntax == _RLE:
    values = header.rows * header.columns * header.samples
    if values * header.allocated // 8 > len(frame) * _RLE_RATIO:
      raise ValueError('it is cut off')
    return
  told = codestream.declared(frame)
  if told != (header.columns, header.rows, header.samples):
    raise ValueError(
      f'its compressed picture is of size {told.width}x{told.height} with '
      f'{told.channels} channels, which differs from its header'
    )


def _values(header, array, index):
  """Gray values of stored ones."""
  if header.colours == _INVERTED and array.dtype.kind in 'iu':
    low, high = header.ends
    array = low + (high - np.clip(array, low, high))
  slope, intercept = header.rescale[index if len(header.rescale) > 1 else 0]
  if (slope, intercept) == (1.0, 0.0):
    return array
  if _type(header).kind == 'i':
    return array.astype(np.int64) * int(slope) + int(intercept)
  return array * np.float64(slope) + np.float64(intercept)


def _colours(header):
  """The palette: [colours, 3] uint8, of 16 bits the upper ones."""
  descriptors, tables = dicom_header.TABLES
  tags = header.tags
  if not all(x in tags for x in (*descriptors, *tables)):
    raise ValueError('its palette is missing or of a kind that is not read')
  count = tags[descriptors[0]].value[0] or 2**16
  size = {len(tags[x].value) for x in tables}
  order = '<' if header.syntax.is_little_endian else '>'
  # One of an odd number of bytes is filled up.
  kinds = {2 * count: f'{order}u2', count: 'u1', count + count % 2: 'u1'}
  if len(size) != 1 or (length := size.pop()) not in kinds:
    raise ValueError('its palette is damaged')
  table = np.stack(
    [np.frombuffer(tags[x].value, kinds[length])[:count] for x in tables], -1
  )
  is_deep = tags[descriptors[0]].value[2] > 8
  return (table >> 8 if is_deep else table).astype(np.uint8)


def _indices(header, array):
  """Numbers of the colours; a palette may begin at any value."""
  count, first, _ = header.tags[dicom_header.TABLES[0][0]].value
  return np.clip(array.astype(np.int64) - first, 0, (count or 2**16) - 1)
