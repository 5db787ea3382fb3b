"""Reader of the tensors in a .pth file that never runs code from the file.

Both formats of PyTorch can be read: the zip file, and the older format. The
memory needed is at most a few times the size of the file, whatever it holds.
"""

import io
import math
import sys
import zipfile

import numpy as np

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.pth import opcodes
from cyclegan_jax.pth.tensors import Tensor, view

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001  # of the old format
# Keys under which a larger checkpoint may hold the state_dict.
_WRAPPERS = ('state_dict', 'model')
_PREFIX = 'module.'  # added by torch.nn.DataParallel
# Limit on the values of all tensors per value stored in the file. Tensors may
# share values; copies of all tensors need more memory than the file by this
# factor.
_SHARING = 10


def read(path):
  """Reads the state_dict in a .pth file.

  In a larger checkpoint, the state_dict may be under the key 'state_dict' or
  'model'. If all names begin with 'module.', this prefix is removed.

  Args:
    path: a .pth file, as written by `torch.save` since 2017.

  Returns:
    {name: array}, in the order of the file. The arrays are read-only views of
    the data, with any strides. A bfloat16 array has the type of `ml_dtypes`.

  Raises:
    UserError: the file cannot be read, is damaged, or is not a state_dict.
  """
  path = files.place(path)
  try:
    with files.here(path) as file:
      return _arrays(*_load(file))
  except opcodes.Refused as e:
    raise UserError(f'{path} {e}') from e
  except Exception as e:  # damaged files cause errors of any kind
    if reason := files.failed(e):
      raise UserError(f'{path} cannot be read ({reason})') from e
    reason = ascii(str(e))[1:-1][:80] or type(e).__name__
    raise UserError(
      f'{path} is damaged or not a state_dict of PyTorch ({reason}): download '
      'or save it again'
    ) from e


def _load(path):
  """Returns (pickled object, {key of a storage: its values})."""
  with path.open('rb') as file:
    start = file.read(262)
  if start.startswith(b'PK'):
    with zipfile.ZipFile(path) as archive:
      return _load_zip(archive, path.stat().st_size)
  if start[257:] == b'ustar':
    raise opcodes.Refused(
      'is a tar archive of PyTorch before 2017, which is not supported: load '
      'it with PyTorch and save it again'
    )
  return _load_old(path.read_bytes())


def _load_zip(archive, size):
  entries = {x.filename: x for x in archive.infolist()}
  for entry in entries.values():
    if entry.compress_type != zipfile.ZIP_STORED:
      raise opcodes.Refused(
        'is compressed, unlike the files of torch.save: unpack it and pack it '
        'again with zip -0'
      )
  if sum(x.file_size for x in archive.infolist()) > size:
    raise ValueError('its parts together are larger than the file')
  pickles = [
    x for x in entries if x.count('/') == 1 and x.endswith('/data.pkl')
  ]
  if len(pickles) != 1:
    raise ValueError('no data.pkl in the archive')
  folder = pickles[0].removesuffix('data.pkl')
  order = 'little'
  if f'{folder}byteorder' in entries:
    order = archive.read(f'{folder}byteorder').decode()
  if order not in ('little', 'big'):
    raise ValueError('unknown byte order')
  storages = {}
  content = opcodes.load(io.BytesIO(archive.read(pickles[0])), storages)
  numbers = {
    key: _numbers(archive.read(f'{folder}data/{key}'), x, order)
    for key, x in storages.items()
  }
  return content, numbers


def _load_old(data):
  stream, storages = io.BytesIO(data), {}
  if opcodes.load(stream, storages) != _MAGIC:
    raise ValueError('no magic number')
  if opcodes.load(stream, storages) != _VERSION:
    raise ValueError('unknown version')
  system = opcodes.load(stream, storages)
  order = 'little' if system['little_endian'] else 'big'
  content = opcodes.load(stream, storages)
  keys = opcodes.load(stream, storages)
  if type(keys) is not list or not all(type(key) is str for key in keys):
    raise ValueError('the keys are not a list of text')
  data, numbers = memoryview(data)[stream.tell() :], {}
  for key in keys:
    storage = storages[key]
    if int.from_bytes(data[:8], order) != storage.size:
      raise ValueError('the size of a storage differs from its tensors')
    end = 8 + storage.size * storage.dtype.itemsize
    numbers[key] = _numbers(data[8:end], storage, order)
    data = data[end:]
  return content, numbers


def _numbers(raw, storage, order):
  """Returns the values of a storage in the byte order of this machine.

  Args:
    raw: bytes of the storage in the file.
    storage: the `Storage`.
    order: byte order of the file, 'little' or 'big'.
  """
  if len(raw) != storage.size * storage.dtype.itemsize:
    raise ValueError('a storage is cut off')
  numbers = np.frombuffer(raw, storage.dtype)
  return numbers if order == sys.byteorder else numbers.byteswap()


def _arrays(content, numbers):
  tensors = _state_dict(content)
  there = sum(x.size for x in numbers.values())
  if sum(math.prod(x.shape) for x in tensors.values()) > _SHARING * there:
    raise ValueError('too many tensors share their values')
  return {name: view(x, numbers[x.storage.key]) for name, x in tensors.items()}


def _state_dict(content):
  """Returns the state_dict, {name: `Tensor`}, in a pickled object.

  Raises:
    Refused: the object holds no state_dict.
  """
  for wrapper in _WRAPPERS:
    if type(content) is dict and type(content.get(wrapper)) is dict:
      content = content[wrapper]
  if type(content) is not dict or not content:
    raise opcodes.Refused('holds no state_dict: save network.state_dict()')
  for name, tensor in content.items():
    if type(tensor) is not Tensor or type(name) is not str:
      raise opcodes.Refused(
        f'holds {ascii(str(name)[:80])}, which is not a tensor: save '
        'network.state_dict()'
      )
  if all(name.startswith(_PREFIX) for name in content):
    return {name.removeprefix(_PREFIX): x for name, x in content.items()}
  return content
