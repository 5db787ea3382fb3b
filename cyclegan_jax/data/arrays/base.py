"""Array formats: files with any number of channels and any type of numbers."""

import io
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Num

from cyclegan_jax.common import files
from cyclegan_jax.data.picture import MAX_PIXELS, Cut

Data = files.Path | bytes
MAX_CHANNELS = 4096
MAX_VALUES = 4 * MAX_PIXELS  # per picture: pixels times channels


class Facts(NamedTuple):
  """Facts about a file of arrays, read from its header.

  Attributes:
    size: (width, height) of one picture of the file, as `ArrayFormat.read`
      returns the picture.
    channels: number of channels of one picture.
    dtype: type of the values that `ArrayFormat.read` returns.
    slices: number of pictures in the file: slices along `Cut.axis`, frames, or
      pages if `Cut.pages` is 'slices'. None for a file that is one picture.
    unused: number of pages that are not part of any picture.
    colour: True if there are three channels: red, green and blue.
  """

  size: tuple[int, int]
  channels: int
  dtype: np.dtype
  slices: int | None = None
  unused: int = 0
  colour: bool = False


class ArrayFormat(NamedTuple):
  """An array format: its name, its file endings, and how its files are read.

  Below, `data` is the path of a file or its bytes, and `cut` is a `Cut`, which
  says which slice or page of the file is the picture.

  Attributes:
    name: name of the format, for messages.
    endings: file endings with their dot, in lower case; '.nii.gz' has two dots.
    package: module that reads the files; '' if NumPy is enough.
    extra: the extra of this project that installs `package`.
    facts: (data, cut) -> `Facts` of the file; reads headers, no values.
    read: (data, cut) -> the values [height, width, channels] of one picture, in
      the file's own type. NIfTI and DICOM values are scaled by the slope and
      intercept of their header. The memory needed is proportional to the
      picture size that `facts` returns. A damaged file raises any exception.
  """

  name: str
  endings: tuple[str, ...]
  package: str
  extra: str
  facts: Callable[[Data, Cut], Facts]
  read: Callable[[Data, Cut], Num[np.ndarray, 'height width channels']]


def opened(data: Data) -> BinaryIO:
  """Opens a path, or the bytes of a file, as a binary stream for reading.

  A file in a bucket is first read into memory as a whole.
  """
  if not isinstance(data, bytes):
    if not files.remote(data):
      return open(data, 'rb')
    data = data.read_bytes()
  return io.BytesIO(data)


def check(width: int, height: int, channels: int) -> None:
  """Checks that a picture is neither empty nor too large.

  Raises:
    ValueError: a size is below 1, or there are more than `MAX_PIXELS` pixels,
      `MAX_CHANNELS` channels or `MAX_VALUES` values.
  """
  if min(width, height, channels) < 1:
    raise ValueError(f'{width}x{height} with {channels} channels is empty')
  if width * height > MAX_PIXELS:
    raise ValueError(
      f'{width}x{height} is too large: at most {MAX_PIXELS:,} pixels allowed'
    )
  if channels > MAX_CHANNELS:
    raise ValueError(
      f'{channels} channels are too many: at most {MAX_CHANNELS} allowed'
    )
  if width * height * channels > MAX_VALUES:
    raise ValueError(
      f'{width}x{height} with {channels} channels is too large: at most '
      f'{MAX_VALUES:,} values allowed'
    )


def number_type(dtype: np.dtype) -> np.dtype:
  """Returns a NumPy type in the byte order of this machine.

  Raises:
    ValueError: the type is neither boolean, nor an integer or a real number of
      at most 64 bits.
  """
  if dtype.kind not in 'biuf' or dtype.itemsize > 8:
    raise ValueError(
      f'values of type {dtype} are not supported: save integers or real numbers'
    )
  return dtype.newbyteorder('=')


def pick(cut: Cut, slices: int, what: str) -> int:
  """Returns `cut.number`, the index of a slice, after checking its range.

  Args:
    cut: the `Cut`: which slice, page or frame of the file is the picture.
    slices: number of slices, pages or frames in the file.
    what: the plural noun for these in messages, such as 'frames'.

  Raises:
    ValueError: `cut.number` is None, or the file has no slice of that number.
  """
  if cut.number is None:
    raise ValueError(f'the file holds {slices} {what}: choose one by number')
  if not 0 <= cut.number < slices:
    raise ValueError(
      f'there is no slice {cut.number}: the file holds {slices} {what}'
    )
  return cut.number
