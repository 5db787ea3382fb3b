"""Reader of NumPy files: .npy, and .npz with one array.

An array is [height, width] or [height, width, channels]. If the first of three
axes is shorter than both others, the array is read as [channels, height,
width].
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
# The kinds that NumPy writes. Python's decompressors for other kinds may need
# any amount of memory.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_READERS = {
  (1, 0): npy.read_array_header_1_0,
  (2, 0): npy.read_array_header_2_0,
}


def facts(data: base.Data, cut: Cut) -> base.Facts:
  """Returns the facts in the header of a NumPy file.

  Args:
    data: the path of the file, or its bytes.
    cut: not used; the file is one picture.

  Raises:
    ValueError: the file does not hold exactly one array of numbers with two or
      three axes, is cut off, or the array is too large.
    Exception: any error of `zipfile`, if a .npz file is damaged.
  """
  with base.opened(data) as file, _stream(file) as (stream, size):
    shape, _, dtype = _header(stream, size)
  height, width, channels = _picture_shape(shape)
  return base.Facts((width, height), channels, base.number_type(dtype))


def read(data: base.Data, cut: Cut) -> Num[np.ndarray, 'height width channels']:
  """Returns the values of a NumPy file as [height, width, channels].

  Args:
    data: the path of the file, or its bytes.
    cut: not used; the file is one picture.

  Raises:
    ValueError: the file does not hold exactly one array of numbers with two or
      three axes, is cut off, or the array is too large.
    Exception: any error of `zipfile`, if a .npz file is damaged.
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
  """Yields (stream of a .npy file, size in bytes), unpacked from a .npz file.

  Raises:
    ValueError: a .npz file holds no array or several, or its compression is not
      one that NumPy writes.
  """
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
        f'the file holds {len(members)} arrays ({names}): save one per file'
      )
    if members[0].compress_type not in _COMPRESSIONS:
      raise ValueError('its compression is not supported: save it with NumPy')
    with archive.open(members[0]) as stream:
      yield stream, members[0].file_size


def _header(stream, size):
  """Returns (shape, True if in Fortran order, type) of a .npy file's array.

  Args:
    stream: the file, at its start. Afterwards it is at the first value.
    size: size of the file in bytes.

  Raises:
    ValueError: the array is not supported, or the file is too short or long.
  """
  version = npy.read_magic(stream)
  if version not in _READERS:
    raise ValueError(f'.npy files of version {version} are not supported')
  shape, is_fortran, dtype = _READERS[version](stream)
  base.number_type(dtype)
  _picture_shape(shape)
  end = stream.tell() + math.prod(shape) * dtype.itemsize
  if end != size:
    raise ValueError(
      'the file is cut off' if end > size else 'it holds more than one array'
    )
  return shape, is_fortran, dtype


def _picture_shape(shape):
  """Returns (height, width, channels) of an array's shape.

  Raises:
    ValueError: the array has fewer than two or more than three axes, is empty
      or too large.
  """
  if len(shape) not in (2, 3):
    raise ValueError(
      f'an array of shape {shape} is not a picture: save [height, width] or '
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
