"""Files of parameters: model.safetensors, and weights.msgpack of version 0.1.0.

Both hold names, shapes and numbers, and no code. A name in model.safetensors is
the path of an array in the tree, such as gen/a2b/Conv_0/kernel.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.types import Params

WEIGHTS = 'model.safetensors'
MSGPACK = 'weights.msgpack'  # read still, and no longer written
_JOIN = '/'
_DEEPEST = 64  # parts of a name; the networks have fewer than ten
# The Hub tells by it which library can read the file.
_METADATA = {'format': 'flax'}
_TYPES = {
  'BOOL': np.bool_,
  'U8': np.uint8,
  'I8': np.int8,
  'U16': np.uint16,
  'I16': np.int16,
  'U32': np.uint32,
  'I32': np.int32,
  'U64': np.uint64,
  'I64': np.int64,
  'F16': np.float16,
  'BF16': ml_dtypes.bfloat16,
  'F32': np.float32,
  'F64': np.float64,
}


def find(folder: files.Path) -> files.Path | None:
  """Returns the file of parameters in a folder, the newer form first."""
  there = (folder / name for name in (WEIGHTS, MSGPACK))
  return next((path for path in there if path.is_file()), None)


def write(folder: files.Path, params: Params) -> None:
  """Writes model.safetensors, which takes the place of a weights.msgpack.

  Equal parameters give equal bytes.

  Args:
    folder: made if missing.
    params: dicts of dicts, whose leaves are arrays.

  Raises:
    WriteError: it can't be written.
  """
  files.write(folder / WEIGHTS, to_bytes(params))
  with files.writing(folder):
    files.remove(folder / MSGPACK)


def read(path: files.Path) -> Params:
  """Parameters of a file of either form: dicts of dicts of arrays.

  Raises:
    UserError: the file can't be read, or holds no parameters.
  """
  try:
    data = path.read_bytes()
    if path.name == MSGPACK:
      from flax import serialization  # it loads JAX

      params = serialization.msgpack_restore(data)
    else:
      params = of_bytes(data)
    if not isinstance(params, dict):
      raise ValueError('no dict')
  except Exception as e:  # both libraries raise all kinds
    raise UserError(
      f'{path} cannot be read as weights ({type(e).__name__}): the file is '
      'damaged, or no file of weights'
    ) from e
  return params


def to_bytes(params: Params) -> bytes:
  """Parameters as the contents of a safetensors file.

  Raises:
    ValueError: a key is no name, or an array has a type that is not stored.
  """
  import safetensors

  arrays = {name: np.asarray(x, order='C') for name, x in sorted(_flat(params))}
  names = {np.dtype(x) for x in _TYPES.values()}
  for name, array in arrays.items():
    if array.dtype not in names:
      raise ValueError(f'{name} is of {array.dtype}, which is not stored')
  specs = {
    name: safetensors.TensorSpec(
      dtype=x.dtype.name,
      shape=x.shape,
      data_ptr=x.ctypes.data,
      data_len=x.nbytes,
    )
    for name, x in arrays.items()
  }
  return bytes(safetensors.serialize(specs, metadata=_METADATA))


def of_bytes(data: bytes) -> Params:
  """The parameters that `to_bytes` was given; dicts without arrays are lost.

  Raises:
    Exception: of any kind, for other bytes.
  """
  import safetensors

  params: Params = {}
  for name, tensor in safetensors.deserialize(data):
    array = np.ndarray(
      tensor['shape'], _TYPES[tensor['dtype']], bytes(tensor['data'])
    )
    *above, last = name.split(_JOIN)
    if len(above) >= _DEEPEST or '' in (*above, last):
      raise ValueError('a name that is no path')
    node = params
    for part in above:
      node = node.setdefault(part, {})
      if not isinstance(node, dict):
        raise ValueError('a name that goes on behind an array')
    if last in node:
      raise ValueError('a name that is there twice')
    node[last] = array
  return params


def _flat(
  params: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any]]:
  for key, value in params.items():
    if not key or _JOIN in key:
      raise ValueError(f'{key!r} is no name of parameters')
    if isinstance(value, Mapping):
      yield from _flat(value, (*above, key))
    else:
      yield _JOIN.join((*above, key)), value
