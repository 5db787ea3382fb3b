"""Writer of .pth files that PyTorch can load, also with `weights_only=True`."""

import io
import struct
import sys
import zipfile

import numpy as np

from cyclegan_jax.common import files
from cyclegan_jax.pth.tensors import STORAGES

# The values of a tensor start at a multiple of this number of bytes.
_ALIGNMENT = 64
_NAMES = {dtype: name for name, dtype in STORAGES.items()}


def write(path, tensors):
  """Writes a state_dict in the format of `torch.save`.

  The file is written completely or not at all. Equal tensors and file names
  give bit-identical files.

  Args:
    path: path of the file; its folder is made if missing.
    tensors: {name: array}.

  Raises:
    UserError: the file cannot be written.
    KeyError: an array has a type that is not in `tensors.STORAGES`.
  """
  path = files.place(path)
  # Not np.ascontiguousarray, which turns scalars into vectors.
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
  entry = zipfile.ZipInfo(name)  # not compressed, with a fixed date
  # A field of zeros in the entry's header aligns the entry's data.
  start = archive.fp.tell() + zipfile.sizeFileHeader + len(name.encode()) + 4
  padding = -start % _ALIGNMENT
  entry.extra = struct.pack('<2sH', b'FB', padding) + bytes(padding)
  archive.writestr(entry, data)


def _pickled(tensors):
  """Returns the pickle, in protocol 2, of an OrderedDict of tensors."""
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
