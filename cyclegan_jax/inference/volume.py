"""Writes NIfTI volumes from slices that come in any order."""

import contextlib
import gzip
import io
import os
import pathlib
import tempfile
import threading
import zlib

import numpy as np

from cyclegan_jax.common import disk, files
from cyclegan_jax.data.arrays import base, nifti
from cyclegan_jax.inference.array_files import library

_PACKED = b'\x1f\x8b'  # the first bytes of a .nii.gz file
_LONGEST_HEADER = 540  # bytes
_BLOCK = 2**22  # bytes that are put into the order of the file at a time
_LEVEL = 1  # of .nii.gz, as nibabel has it
_GZIP = 31  # zlib's number for the format of gzip, without name and time
# For each axis of slices: axes of [slice, row, column] in the order z, y, x.
_TO_ZYX = ((1, 2, 0), (1, 0, 2), (0, 1, 2))
# Types that NIfTI lacks, and those that hold their values.
_WIDER = {'bool': 'uint8', 'float16': 'float32'}


class Volume:
  """A NIfTI volume whose slices are collected in a file of TMPDIR.

  The memory that is used does not grow with the volume. `put` may be called
  from several threads; `close` or `abandon` comes last. Extensions, intent and
  scaling in the header of the input are left out: they describe its values.

  `nifti.to_picture` says which picture a slice of the stored array is.
  """

  def __init__(self, path, like, channels, dtype, axis=2, fill=0):
    """Reserves the room for all slices.

    Args:
      path: the file, .nii or .nii.gz.
      like: the .nii or .nii.gz file, or its contents, whose grid, affines,
        units and description are kept; or a header of nibabel with the shape of
        a volume.
      channels: of a picture; several become the fourth axis.
      dtype: NumPy's type of the values.
      axis: that slices are taken along: 0, 1 or 2.
      fill: value of the slices that are never put.

    Raises:
      UserError: nibabel is not installed, or there is no room in TMPDIR.
    """
    nibabel = library(path, '.nii')
    if isinstance(like, (bytes, os.PathLike)):
      like = _header_of(nibabel, like)
    self.path = path
    dtype = np.dtype(_WIDER.get(np.dtype(dtype).name, dtype))
    self._dtype = dtype.newbyteorder('=')
    self._axis, self._fill = axis, self._dtype.type(fill)
    shape = [*like.get_data_shape(), 1, 1][:3]
    self._header = _prepared(like, shape, channels, self._dtype)
    width, height = (n for i, n in enumerate(shape) if i != axis)
    self._shape = (shape[axis], channels, height, width)  # of the slices
    self._there = np.zeros(shape[axis], bool)  # the slices that were put
    self._range = (np.inf, -np.inf)
    self._lock = threading.Lock()
    self._file = _reserved(int(np.prod(self._shape)) * self._dtype.itemsize)

  @classmethod
  def of_series(cls, path, affine, shape, channels, dtype, fill=0):
    """A volume of the slices of a DICOM series; they are put along axis 2.

    Args:
      path: as for `Volume`, and so are channels, dtype, fill and errors.
      affine: [4, 4], from (x, y, z, 1) to millimetres to the right, to the
        front and up. Row and column of a picture are y = height - 1 - row and
        x = column.
      shape: (width, height, slices).
    """
    nibabel = library(path, '.nii')
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_xyzt_units('mm')
    header.set_sform(affine, 'scanner')
    header.set_qform(affine, 'scanner')  # sets the zooms
    if not np.allclose(header.get_qform(), affine, atol=1e-3):
      header.set_qform(None, 'unknown')  # of slices in a slant, it has no shear
    return cls(path, header, channels, dtype, fill=fill)

  def put(self, index, array):
    """Stores the picture of a slice.

    Args:
      index: of the slice, from 0.
      array: [height, width, channels] of values.

    Raises:
      ValueError: there is no such slice, or it has another shape.
      UserError: there is no room in TMPDIR.
    """
    slices, channels, *size = self._shape
    if not 0 <= index < slices or array.shape != (*size, channels):
      raise ValueError(
        f'{self.path}: slice {index} of shape {array.shape}, not one of '
        f'{slices} of shape {(*size, channels)}'
      )
    stored = nifti.from_picture(array.astype(self._dtype)).T
    data = memoryview(stored.tobytes())
    place = index * len(data)
    with _scratch():
      while data:
        done = os.pwrite(self._file.fileno(), data, place)
        data, place = data[done:], place + done
    self._add_range(stored)
    self._there[index] = True

  def close(self):
    """Writes the file, whole or not at all, and drops the collected slices.

    Raises:
      WriteError: it can't be written; what was there before stays.
    """
    contents = self._contents()
    if str(self.path).lower().endswith('.gz'):
      contents = _packed(contents)
    try:
      with (
        files.writing(self.path),
        files.made(self.path) as new,
        new.open('wb', buffering=0) as file,
      ):
        for data in contents:
          disk.put(file, data)
    finally:
      self.abandon()

  def abandon(self):
    """Drops the collected slices; no file is written."""
    self._file.close()

  def _contents(self):
    """The bytes of the file, in pieces."""
    if not self._there.all():
      self._add_range(self._fill)
    low, high = self._range
    if low <= high:
      self._header['cal_min'], self._header['cal_max'] = low, high
    yield _bytes_of(self._header)
    width, height, planes = self._header.get_data_shape()[:3]
    step = max(1, _BLOCK // (width * height * self._dtype.itemsize))
    for channel in range(self._shape[1]):
      for start in range(0, planes, step):
        stop = min(start + step, planes)
        yield self._planes(channel, start, stop).tobytes()

  def _add_range(self, values):
    finite = values[np.isfinite(values)]
    if finite.size:
      with self._lock:
        low, high = self._range
        self._range = min(low, finite.min()), max(high, finite.max())

  def _planes(self, channel, start, stop):
    """Values [z, y, x] of the planes of the stored array from start to stop."""
    slices, channels, height, width = self._shape
    indices, rows = range(slices), range(start, stop)
    if self._axis == 2:
      indices, rows = rows, range(height)
    values = np.full((len(indices), len(rows), width), self._fill)
    for piece, index in zip(values, indices):
      if self._there[index]:
        row = (index * channels + channel) * height + rows.start
        place = row * width * self._dtype.itemsize
        data = os.pread(self._file.fileno(), piece.nbytes, place)
        piece[:] = np.frombuffer(data, self._dtype).reshape(piece.shape)
    return values.transpose(_TO_ZYX[self._axis])


def _scratch():
  return files.writing(pathlib.Path(tempfile.gettempdir()), 'TMPDIR')


def _reserved(size):
  """A file without a name, of so many bytes 0."""
  with _scratch(), contextlib.ExitStack() as stack:
    file = stack.enter_context(tempfile.TemporaryFile())
    file.truncate(size)
    if hasattr(os, 'posix_fallocate'):
      # A disk that is too small is noticed before the work, not behind it.
      os.posix_fallocate(file.fileno(), 0, size)
    stack.pop_all()
    return file


def _header_of(nibabel, data):
  """The header of a NIfTI file as nibabel has it, whatever the file's name."""
  with base.opened(data) as file:
    start = file.read(_LONGEST_HEADER)
    if start.startswith(_PACKED):
      file.seek(0)
      with gzip.open(file) as stream:
        start = stream.read(_LONGEST_HEADER)
  length = min(int.from_bytes(start[:4], x) for x in ('little', 'big'))
  first = nibabel.Nifti1Header
  kind = first if length == first.sizeof_hdr else nibabel.Nifti2Header
  return kind(start[: kind.sizeof_hdr], check=False)


def _prepared(header, shape, channels, dtype):
  """The header of another volume on the same grid, in native byte order."""
  new = type(header)(header.binaryblock, header.endianness, check=False)
  new = new.as_byteswapped('native')
  new.set_data_shape((*shape, channels) if channels > 1 else shape)
  if channels > 1:
    new['pixdim'][4] = 1
  new.set_data_dtype(dtype)
  new.set_slope_inter(1, 0)
  new.set_intent('none')
  new['cal_min'] = new['cal_max'] = 0
  new['vox_offset'] = 0  # `write_to` sets it
  return new


def _bytes_of(header):
  file = io.BytesIO()
  header.write_to(file)
  return file.getvalue()


def _packed(contents):
  """The pieces of a gzip file of pieces; the same each time."""
  packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
  for data in contents:
    yield packer.compress(data)
  yield packer.flush()
