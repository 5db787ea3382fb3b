"""Tests that malicious .pth files are refused at low cost and run no code."""

import copyreg
import io
import pickle
import random
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pth_files as made
import pytest

from cyclegan_jax import pth
from cyclegan_jax.common.errors import UserError

NUMBERS = np.arange(6, dtype=np.float32)
STORAGES = {'0': NUMBERS.tobytes()}
TENSOR = made.tensor(made.storage('0', 6), (2, 3), (3, 1))
# Positions in a file that can contain a pickle.
PLACES = ('zip', 'old', 'magic', 'version', 'system', 'keys')


def write(path, place, content):
  """Writes a file with an object, given as instructions, at a position."""
  if place == 'zip':
    return made.write_zip(path, content, STORAGES)
  old = {'0': (6, STORAGES['0'])}
  if place == 'old':
    return made.write_old(path, content, old)
  argument = 'little' if place == 'system' else place
  return made.write_old(path, {'a': TENSOR}, old, **{argument: content})


def global_(module, name):
  return made.name(module, name)


def stack_global(module, name):
  return made.Raw(made.emit(module) + made.emit(name) + b'\x93')


def called(spell, module, name, *arguments):
  """Returns a call of a function, spelt as `spell` does."""
  if spell == 'INST':
    pushed = b''.join(map(made.emit, arguments))
    return made.Raw(b'(' + pushed + f'i{module}\n{name}\n'.encode())
  if spell == 'OBJ':
    pushed = b''.join(map(made.emit, arguments))
    return made.Raw(b'(' + global_(module, name) + pushed + b'o')
  function = {'GLOBAL': global_, 'STACK_GLOBAL': stack_global}[spell]
  return made.call(function(module, name), *arguments)


SPELLINGS = ('GLOBAL', 'STACK_GLOBAL', 'INST', 'OBJ')


@pytest.mark.parametrize('spell', SPELLINGS)
def test_python_would_run_these_attacks(spell, tmp_path):
  marker = tmp_path / 'marker'
  attack = called(spell, 'posix', 'system', f'touch {marker}')
  pickle.loads(made.pickled(attack))
  assert marker.exists()


@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('spell', SPELLINGS)
def test_function_calls_are_refused_by_name_and_not_run(spell, place, tmp_path):
  marker = tmp_path / 'marker'
  for module, name, argument in (
    ('os', 'system', f'touch {marker}'),
    ('posix', 'system', f'touch {marker}'),
    ('nt', 'system', 'cmd'),
    ('subprocess', 'Popen', ['touch', str(marker)]),
    ('subprocess', 'check_output', ['touch', str(marker)]),
    ('builtins', 'eval', f'open({str(marker)!r}, "w")'),
    ('builtins', 'exec', f'open({str(marker)!r}, "w")'),
    ('builtins', '__import__', 'os'),
    ('__builtin__', 'eval', '1'),
    ('importlib', 'import_module', 'os'),
    ('pathlib', 'Path.touch', str(marker)),
    ('pickle', 'loads', 'x'),
    ('torch.hub', 'load', 'x'),
    ('torch.jit', 'load', 'x'),
    ('torch', 'load', 'x'),
    ('torch.storage', '_load_from_bytes', 'x'),
    ('torch._utils', '_rebuild_tensor_v2.__globals__', 'x'),
    ('torch._utils', '_rebuild_sparse_tensor', 'x'),
    ('collections', 'OrderedDict.fromkeys', 'x'),
    ('collections', 'defaultdict', 'x'),
    ('collections.OrderedDict', '__class__', 'x'),
    ('numpy.core.multiarray', '_reconstruct', 'x'),
    ('cyclegan_jax.pth.opcodes', 'load', 'x'),
  ):
    for hidden in (False, True):
      attack = called(spell, module, name, argument)
      # After tensors, inside a dict, and called only for its side effect.
      content = made.ordered_dict({'a': TENSOR, 'b': {'c': [attack]}})
      path = write(tmp_path / 'a.pth', place, content if hidden else attack)
      with pytest.raises(UserError) as error:
        pth.read(path)
      text = str(error.value)
      assert text.startswith(f'{path} asks for ') and '\n' not in text
      assert f'{module}.{name}' in text
      assert 'a state_dict holds tensors only' in text
      assert not marker.exists()


def test_getattr_chains_are_refused(tmp_path):
  getattr_ = made.name('builtins', 'getattr')
  module = made.call(made.name('builtins', '__import__'), 'os')
  system = made.call(getattr_, module, 'system')
  attack = made.call(system, 'true')
  assert pickle.loads(made.pickled(attack)) == 0
  for place in PLACES:
    path = write(tmp_path / 'a.pth', place, attack)
    with pytest.raises(UserError, match='asks for builtins.getattr'):
      pth.read(path)


@pytest.mark.parametrize(
  'opcode, size', [(b'\x82', '<B'), (b'\x83', '<H'), (b'\x84', '<i')]
)
def test_extension_codes_are_refused(opcode, size, tmp_path):
  marker = tmp_path / 'marker'
  copyreg.add_extension('posix', 'system', 200)
  try:
    function = made.Raw(opcode + struct.pack(size, 200))
    attack = made.call(function, f'touch {marker}')
    pickle.loads(made.pickled(attack))
    assert marker.exists()
    marker.unlink()
    for place in PLACES:
      path = write(tmp_path / 'a.pth', place, attack)
      with pytest.raises(UserError, match=r'asks for EXT\d.200'):
        pth.read(path)
    assert not marker.exists()
  finally:
    copyreg.remove_extension('posix', 'system', 200)


ORDERED_DICT = made.ordered_dict({'a': TENSOR})
REBUILD = made.name('torch._utils', '_rebuild_tensor_v2')


def built(target, state):
  return made.Raw(made.emit(target) + made.emit(state) + b'b')


@pytest.mark.parametrize(
  'content',
  [
    built(ORDERED_DICT, {'__class__': 1}),
    built(ORDERED_DICT, {'_metadata': {}, '__setitem__': 1}),
    built(ORDERED_DICT, (None, {'__class__': 1})),
    built(ORDERED_DICT, 'text'),
    built(REBUILD, {'__code__': 1}),
    built(REBUILD, {'_metadata': 1}),
    built(TENSOR, {'_metadata': 1}),
    built([1], {'_metadata': 1}),
    made.call(TENSOR, 1),
    made.call(made.name('torch', 'FloatStorage'), 'x'),
    made.call(made.emit('os.system'), 'true'),
    made.Raw(REBUILD + made.emit([1]) + b'R'),
    made.Raw(REBUILD + made.emit({'a': 1}) + b'('),
    made.Raw(REBUILD + made.emit('a') + made.emit(1) + b's'),
    made.Raw(made.emit({}) + b'(' + made.emit('a') + b'u'),
    made.Raw(made.emit('a') + made.emit(1) + b'a'),
    made.call(made.name('collections', 'OrderedDict'), [[1, 2, 3]]),
    made.call(made.name('collections', 'OrderedDict'), {'ab': 1}),
    made.call(made.name('collections', 'OrderedDict'), 7),
    made.call(made.name('collections', 'OrderedDict'), [[[], 1]]),
    made.call(REBUILD),
    made.call(REBUILD, 1, 2, 3, 4, 5, 6, 7),
    made.Raw(REBUILD + b')\x81'),  # NEWOBJ
    made.Raw(REBUILD + b'))\x92'),  # NEWOBJ_EX
    made.Raw(b'Pname\n'),  # PERSID
    made.Raw(b'h\x07'),  # reads an empty memo
    made.Raw(b'0'),
    made.Raw(b't'),
    made.Raw(b'R'),
    made.Raw(b'.'),
    made.Raw(b'\x86'),
    made.Raw(b'Q'),
    made.Raw(b'\x93'),
    made.Raw(made.emit(1) + made.emit(2) + b'\x93'),
    made.Raw(b'\xff'),
    made.Raw(b''),
  ],
)
@pytest.mark.parametrize('place', ['zip', 'old', 'system'])
def test_misuse_of_allowed_instructions_is_refused(content, place, tmp_path):
  path = write(tmp_path / 'a.pth', place, content)
  with pytest.raises(UserError) as error:
    pth.read(path)
  assert str(path) in str(error.value) and '\n' not in str(error.value)


FLOATS = made.name('torch', 'FloatStorage')


@pytest.mark.parametrize(
  'reference',
  [
    'storage',
    (),
    ('storage',),
    ('module', FLOATS, '0', 'cpu', 6),
    ('storage', made.name('collections', 'OrderedDict'), '0', 'cpu', 6),
    ('storage', 'FloatStorage', '0', 'cpu', 6),
    ('storage', FLOATS, 0, 'cpu', 6),
    ('storage', FLOATS, '0', None, 6),
    ('storage', FLOATS, '0', 'cpu', '6'),
    ('storage', FLOATS, '0', 'cpu', 6.0),
    ('storage', FLOATS, '0', 'cpu', -1),
    ('storage', FLOATS, '0', 'cpu', 7),
    ('storage', FLOATS, '0', 'cpu', 2**62),
    ('storage', FLOATS, '0', 'cpu', 6, ('0', 0, 6)),
    ('storage', FLOATS, '0', 'cpu', 6, None, None),
    ('storage', FLOATS, '../data.pkl', 'cpu', 6),
    ('storage', FLOATS, '/etc/passwd', 'cpu', 6),
    ['storage'],
  ],
)
def test_invalid_storage_references_are_refused(reference, tmp_path):
  of = made.Raw(made.emit(reference) + b'Q')
  content = {'a': made.tensor(of, (6,), (1,))}
  for place in ('zip', 'old'):
    path = write(tmp_path / 'a.pth', place, content)
    with pytest.raises(UserError, match='a.pth is damaged'):
      pth.read(path)


@pytest.mark.parametrize(
  'offset, shape, strides',
  [
    (0, (7,), (1,)),
    (1, (6,), (1,)),
    (6, (), ()),
    (0, (2, 3), (4, 1)),
    (0, (2, 3), (3, 2)),
    (-1, (2,), (1,)),
    (0, (-1,), (1,)),
    (0, (-2, -3), (3, 1)),
    (5, (6,), (-1,)),
    (0, (2**40,), (0,)),  # terabytes of a single value
    (0, (2**31, 2**31), (0, 0)),
    (0, (2**64,), (2**64,)),
    (2**64, (1,), (1,)),
    (0, (0, 2**80), (1, 1)),
    (0, (7, 1), (0, 0)),
    (0, (1,) * 40, (1,) * 40),
    (0, (2, 3), (3,)),
    (0, [6], [1]),
    (0, (6.0,), (1,)),
    (0, (6,), ('1',)),
    (0, (True,), (1,)),
    (0.0, (6,), (1,)),
    ((), (6,), (1,)),
    (0, 6, 1),
    (0, None, None),
  ],
)
@pytest.mark.parametrize('function', ['_rebuild_tensor_v2', '_rebuild_tensor'])
def test_tensors_beyond_their_storage_are_refused(
  function, offset, shape, strides, tmp_path
):
  of = made.storage('0', 6)
  content = {'a': made.tensor(of, shape, strides, offset, function)}
  for place in ('zip', 'old'):
    path = write(tmp_path / 'a.pth', place, content)
    with pytest.raises(UserError, match='a.pth is damaged'):
      pth.read(path)


def test_a_storage_of_two_kinds_is_refused(tmp_path):
  for more in (('0', 6, 'IntStorage'), ('0', 3, 'DoubleStorage')):
    other = made.tensor(made.storage(*more), (3,), (1,))
    for place in ('zip', 'old'):
      path = write(tmp_path / 'a.pth', place, {'a': TENSOR, 'b': other})
      with pytest.raises(UserError, match='different sizes or types'):
        pth.read(path)


def doubling(depth):
  """Returns nested pairs of pairs, each pair made once."""
  steps = b''.join(
    b'q' + bytes([i]) + b'h' + bytes([i]) + b'\x86' for i in range(depth)
  )
  return made.Raw(b')' + steps)


def list_used_often(count):
  """Returns OrderedDicts of a long list of pairs, one per entry of the list."""
  pairs = made.emit([[str(i), 1] for i in range(count)]) + b'q\x00'
  again = made.name('collections', 'OrderedDict') + b'h\x00\x85R'
  return made.Raw(pairs + b'(' + again * count + b't')


BOMBS = {
  'a place of memory far off': made.Raw(b')r\xff\xff\xff\x7f'),
  'text said to be long': made.Raw(b'\x8d' + struct.pack('<Q', 2**60)),
  'text said to be too long': made.Raw(b'\x8d' + struct.pack('<Q', 2**64 - 1)),
  'a number said to be long': made.Raw(b'\x8b' + struct.pack('<i', 2**31 - 1)),
  'bytes said to be long': made.Raw(b'\x8e' + struct.pack('<Q', 2**60)),
  'a frame said to be long': made.Raw(b'\x95' + struct.pack('<Q', 2**60)),
  'a long number': made.Raw(made.emit(1 << 800_000)),
  'deep tuples': made.Raw(b')' + b'\x85' * 200_000),
  'deep tuples as a key': made.Raw(
    b'})' + b'\x85' * 200_000 + made.emit(1) + b's'
  ),
  'deep marks': made.Raw(b'(' * 100_000),
  'deep lists': made.Raw(b']' * 100_000 + b'a' * 99_999),
  'a tuple doubled 200 times': doubling(200),
  'the same as a key': made.Raw(b'}' + doubling(200) + b'Ns'),
  'the same as a pair': made.call(
    made.name('collections', 'OrderedDict'), [[doubling(200), 1]]
  ),
  'the same as a shape': made.tensor(made.storage('0', 6), doubling(200), (1,)),
  'the same as a reference': made.Raw(doubling(200) + b'Q'),
  'the same as a name': {'a': doubling(200)},
  'a list used often': list_used_often(20_000),
  'many instructions': made.Raw(b'N' * 1_500_000),
  'a list of itself': made.Raw(b']q\x00h\x00a'),
  'a dict of itself': made.Raw(b'}q\x00' + made.emit('model') + b'h\x00s'),
}


@pytest.mark.parametrize('bomb', BOMBS)
@pytest.mark.parametrize('place', ['zip', 'old', 'keys'])
def test_pickle_bombs_are_refused_quickly_in_little_memory(
  bomb, place, tmp_path
):
  path = write(tmp_path / 'a.pth', place, BOMBS[bomb])
  tracemalloc.start()
  start = time.monotonic()
  try:
    with pytest.raises(UserError) as error:
      pth.read(path)
    _, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  assert len(str(error.value)) < 400 + len(str(path))
  assert peak < 1e8
  assert time.monotonic() - start < 30


def test_zip_bombs_are_refused(tmp_path):
  path = tmp_path / 'a.pth'
  made.write_zip(path, {'a': TENSOR}, {'0': bytes(10**6)}, zipfile.ZIP_LZMA)
  with pytest.raises(UserError, match='is compressed'):
    pth.read(path)
  # Many entries share their bytes.
  with zipfile.ZipFile(path, 'w') as archive:
    keys = [str(i) for i in range(50)]
    content = {
      key: made.tensor(made.storage(key, 2500), (2500,), (1,)) for key in keys
    }
    archive.writestr('archive/data.pkl', made.pickled(content))
    archive.writestr('archive/data/0', bytes(10**4))
    for key in keys[1:]:
      entry = zipfile.ZipInfo(f'archive/data/{key}')
      shared = archive.getinfo('archive/data/0')
      for field in ('header_offset', 'CRC', 'file_size', 'compress_size'):
        setattr(entry, field, getattr(shared, field))
      archive.filelist.append(entry)
      archive.NameToInfo[entry.filename] = entry
  with pytest.raises(UserError, match='larger than the file'):
    pth.read(path)


def test_many_tensors_of_one_storage_are_refused(tmp_path):
  few, many = ({str(i): TENSOR for i in range(count)} for count in (10, 11))
  for place in ('zip', 'old'):
    assert len(pth.read(write(tmp_path / 'a.pth', place, few))) == 10
    with pytest.raises(UserError, match='share their values'):
      pth.read(write(tmp_path / 'a.pth', place, many))


@pytest.mark.parametrize(
  'change',
  [
    {'byteorder': b'middle'},
    {'byteorder': b'\xff'},
    {'other/data.pkl': b''},
  ],
)
def test_invalid_zip_entries_are_refused_or_ignored(change, tmp_path):
  path = made.write_zip(tmp_path / 'a.pth', {'a': TENSOR}, STORAGES, **change)
  if 'byteorder' in change:
    with pytest.raises(UserError, match='damaged'):
      pth.read(path)
  else:
    assert set(pth.read(path)) == {'a'}


def test_zips_without_a_single_pickle_are_refused(tmp_path):
  path = tmp_path / 'a.pth'
  for names in ((), ('a/data.pkl', 'b/data.pkl'), ('data.pkl',)):
    with zipfile.ZipFile(path, 'w') as archive:
      for name in names:
        archive.writestr(name, made.pickled({'a': TENSOR}))
    with pytest.raises(UserError, match='no data.pkl in the archive'):
      pth.read(path)


@pytest.mark.parametrize(
  'change',
  [
    {'magic': 1},
    {'magic': 'x'},
    {'version': 1002},
    {'little': made.Raw(made.emit({'little': True}))},
    {'little': made.Raw(made.emit([1]))},
    {'keys': ['1']},
    {'keys': []},
    {'keys': 7},
    {'keys': [['0']]},
    {'keys': ['0', '0']},
  ],
)
def test_invalid_headers_are_refused(change, tmp_path):
  path = tmp_path / 'a.pth'
  made.write_old(path, {'a': TENSOR}, {'0': (6, STORAGES['0'])}, **change)
  with pytest.raises(UserError, match='damaged'):
    pth.read(path)


def originals(tmp_path):
  state = {
    'a.weight': TENSOR,
    'b': made.tensor(made.storage('1', 2), (), (), 1),
  }
  content = built(made.ordered_dict(state), {'_metadata': {'': {'version': 1}}})
  storages = STORAGES | {'1': bytes(8)}
  return [p.read_bytes() for p in made.write_both(tmp_path, content, storages)]


def mutant(data, random_):
  """Returns damaged data: bytes flipped, changed, removed, doubled or cut."""
  data = bytearray(data)
  for _ in range(random_.choice((1, 1, 2, 5))):
    place = random_.randrange(len(data))
    what = random_.randrange(5)
    if what == 0:
      data[place] ^= 1 << random_.randrange(8)
    elif what == 1:
      data[place] = random_.randrange(256)
    elif what == 2:
      del data[place : place + random_.randrange(1, 9)]
    elif what == 3:
      data[place:place] = data[place : place + random_.randrange(1, 30)]
    else:
      del data[max(place, 1) :]
    data = data or bytearray(1)
  return bytes(data)


def survives(path, data):
  """Returns True if damaged data can be read; other errors must be one line."""
  path.write_bytes(data)
  try:
    arrays = pth.read(path)
  except UserError as e:
    assert str(e).startswith(str(path)) and '\n' not in str(e)
    return False
  for x in arrays.values():
    float(x.sum())  # checks that the values are inside the read data
  return True


def test_cut_off_files_are_refused(tmp_path):
  for data in originals(tmp_path):
    assert survives(tmp_path / 'a.pth', data)
    for end in range(0, len(data) - 1, 4):
      assert not survives(tmp_path / 'a.pth', data[:end])


def test_damaged_files_give_one_line(tmp_path):
  random_ = random.Random(0)
  for data in originals(tmp_path):
    lived = [
      survives(tmp_path / 'a.pth', mutant(data, random_)) for _ in range(400)
    ]
    assert not all(lived)


def test_damaged_pickles_in_valid_zips_give_one_line(tmp_path):
  """The checksums of the zip archive match the damaged pickle."""
  random_ = random.Random(1)
  new, _ = originals(tmp_path)
  with zipfile.ZipFile(io.BytesIO(new)) as archive:
    entries = {name: archive.read(name) for name in archive.namelist()}
  for _ in range(400):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, 'w') as archive:
      for name, data in entries.items():
        damaged = mutant(data, random_) if name.endswith('.pkl') else data
        archive.writestr(name, damaged)
    survives(tmp_path / 'a.pth', packed.getvalue())


def test_garbage_gives_one_line(tmp_path):
  random_ = random.Random(2)
  for size in (0, 1, 2, 10, 500):
    for start in (b'', b'PK\3\4', b'\x80\x02', b'\x80\x04\x95'):
      for _ in range(10):
        assert not survives(tmp_path / 'a.pth', start + random_.randbytes(size))
