"""Writes files like `torch.save`, from single pickle instructions."""

import struct
import zipfile

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


class Raw(bytes):
  """Pickle instructions, as opposed to bytes that are to be pickled."""


def emit(x):
  """Returns the pickle instructions that make `x`."""
  if isinstance(x, Raw):
    return x
  if x is None or isinstance(x, bool):
    return {None: b'N', True: b'\x88', False: b'\x89'}[x]
  if isinstance(x, int) and abs(x) < 2**31:
    return b'J' + struct.pack('<i', x)
  if isinstance(x, int):
    data = x.to_bytes((x.bit_length() + 8) // 8, 'little', signed=True)
    return b'\x8b' + struct.pack('<i', len(data)) + data
  if isinstance(x, float):
    return b'G' + struct.pack('>d', x)
  if isinstance(x, str):
    return b'X' + struct.pack('<I', len(x.encode())) + x.encode()
  items = b''.join(emit(item) for item in (x.items() if type(x) is dict else x))
  if isinstance(x, tuple):
    return b'(' + items + b't'
  if isinstance(x, list):
    return b'](' + items + b'e'
  pairs = b''.join(emit(key) + emit(value) for key, value in x.items())
  return b'}(' + pairs + b'u'


def name(module, name):
  return Raw(f'c{module}\n{name}\n'.encode())


def call(function, *arguments):
  return Raw(function + emit(arguments) + b'R')


def ordered_dict(items):
  pairs = b''.join(emit(key) + emit(value) for key, value in items.items())
  return Raw(call(name('collections', 'OrderedDict')) + b'(' + pairs + b'u')


def storage(key, size, kind='FloatStorage', *more):
  reference = ('storage', name('torch', kind), key, 'cpu', size, *more)
  return Raw(emit(reference) + b'Q')


def tensor(of, shape, strides, offset=0, function='_rebuild_tensor_v2'):
  arguments = (of, offset, shape, strides)
  if function == '_rebuild_tensor_v2':
    arguments += (False, ordered_dict({}))
  return call(name('torch._utils', function), *arguments)


def pickled(x):
  return b'\x80\x02' + emit(x) + b'.'


def write_zip(
  path, content, storages=None, compression=zipfile.ZIP_STORED, **files
):
  """Writes a .pth file of PyTorch 1.6 or later.

  Args:
    path: path of the file.
    content: object that `emit` accepts.
    storages: {key: bytes}.
    compression: constant of `zipfile`.
    **files: other entries of the archive, as {name: bytes}.
  """
  with zipfile.ZipFile(path, 'w', compression) as archive:
    archive.writestr('archive/data.pkl', pickled(content))
    for file, data in files.items():
      archive.writestr(f'archive/{file}', data)
    for key, data in (storages or {}).items():
      archive.writestr(f'archive/data/{key}', data)
    archive.writestr('archive/version', b'3\n')
  return path


def write_old(
  path,
  content,
  storages=None,
  magic=MAGIC,
  version=VERSION,
  little=True,
  keys=None,
):
  """Writes a .pth file of PyTorch before 1.6.

  Args:
    path: path of the file.
    content: object that `emit` accepts.
    storages: {key: (count of numbers, bytes)}.
    magic: first object of the file.
    version: second object of the file.
    little: if True, the third object declares little-endian bytes.
    keys: last object of the file; by default the keys of `storages`.
  """
  storages = storages or {}
  order = '<' if little else '>'
  system = {'protocol_version': VERSION, 'little_endian': little}
  if isinstance(little, Raw):
    order, system = '<', little
  objects = [magic, version, system, content]
  objects.append(list(storages) if keys is None else keys)
  data = b''.join(map(pickled, objects))
  for count, raw in storages.values():
    data += struct.pack(f'{order}q', count) + raw
  path.write_bytes(data)
  return path


def write_both(folder, content, storages=None, size=4):
  """Writes a file in each format; storages have numbers of `size` bytes."""
  old = {key: (len(raw) // size, raw) for key, raw in (storages or {}).items()}
  return [
    write_zip(folder / 'new.pth', content, storages),
    write_old(folder / 'old.pth', content, old),
  ]
