"""Reader and writer of weight files: model.safetensors and weights.msgpack.

Version 0.1.0 wrote weights.msgpack, which can still be read. Both formats hold
names, shapes and numbers, and no code. A name in model.safetensors is the path
of an array in the parameter tree, such as gen/a2b/Conv_0/kernel.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.types import Params

WEIGHTS = 'model.safetensors'
MSGPACK = 'weights.msgpack'  # still read, but no longer written
_JOIN = '/'
_DEEPEST = 64  # parts of a name; the networks have fewer than ten
# The Hugging Face Hub uses this entry to tell which library reads the file.
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
  """Returns the path of the weight file in a folder, or None.

  If both exist, model.safetensors is preferred to weights.msgpack.
  """
  there = (folder / name for name in (WEIGHTS, MSGPACK))
  return next((path for path in there if path.is_file()), None)


def write(folder: files.Path, params: Params) -> None:
  """Writes parameters to model.safetensors in a folder.

  A weights.msgpack in the folder is removed. Equal parameters give
  bit-identical files.

  Args:
    folder: the folder, made if missing.
    params: nested dicts whose leaves are arrays.

  Raises:
    WriteError: the file cannot be written.
    ValueError: a key of `params` is empty or contains '/', or the type of an
      array cannot be stored.
  """
  files.write(folder / WEIGHTS, to_bytes(params))
  with files.writing(folder):
    files.remove(folder / MSGPACK)


def read(path: files.Path) -> Params:
  """Reads a weight file and returns the parameters as nested dicts of arrays.

  Args:
    path: a weights.msgpack, or a safetensors file of any other name.

  Raises:
    UserError: the file cannot be read, or holds no parameters.
  """
  try:
    data = path.read_bytes()
    if path.name == MSGPACK:
      from flax import serialization  # imports JAX

      params = serialization.msgpack_restore(data)
    else:
      params = of_bytes(data)
    if not isinstance(params, dict):
      raise ValueError('no dict')
  except Exception as e:  # both libraries raise errors of any kind
    raise UserError(
      f'{path} cannot be read as weights ({type(e).__name__}): the file is '
      'damaged or not a weight file'
    ) from e
  return params


def to_bytes(params: Params) -> bytes:
  """Encodes parameters as the contents of a safetensors file.

  Args:
    params: nested dicts whose leaves are arrays.

  Raises:
    ValueError: a key is empty or contains '/', or the type of an array cannot
      be stored.
  """
  import safetensors

  arrays = {name: np.asarray(x, order='C') for name, x in sorted(_flat(params))}
  names = {np.dtype(x) for x in _TYPES.values()}
  for name, array in arrays.items():
    if array.dtype not in names:
      raise ValueError(f'{name} has type {array.dtype}, which cannot be stored')
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
  """Decodes parameters from the contents of a safetensors file.

  The inverse of `to_bytes`, except that dicts without arrays are lost.

  Args:
    data: the bytes of the file.

  Returns:
    Nested dicts of arrays.

  Raises:
    Exception: of any kind, if `data` is not such a file.
  """
  import safetensors

  params: Params = {}
  for name, tensor in safetensors.deserialize(data):
    array = np.ndarray(
      tensor['shape'], _TYPES[tensor['dtype']], bytes(tensor['data'])
    )
    *above, last = name.split(_JOIN)
    if len(above) >= _DEEPEST or '' in (*above, last):
      raise ValueError('a name is not a path')
    node = params
    for part in above:
      node = node.setdefault(part, {})
      if not isinstance(node, dict):
        raise ValueError('an array has the same name as a dict')
    if last in node:
      raise ValueError('a name occurs twice')
    node[last] = array
  return params


def _flat(
  params: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any]]:
  for key, value in params.items():
    if not key or _JOIN in key:
      raise ValueError(f'{key!r} cannot be the name of a parameter')
    if isinstance(value, Mapping):
      yield from _flat(value, (*above, key))
    else:
      yield _JOIN.join((*above, key)), value
