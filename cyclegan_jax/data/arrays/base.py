"""Formats that hold arrays: any number of channels, any type of numbers."""

import io
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Num

from cyclegan_jax.common import files
from cyclegan_jax.data.picture import MAX_PIXELS, Cut

Data = files.Path | bytes
MAX_CHANNELS = 4096
MAX_VALUES = 4 * MAX_PIXELS  # of a picture


class Facts(NamedTuple):
  """Facts that the header of a file of arrays tells.

  Attributes:
    size: (width, height) of a picture cut from it, as `read` gives it.
    channels: of a picture.
    dtype: the type of the values that `read` gives.
    slices: pictures along `Cut.axis` (or pages, for `Cut.pages` 'slices'); None
      for a file that is one picture.
    unused: pages or frames that are not part of any picture.
    colour: whether three channels are red, green and blue.
  """

  size: tuple[int, int]
  channels: int
  dtype: np.dtype
  slices: int | None = None
  unused: int = 0
  colour: bool = False


class ArrayFormat(NamedTuple):
  """A format of arrays.

  Attributes:
    name: of the format, for messages.
    endings: of its files, in small letters; an ending may have two dots.
    package: the module that reads it, '' for NumPy.
    extra: the extra of this project that installs the module.
    facts: (data, cut) -> `Facts`; reads headers, no values.
    read: (data, cut) -> [height, width, channels] of the file's own type (DICOM
      with its slope and intercept applied); the memory is in proportion to what
      `facts` says. Raises exceptions of all kinds for broken files.
  """

  name: str
  endings: tuple[str, ...]
  package: str
  extra: str
  facts: Callable[[Data, Cut], Facts]
  read: Callable[[Data, Cut], Num[np.ndarray, 'height width channels']]


def opened(data: Data) -> BinaryIO:
  """Opens a file, or its contents, to read bytes; a remote one is fetched."""
  if not isinstance(data, bytes):
    if not files.remote(data):
      return open(data, 'rb')
    data = data.read_bytes()
  return io.BytesIO(data)


def check(width: int, height: int, channels: int) -> None:
  """Raises `ValueError` for a shape that no picture may have."""
  if min(width, height, channels) < 1:
    raise ValueError(f'{width}x{height} with {channels} channels is empty')
  if width * height > MAX_PIXELS:
    raise ValueError(
      f'{width}x{height} is too large: pictures may have {MAX_PIXELS:,} pixels'
    )
  if channels > MAX_CHANNELS:
    raise ValueError(
      f'{channels} channels are too many: pictures may have {MAX_CHANNELS}'
    )
  if width * height * channels > MAX_VALUES:
    raise ValueError(
      f'{width}x{height} with {channels} channels is too large: pictures may '
      f'have {MAX_VALUES:,} values'
    )


def number_type(dtype: np.dtype) -> np.dtype:
  """Returns a type in this machine's byte order.

  Raises:
    ValueError: it is neither of integers, nor of real numbers of up to 64 bits,
      nor boolean.
  """
  if dtype.kind not in 'biuf' or dtype.itemsize > 8:
    raise ValueError(
      f'values of type {dtype} are not read: save integers or real numbers'
    )
  return dtype.newbyteorder('=')


def pick(cut: Cut, slices: int, what: str) -> int:
  """Returns the number of the slice that a picture is.

  Args:
    cut: the part of the file.
    slices: number of slices of the file.
    what: what the file has so many of, for messages.

  Raises:
    ValueError: `cut` names no slice, or one that the file lacks.
  """
  if cut.number is None:
    raise ValueError(f'it holds {slices} {what}, and one has to be named')
  if not 0 <= cut.number < slices:
    raise ValueError(f'it has no slice {cut.number}, but {slices} {what}')
  return cut.number
