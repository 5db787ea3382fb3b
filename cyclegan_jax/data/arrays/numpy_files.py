"""NumPy's files: .npy, and .npz with one array.

An array is [height, width] or [height, width, channels]; [channels, height,
width] where the first axis, and no other one, is the shortest.
"""

import contextlib
import math
import os
import zipfile
from typing import BinaryIO

import numpy as np
from jaxtyping import Num
from numpy.lib import format as npy

from cyclegan_jax.data.arrays import base
from cyclegan_jax.data.picture import Cut

_ZIP = b'PK'
# What NumPy writes; Python's readers of other kinds may inflate without limit.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_READERS = {
  (1, 0): npy.read_array_header_1_0,
  (2, 0): npy.read_array_header_2_0,
}


def facts(data: base.Data, cut: Cut) -> base.Facts:
  """Facts of an array; see `base.ArrayFormat`.

  Raises:
    ValueError: it is no array of numbers with two or three axes, or too large.
  """
  with base.opened(data) as file, _stream(file) as (stream, size):
    shape, _, dtype = _header(stream, size)
  height, width, channels = _picture_shape(shape)
  return base.Facts((width, height), channels, base.number_type(dtype))


def read(data: base.Data, cut: Cut) -> Num[np.ndarray, 'height width channels']:
  """Values of an array; see `base.ArrayFormat`.

  Raises:
    ValueError: as `facts`.
  """
  with base.opened(data) as file, _stream(file) as (stream, size):
    shape, is_fortran, dtype = _header(stream, size)
    values = stream.read(math.prod(shape) * dtype.itemsize)
  array = np.frombuffer(values, dtype).reshape(
    shape, order='F' if is_fortran else 'C'
  )
  if array.ndim == 3 and _channels_first(shape):
    array = array.transpose(1, 2, 0)
  array = array.reshape(_picture_shape(shape))
  return array.astype(base.number_type(dtype), order='C')


@contextlib.contextmanager
def _stream(file: BinaryIO):
  """Yields an array's .npy file as a stream, and its size in bytes."""
  start = file.read(len(_ZIP))
  file.seek(0)
  if start != _ZIP:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    yield file, size
    return
  with zipfile.ZipFile(file) as archive:
    members = archive.infolist()
    if len(members) != 1:
      names = ', '.join(x.filename.removesuffix('.npy') for x in members[:9])
      raise ValueError(
        f'it holds {len(members)} arrays ({names}): save one per file'
      )
    if members[0].compress_type not in _COMPRESSIONS:
      raise ValueError('its compression is not one that NumPy writes')
    with archive.open(members[0]) as stream:
      yield stream, members[0].file_size


def _header(stream, size):
  """(shape, whether it is in Fortran's order, type) of a .npy file.

  Args:
    stream: the file; it is left at the first value.
    size: bytes of the file.
  """
  version = npy.read_magic(stream)
  if version not in _READERS:
    raise ValueError(f'a .npy file of version {version} is not read')
  shape, is_fortran, dtype = _READERS[version](stream)
  base.number_type(dtype)
  _picture_shape(shape)
  end = stream.tell() + math.prod(shape) * dtype.itemsize
  if end != size:
    raise ValueError(
      'it is cut off' if end > size else 'it holds more than one array'
    )
  return shape, is_fortran, dtype


def _picture_shape(shape):
  """(height, width, channels) of an array's shape.

  Raises:
    ValueError: no picture has such a shape.
  """
  if len(shape) not in (2, 3):
    raise ValueError(
      f'an array of shape {shape} is no picture: save [height, width] or '
      '[height, width, channels]'
    )
  if len(shape) == 3 and _channels_first(shape):
    channels, height, width = shape
  else:
    height, width, channels = (*shape, 1)[:3]
  base.check(width, height, channels)
  return height, width, channels


def _channels_first(shape):
  return shape[0] < min(shape[1:])
