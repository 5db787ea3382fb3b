"""What a PyTorch file calls a tensor: a window on a run of numbers."""

import math
from typing import NamedTuple

import ml_dtypes
import numpy as np

# PyTorch's name of a run of numbers of a kind.
STORAGES = {
  'DoubleStorage': np.dtype(np.float64),
  'FloatStorage': np.dtype(np.float32),
  'HalfStorage': np.dtype(np.float16),
  'BFloat16Storage': np.dtype(ml_dtypes.bfloat16),
  'LongStorage': np.dtype(np.int64),
  'IntStorage': np.dtype(np.int32),
  'ShortStorage': np.dtype(np.int16),
  'CharStorage': np.dtype(np.int8),
  'ByteStorage': np.dtype(np.uint8),
  'BoolStorage': np.dtype(np.bool_),
}
_DIMENSIONS = 16


class Storage(NamedTuple):
  """A run of numbers that the file holds under a key.

  Attributes:
    key: its name in the file.
    dtype: of the numbers.
    size: how many there are.
  """

  key: str
  dtype: np.dtype
  size: int


class Tensor(NamedTuple):
  """A window on a storage.

  Attributes:
    storage: a `Storage`.
    offset: index of the first number.
    shape: of the array.
    strides: steps between its elements, in numbers.
  """

  storage: Storage
  offset: int
  shape: tuple
  strides: tuple


def check(tensor):
  """Raises ValueError for a tensor that reaches beyond its storage.

  One with more elements than its storage has numbers is refused, too: it could
  ask for any amount of memory.
  """
  storage, offset, shape, strides = tensor
  if type(storage) is not Storage:
    raise ValueError('a tensor without a storage')
  if type(shape) is not tuple or type(strides) is not tuple:
    raise ValueError('a tensor whose shape is no tuple')
  if len(shape) != len(strides) or len(shape) > _DIMENSIONS:
    raise ValueError('a tensor whose shape and strides do not fit')
  if not all(
    type(x) is int and 0 <= x < 2**63 for x in (offset, *shape, *strides)
  ):
    raise ValueError('a tensor whose shape is not made of numbers')
  if 0 in shape:
    return
  last = offset
  for size, stride in zip(shape, strides):
    last += (size - 1) * stride
  if last >= storage.size or math.prod(shape) > storage.size:
    raise ValueError('a tensor beyond its storage')


def view(tensor, numbers):
  """The array a tensor is, read-only and without a copy.

  Args:
    tensor: a `Tensor` that passed `check`.
    numbers: all of its storage [size].
  """
  if numbers.shape != (tensor.storage.size,):
    raise ValueError('a storage of another size than its tensors say')
  if 0 in tensor.shape:
    return np.zeros(tensor.shape, numbers.dtype)
  return np.lib.stride_tricks.as_strided(
    numbers[tensor.offset :],
    tensor.shape,
    [stride * numbers.itemsize for stride in tensor.strides],
    writeable=False,
  )
