"""Writes NIfTI volumes whose slices are given in any order."""

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
_BLOCK = 2**22  # bytes that are reordered at a time
_LEVEL = 1  # of compression of .nii.gz, as in nibabel
_GZIP = 31  # zlib's window bits for gzip without name and time
# For each axis of slices: the transposition of [slice, row, column] to zyx.
_TO_ZYX = ((1, 2, 0), (1, 0, 2), (0, 1, 2))
# Type that NIfTI lacks -> type that holds its values.
_WIDER = {'bool': 'uint8', 'float16': 'float32'}


class Volume:
  """NIfTI volume that collects its slices in a temporary file in TMPDIR.

  The memory used does not grow with the volume. `put` may be called from
  several threads. Call `close` or `abandon` last. Extensions, intent and
  scaling in the header of the input are left out, because they describe the
  values of the input. `nifti.to_picture` defines how a slice of the stored
  array becomes a picture.

  Attributes:
    path: path of the file that `close` writes.
  """

  def __init__(self, path, like, channels, dtype, axis=2, fill=0):
    """Reserves disk space in TMPDIR for all slices.

    Args:
      path: path of the file to write, .nii or .nii.gz.
      like: path or contents of a .nii or .nii.gz file, or a nibabel header with
        the shape of a volume. Its grid, affines, units and description are
        copied.
      channels: number of channels of a slice. Several channels become the
        fourth axis.
      dtype: NumPy type of the values.
      axis: the axis along which slices are taken: 0, 1 or 2.
      fill: value of slices that are never put.

    Raises:
      UserError: nibabel is not installed, or TMPDIR has no space left.
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
    self._shape = (shape[axis], channels, height, width)  # of all slices
    self._there = np.zeros(shape[axis], bool)  # slices put so far
    self._range = (np.inf, -np.inf)
    self._lock = threading.Lock()
    self._file = _reserved(int(np.prod(self._shape)) * self._dtype.itemsize)

  @classmethod
  def of_series(cls, path, affine, shape, channels, dtype, fill=0):
    """Returns a `Volume` for the slices of a DICOM series, along axis 2.

    Args:
      path: path of the file to write, .nii or .nii.gz.
      affine: [4, 4], maps (x, y, z, 1) to millimetres to the right, to the
        front and up. A pixel has x = column, y = height - 1 - row and z = index
        of the slice.
      shape: (width, height, number of slices).
      channels: number of channels of a slice.
      dtype: NumPy type of the values.
      fill: value of slices that are never put.

    Raises:
      UserError: nibabel is not installed, or TMPDIR has no space left.
    """
    nibabel = library(path, '.nii')
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_xyzt_units('mm')
    header.set_sform(affine, 'scanner')
    header.set_qform(affine, 'scanner')  # sets the zooms
    if not np.allclose(header.get_qform(), affine, atol=1e-3):
      # A qform cannot hold the shear of tilted slices.
      header.set_qform(None, 'unknown')
    return cls(path, header, channels, dtype, fill=fill)

  def put(self, index, array):
    """Stores one slice, and replaces a slice put before at the same index.

    Args:
      index: index of the slice, from 0.
      array: [height, width, channels], the values of the slice as a picture.

    Raises:
      ValueError: the volume has no slice of this index or this shape.
      UserError: TMPDIR has no space left.
    """
    slices, channels, *size = self._shape
    if not 0 <= index < slices or array.shape != (*size, channels):
      raise ValueError(
        f'{self.path}: slice {index} of shape {array.shape}, but there are '
        f'{slices} slices of shape {(*size, channels)}'
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
    """Writes the volume and deletes the collected slices.

    The file is written completely or not at all.

    Raises:
      WriteError: the file cannot be written. A file that existed before is
        kept.
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
    """Deletes the collected slices without writing a file."""
    self._file.close()

  def _contents(self):
    """Yields the contents of the file in pieces of bytes."""
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
    """Returns the values [z, y, x] of planes `start` to `stop` of a channel."""
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
  """Returns an unnamed temporary file of `size` zero bytes."""
  with _scratch(), contextlib.ExitStack() as stack:
    file = stack.enter_context(tempfile.TemporaryFile())
    file.truncate(size)
    if hasattr(os, 'posix_fallocate'):
      # Reports a disk that is too small before the work begins.
      os.posix_fallocate(file.fileno(), 0, size)
    stack.pop_all()
    return file


def _header_of(nibabel, data):
  """Returns the nibabel header of a NIfTI file, independent of its name."""
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
  """Returns a header for other values on the same grid, native byte order."""
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
  """Yields the pieces of a gzip file, with equal bytes each time."""
  packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
  for data in contents:
    yield packer.compress(data)
  yield packer.flush()
