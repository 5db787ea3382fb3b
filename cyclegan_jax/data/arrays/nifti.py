"""Reader of NIfTI volumes, .nii and .nii.gz, whose slices become pictures.

A file holds values [x, y, z], [x, y, z, channels] or [x, y, z, 1, channels], or
a single picture [x, y]. A slice [i, j] becomes a picture by a quarter turn:
index i is the column, and index j counts the rows from the bottom.
"""

import gzip
import io
import math
import os
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Num

from cyclegan_jax.common import files
from cyclegan_jax.data.arrays import base, volumes
from cyclegan_jax.data.picture import Cut

_GZIP = b'\x1f\x8b'
_RATIO = 1032  # the highest compression ratio of deflate
_HEADER_SIZES = 348, 540  # bytes, of NIfTI-1 and NIfTI-2
_MAX_BYTES = 2**33  # of a volume after decompression
_MAX_OFFSET = 2**26  # bytes before the values
_VOLUME = 3  # number of axes of a volume, without channels
_RGB = {('R', 'G', 'B'): 3, ('R', 'G', 'B', 'A'): 4}
_volumes = volumes.Volumes()


class _Stored(NamedTuple):
  """Header of a NIfTI file; the shape is [x, y(, z(, channels))]."""

  shape: tuple[int, ...]
  dtype: np.dtype  # in the file's byte order
  offset: int  # of the first value, in bytes
  slope: float | None
  inter: float | None
  packed: int  # bytes of an RGB (3) or RGBA (4) value; 0 for other values

  @property
  def nbytes(self):
    return math.prod(self.shape) * self.dtype.itemsize

  @property
  def is_scaled(self):
    return self.slope is not None and (self.slope, self.inter) != (1.0, 0.0)


def facts(data: base.Data, cut: Cut) -> base.Facts:
  """Returns the facts in the header of a NIfTI file.

  Args:
    data: the path of the file, or its bytes.
    cut: `cut.axis` is the axis that slices are taken along.

  Raises:
    ValueError: the file is not a NIfTI file, is cut off, or holds values that
      are not supported or too large.
  """
  with _opened(data, _key(data)) as file:
    stored, _ = _header(file)
  return _facts(stored, cut)


def read(data: base.Data, cut: Cut) -> Num[np.ndarray, 'height width channels']:
  """Returns a slice of a NIfTI file as a picture.

  The slope and intercept of the header are applied. Only the slice is read from
  a .nii file. A .nii.gz file is decompressed as a whole and kept in a cache.

  Args:
    data: the path of the file, or its bytes.
    cut: `cut.axis` and `cut.number` choose the slice of a volume.

  Raises:
    ValueError: the file is not a NIfTI file, is cut off, or holds values that
      are not supported or too large; or the file is a volume and `cut.number`
      is None or out of range.
    OSError: the checksum of a .nii.gz file is wrong.
  """
  key = _key(data)
  with _opened(data, key) as file:
    stored, is_compressed = _header(file)
    told = _facts(stored, cut)
    where: list[Any] = [slice(None)] * len(stored.shape)
    if told.slices is not None:
      where[cut.axis] = base.pick(cut, told.slices, 'slices of a volume')
    if is_compressed:
      whole = _volumes.get(key, lambda: _decompressed(file, stored))
      plane = whole[tuple(where)]
    else:
      plane = _sliced(file, stored, where)
  if stored.packed:
    plane = np.ascontiguousarray(plane)[..., None].view(np.uint8)
  elif stored.is_scaled:
    plane = plane * np.float64(stored.slope) + np.float64(stored.inter)
  if plane.ndim == 2:
    plane = plane[..., None]
  return np.array(to_picture(plane), told.dtype, order='C')


def to_picture(
  plane: Num[np.ndarray, 'i j *channels'],
) -> Num[np.ndarray, 'height width *channels']:
  """Returns the picture of a stored slice: a view, turned by 90 degrees.

  Index i of the slice becomes the column of the picture, and index j counts the
  rows from the bottom.

  Args:
    plane: the slice, [i, j] or [i, j, channels].
  """
  return np.rot90(plane)


def from_picture(
  picture: Num[np.ndarray, 'height width *channels'],
) -> Num[np.ndarray, 'i j *channels']:
  """Returns the stored slice of a picture: the inverse of `to_picture`.

  Args:
    picture: [height, width] or [height, width, channels].

  Returns:
    A view [i, j] or [i, j, channels], where i is the column of the picture and
    j counts the rows from the bottom.
  """
  return np.rot90(picture, -1)


def _facts(stored, cut):
  shape = stored.shape
  is_volume = len(shape) >= _VOLUME
  sides = list(shape[:_VOLUME])
  slices = sides.pop(cut.axis) if is_volume else None
  channels = stored.packed or math.prod(shape[_VOLUME:])
  base.check(*sides, channels)
  if stored.packed:
    dtype = np.dtype(np.uint8)
  elif stored.is_scaled:
    dtype = np.dtype(np.float32)
  else:
    dtype = base.number_type(stored.dtype)
  return base.Facts(
    tuple(sides), channels, dtype, slices, colour=stored.packed == 3
  )


def _header(file):
  """Returns (`_Stored`, True if the file is compressed); reads no values."""
  size = file.seek(0, os.SEEK_END)
  file.seek(0)
  is_compressed = file.read(len(_GZIP)) == _GZIP
  file.seek(0)
  if is_compressed:
    with gzip.open(file) as stream:
      start = stream.read(max(_HEADER_SIZES))
    size *= _RATIO
  else:
    start = file.read(max(_HEADER_SIZES))
  stored = _parsed(start)
  if stored.offset > _MAX_OFFSET or stored.offset + stored.nbytes > size:
    raise ValueError('the file is cut off')
  if is_compressed and stored.nbytes > _MAX_BYTES:
    raise ValueError(
      f'a compressed volume may have at most {_MAX_BYTES:,} bytes: save it as '
      '.nii'
    )
  return stored, is_compressed


def _parsed(start):
  import nibabel as nib

  length = {int.from_bytes(start[:4], x) for x in ('little', 'big')}
  if 348 in length:
    kind, magic, size = nib.Nifti1Header, b'n+1', 348
  elif 540 in length:
    kind, magic, size = nib.Nifti2Header, b'n+2', 540
  else:
    raise ValueError('not a NIfTI file')
  header = kind(start[:size], check=False)
  if not bytes(header['magic']).startswith(magic):
    raise ValueError('the values are missing: save header and values as .nii')
  shape = tuple(int(x) for x in header.get_data_shape())
  dtype = header.get_data_dtype()
  packed = _RGB.get(dtype.names or (), 0)
  if not packed:
    base.number_type(dtype)
  slope, inter = header.get_slope_inter()
  return _Stored(
    _shortened(shape, packed),
    dtype,
    max(0, int(header.get_data_offset())),
    slope,
    inter,
    packed,
  )


def _shortened(shape, packed):
  """Returns the shape without axes of length 1 after the third axis.

  At most one axis is left after the third, the channels.

  Raises:
    ValueError: the shape is not that of a picture or a volume.
  """
  longer = [x for x in shape[_VOLUME:] if x != 1]
  if len(shape) < 2 or len(longer) > 1 or (packed and longer):
    raise ValueError(
      f'values of shape {shape} are not supported: save [x, y, z] or [x, y, z, '
      'channels]'
    )
  return (*shape[:_VOLUME], *longer)


def _sliced(file, stored, where):
  from nibabel import fileslice

  return fileslice.fileslice(
    file, tuple(where), stored.shape, stored.dtype, stored.offset, order='F'
  )


def _decompressed(file, stored):
  """Returns all values of a .nii.gz file, in the file's own type and shape."""
  values = np.empty(stored.nbytes, np.uint8)
  view, place = memoryview(values), 0
  file.seek(0)
  with gzip.open(file) as stream:
    stream.seek(stored.offset)
    while place < stored.nbytes and (n := stream.readinto(view[place:])):
      place += n
    if place < stored.nbytes:
      raise ValueError('the file is cut off')
    stream.read(1)  # gzip compares the checksum when it reaches the end
  return values.view(stored.dtype).reshape(stored.shape, order='F')


def _opened(data, key):
  """Opens a file; one in a bucket is fetched once and kept in the cache."""
  if isinstance(data, bytes) or not files.remote(data):
    return base.opened(data)
  fetched = _volumes.get(
    ('file', *key), lambda: np.frombuffer(data.read_bytes(), np.uint8)
  )
  return io.BytesIO(fetched)


def _key(data):
  """Returns a cache key that changes when the file changes."""
  if isinstance(data, bytes):
    return len(data), hash(data)
  told = data.stat()
  if files.remote(data):
    return str(data), told.mtime, told.length
  return str(data), told.st_mtime_ns, told.st_size
