"""Reads the tensors of a .pth file, new (zip) or old, and runs nothing of it.

Whatever a file holds, it takes no more memory than a few times its own size.
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
# What a larger checkpoint may hold the state_dict under.
_WRAPPERS = ('state_dict', 'model')
_PREFIX = 'module.'  # of torch.nn.DataParallel
# How many tensors may hold a number, in the mean. Whoever copies them all needs
# that much more memory than the file has bytes.
_SHARING = 10


def read(path):
  """The tensors of a state_dict.

  A state_dict under 'state_dict' or 'model' of a larger checkpoint is taken
  out, and the 'module.' before all of its names taken off.

  Args:
    path: a .pth file, as `torch.save` writes it since 2017.

  Returns:
    {name: array}, in the file's order. The arrays are read-only windows on
    what was read, of any strides; those of a bfloat16 are of `ml_dtypes`.

  Raises:
    UserError: there is no such file, it is damaged, or holds anything else.
  """
  path = files.place(path)
  try:
    with files.here(path) as file:
      return _arrays(*_load(file))
  except opcodes.Refused as e:
    raise UserError(f'{path} {e}') from e
  except Exception as e:  # damaged files make the library raise anything
    if reason := files.failed(e):
      raise UserError(f'{path} cannot be read ({reason})') from e
    reason = ascii(str(e))[1:-1][:80] or type(e).__name__
    raise UserError(
      f'{path} is damaged or no state_dict of PyTorch ({reason}): get it anew'
    ) from e


def _load(path):
  """The pickled object and {key: numbers of a storage}."""
  with path.open('rb') as file:
    start = file.read(262)
  if start.startswith(b'PK'):
    with zipfile.ZipFile(path) as archive:
      return _load_zip(archive, path.stat().st_size)
  if start[257:] == b'ustar':
    raise opcodes.Refused(
      'is a tar archive of PyTorch before 2017, which is not read: load it '
      'with PyTorch and save it anew'
    )
  return _load_old(path.read_bytes())


def _load_zip(archive, size):
  entries = {x.filename: x for x in archive.infolist()}
  for entry in entries.values():
    if entry.compress_type != zipfile.ZIP_STORED:
      raise opcodes.Refused(
        'is compressed, as torch.save does not: unpack it and pack it with '
        'zip -0'
      )
  if sum(x.file_size for x in archive.infolist()) > size:
    raise ValueError('its parts are larger than the whole')
  pickles = [
    x for x in entries if x.count('/') == 1 and x.endswith('/data.pkl')
  ]
  if len(pickles) != 1:
    raise ValueError('no data.pkl in it')
  folder = pickles[0].removesuffix('data.pkl')
  order = 'little'
  if f'{folder}byteorder' in entries:
    order = archive.read(f'{folder}byteorder').decode()
  if order not in ('little', 'big'):
    raise ValueError('an unknown order of bytes')
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
    raise ValueError('an unknown version')
  system = opcodes.load(stream, storages)
  order = 'little' if system['little_endian'] else 'big'
  content = opcodes.load(stream, storages)
  keys = opcodes.load(stream, storages)
  if type(keys) is not list or not all(type(key) is str for key in keys):
    raise ValueError('keys that are no list of text')
  data, numbers = memoryview(data)[stream.tell() :], {}
  for key in keys:
    storage = storages[key]
    if int.from_bytes(data[:8], order) != storage.size:
      raise ValueError('a storage of another size than its tensors say')
    end = 8 + storage.size * storage.dtype.itemsize
    numbers[key] = _numbers(data[8:end], storage, order)
    data = data[end:]
  return content, numbers


def _numbers(raw, storage, order):
  """A storage's bytes as an array of this machine's byte order."""
  if len(raw) != storage.size * storage.dtype.itemsize:
    raise ValueError('a storage that is cut off')
  numbers = np.frombuffer(raw, storage.dtype)
  return numbers if order == sys.byteorder else numbers.byteswap()


def _arrays(content, numbers):
  tensors = _state_dict(content)
  there = sum(x.size for x in numbers.values())
  if sum(math.prod(x.shape) for x in tensors.values()) > _SHARING * there:
    raise ValueError('too many tensors that share their numbers')
  return {name: view(x, numbers[x.storage.key]) for name, x in tensors.items()}


def _state_dict(content):
  """{name: `Tensor`} of what was pickled."""
  for wrapper in _WRAPPERS:
    if type(content) is dict and type(content.get(wrapper)) is dict:
      content = content[wrapper]
  if type(content) is not dict or not content:
    raise opcodes.Refused('holds no state_dict: save network.state_dict()')
  for name, tensor in content.items():
    if type(tensor) is not Tensor or type(name) is not str:
      raise opcodes.Refused(
        f'holds {ascii(str(name)[:80])}, which is no tensor: save '
        'network.state_dict()'
      )
  if all(name.startswith(_PREFIX) for name in content):
    return {name.removeprefix(_PREFIX): x for name, x in content.items()}
  return content
