"""Reader of DICOM files, which hold one picture or several frames.

The rescale slope and intercept are applied to gray pictures. The values keep
their stored type if slope and intercept change nothing. Otherwise they are
int16 or int32 if every value that the stored bits can represent becomes a whole
number that fits, and float32 if not.
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
  """Returns the facts in the header of a DICOM file.

  Args:
    data: the path of the file, or its bytes.
    cut: not used; every frame has the same size.

  Raises:
    ValueError: the file has no supported picture, or the picture is too large.
    Exception: any error of pydicom, if the file is damaged.
  """
  with base.opened(data) as file:
    return _facts(dicom_header.read(file))


def read(data: base.Data, cut: Cut) -> Num[np.ndarray, 'height width channels']:
  """Returns the values of a picture of a DICOM file.

  A MONOCHROME1 picture, whose lowest value is white, is inverted within the
  range of the stored bits, before slope and intercept are applied: v becomes
  lowest + highest - v.

  Args:
    data: the path of the file, or its bytes.
    cut: `cut.number` chooses the frame of a file with several frames.

  Raises:
    ValueError: the file has no supported picture, or the picture is too large;
      or the file has several frames and `cut.number` is None or out of range;
      or no installed package can decompress the file.
    Exception: any error of pydicom, if the file is damaged.
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
  """Returns the type of gray values after slope and intercept are applied."""
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
  """Returns a frame's stored values: [rows, columns(, 3)], colours as RGB."""
  from pydicom import pixels

  try:
    decoder = pixels.get_decoder(header.syntax)
  except NotImplementedError:
    raise ValueError(
      f'transfer syntax {header.syntax.name} is not supported'
    ) from None
  if not decoder.is_available:
    raise ValueError(
      f'transfer syntax {header.syntax.name} needs more packages: {_INSTALL}'
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
  except RuntimeError:  # its text has one line per package that was tried
    raise ValueError(
      f'no installed package can decode the {header.syntax.name} data'
    ) from None
  return array


def _check_frame(file, header, index):
  """Raises `ValueError` if a compressed frame does not fit the file's header.

  The size that the frame declares must be the size in the header. The data of
  an RLE frame declares no size and must be long enough.
  """
  from pydicom import encaps

  place = file.tell()
  frame = encaps.get_frame(file, index, number_of_frames=header.frames)
  file.seek(place)
  if header.syntax == _RLE:
    values = header.rows * header.columns * header.samples
    if values * header.allocated // 8 > len(frame) * _RLE_RATIO:
      raise ValueError('the file is cut off')
    return
  told = codestream.declared(frame)
  if told != (header.columns, header.rows, header.samples):
    raise ValueError(
      f'the compressed picture is {told.width}x{told.height} with '
      f'{told.channels} channels, which differs from the header'
    )


def _values(header, array, index):
  """Returns gray values: inverted for MONOCHROME1, then rescaled."""
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
  """Returns the palette as uint8 [colours, 3]; 16-bit entries lose 8 bits."""
  descriptors, tables = dicom_header.TABLES
  tags = header.tags
  if not all(x in tags for x in (*descriptors, *tables)):
    raise ValueError('the palette is missing or of an unsupported kind')
  count = tags[descriptors[0]].value[0] or 2**16
  size = {len(tags[x].value) for x in tables}
  order = '<' if header.syntax.is_little_endian else '>'
  # A table of an odd number of bytes is padded with one byte.
  kinds = {2 * count: f'{order}u2', count: 'u1', count + count % 2: 'u1'}
  if len(size) != 1 or (length := size.pop()) not in kinds:
    raise ValueError('the palette is damaged')
  table = np.stack(
    [np.frombuffer(tags[x].value, kinds[length])[:count] for x in tables], -1
  )
  is_deep = tags[descriptors[0]].value[2] > 8
  return (table >> 8 if is_deep else table).astype(np.uint8)


def _indices(header, array):
  """Returns an index into the palette per pixel.

  The first colour of a palette may stand for any value, not only for 0.
  """
  count, first, _ = header.tags[dicom_header.TABLES[0][0]].value
  return np.clip(array.astype(np.int64) - first, 0, (count or 2**16) - 1)
