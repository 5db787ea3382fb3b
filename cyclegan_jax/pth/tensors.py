"""Tensors of a PyTorch file: each is a view of a one-dimensional storage."""

import math
from typing import NamedTuple

import ml_dtypes
import numpy as np

# PyTorch's name of a storage -> type of its values.
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
  """One-dimensional array of values in a PyTorch file.

  Attributes:
    key: name of the storage in the file.
    dtype: NumPy type of the values.
    size: number of values.
  """

  key: str
  dtype: np.dtype
  size: int


class Tensor(NamedTuple):
  """Tensor in a PyTorch file: a view of a storage.

  Attributes:
    storage: the `Storage` that holds the values.
    offset: index in the storage of the first value.
    shape: shape of the tensor.
    strides: for each axis, the step in the storage between two values.
  """

  storage: Storage
  offset: int
  shape: tuple
  strides: tuple


def check(tensor):
  """Checks that a tensor is well formed and lies within its storage.

  A tensor must not have more elements than its storage has values. Otherwise, a
  small file could ask for any amount of memory.

  Args:
    tensor: a `Tensor`, as read from a file.

  Raises:
    ValueError: the tensor is damaged or does not fit its storage.
  """
  storage, offset, shape, strides = tensor
  if type(storage) is not Storage:
    raise ValueError('a tensor has no storage')
  if type(shape) is not tuple or type(strides) is not tuple:
    raise ValueError('the shape of a tensor is not a tuple')
  if len(shape) != len(strides) or len(shape) > _DIMENSIONS:
    raise ValueError('the shape and strides of a tensor do not fit')
  if not all(
    type(x) is int and 0 <= x < 2**63 for x in (offset, *shape, *strides)
  ):
    raise ValueError('the shape of a tensor has an item that is not a size')
  if 0 in shape:
    return
  last = offset
  for size, stride in zip(shape, strides):
    last += (size - 1) * stride
  if last >= storage.size or math.prod(shape) > storage.size:
    raise ValueError('a tensor reaches beyond its storage')


def view(tensor, numbers):
  """Returns a tensor as a read-only array, without a copy of the values.

  Args:
    tensor: a `Tensor` that passed `check`.
    numbers: all values of the tensor's storage, an array [size].

  Raises:
    ValueError: `numbers` has another size than the storage.
  """
  if numbers.shape != (tensor.storage.size,):
    raise ValueError('the size of a storage differs from its tensors')
  if 0 in tensor.shape:
    return np.zeros(tensor.shape, numbers.dtype)
  return np.lib.stride_tricks.as_strided(
    numbers[tensor.offset :],
    tensor.shape,
    [stride * numbers.itemsize for stride in tensor.strides],
    writeable=False,
  )
