"""Writes .pth files that PyTorch loads, with `weights_only=True` as well."""

import io
import struct
import sys
import zipfile

import numpy as np

from cyclegan_jax.common import files
from cyclegan_jax.pth.tensors import STORAGES

# Where PyTorch lets the numbers of a tensor start.
_ALIGNMENT = 64
_NAMES = {dtype: name for name, dtype in STORAGES.items()}


def write(path, tensors):
  """Writes a state_dict as `torch.save` does, whole or not at all.

  The same tensors give the same bytes.

  Args:
    path: the file, in a folder that is made if missing.
    tensors: {name: array}.

  Raises:
    UserError: it can't be written.
    KeyError: an array of a dtype that is not in `STORAGES`.
  """
  path = files.place(path)
  # No ascontiguousarray: it makes vectors of single numbers.
  arrays = [np.asarray(x, order='C') for x in tensors.values()]
  packed, folder = io.BytesIO(), path.stem
  with zipfile.ZipFile(packed, 'w') as archive:
    _add(archive, f'{folder}/data.pkl', _pickled(dict(zip(tensors, arrays))))
    _add(archive, f'{folder}/byteorder', sys.byteorder.encode())
    for i, array in enumerate(arrays):
      _add(archive, f'{folder}/data/{i}', array.tobytes())
    _add(archive, f'{folder}/version', b'3\n')
  with files.writing(path.parent):
    files.write(path, packed.getvalue())


def _add(archive, name, data):
  entry = zipfile.ZipInfo(name)  # not compressed, always of the same date
  # A field of zeros in the entry's header moves its data to a multiple.
  start = archive.fp.tell() + zipfile.sizeFileHeader + len(name.encode()) + 4
  padding = -start % _ALIGNMENT
  entry.extra = struct.pack('<2sH', b'FB', padding) + bytes(padding)
  archive.writestr(entry, data)


def _pickled(tensors):
  """The instructions that make an OrderedDict of tensors, in protocol 2."""
  items = [
    _text(name) + _tensor(str(i), array)
    for i, (name, array) in enumerate(tensors.items())
  ]
  return b'\x80\x02' + _ORDERED_DICT + b'(' + b''.join(items) + b'u.'


def _tensor(key, array):
  strides = [step // array.itemsize for step in array.strides]
  storage = _tuple(
    _text('storage'),
    _name('torch', _NAMES[array.dtype]),
    _text(key),
    _text('cpu'),
    _number(array.size),
  )
  arguments = _tuple(
    storage + b'Q',
    _number(0),
    _tuple(*map(_number, array.shape)),
    _tuple(*map(_number, strides)),
    b'\x89',  # no gradient required
    _ORDERED_DICT,  # no hooks
  )
  return _name('torch._utils', '_rebuild_tensor_v2') + arguments + b'R'


def _text(text):
  data = text.encode()
  return b'X' + struct.pack('<I', len(data)) + data


def _number(number):
  data = number.to_bytes(8, 'little', signed=True)
  return b'\x8a' + bytes([len(data)]) + data


def _tuple(*items):
  return b'(' + b''.join(items) + b't'


def _name(module, name):
  return f'c{module}\n{name}\n'.encode()


_ORDERED_DICT = _name('collections', 'OrderedDict') + b')R'
