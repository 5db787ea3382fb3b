"""Tests of weight files: round trips of random trees, and damaged files."""

import json

import ml_dtypes
import numpy as np
import pytest
import tiny
from flax import serialization
from test_structure import ROOT, imported, modules

from cyclegan_jax.common import weights
from cyclegan_jax.common.errors import UserError

TYPES = [np.dtype(x) for x in weights._TYPES.values()]
NAMES = ('kernel', 'Conv_0', 'a.b', 'ä', ' x', '__metadata', '0')


def tree(rng, depth=3):
  """Random nested dicts of arrays of all types, sizes and memory orders."""
  node = {}
  for name in rng.permutation(NAMES)[: rng.integers(1, 5)]:
    if depth and rng.random() < 0.5:
      node[str(name)] = tree(rng, depth - 1)
    else:
      node[str(name)] = array(rng)
  return node


def array(rng):
  dtype = TYPES[rng.integers(len(TYPES))]
  shape = tuple(rng.integers(0, 4, rng.integers(0, 4)))
  values = rng.normal(size=shape) * 100
  made = np.asarray(np.abs(values), dtype)
  if dtype.kind == 'f' and made.size:
    made.flat[0] = np.nan
  return made.T if rng.random() < 0.5 else made


def same(x, y):
  """Returns True for trees of equal names, types, shapes and bits."""
  if isinstance(x, dict) or isinstance(y, dict):
    return (
      isinstance(x, dict)
      and isinstance(y, dict)
      and x.keys() == y.keys()
      and all(same(x[k], y[k]) for k in x)
    )
  x, y = np.asarray(x), np.asarray(y)
  form = x.dtype == y.dtype and x.shape == y.shape
  return form and x.tobytes() == y.tobytes()


@pytest.mark.parametrize('seed', range(60))
def test_a_tree_is_restored(seed, tmp_path):
  rng = np.random.default_rng(seed)
  params = tree(rng)
  weights.write(tmp_path, params)
  assert [x.name for x in tmp_path.iterdir()] == [weights.WEIGHTS]
  assert same(weights.read(weights.find(tmp_path)), params)


def test_every_type_is_stored(tmp_path):
  params = {x.name: np.ones((2, 3), x) for x in TYPES}
  assert ml_dtypes.bfloat16 in TYPES and len(params) == 13
  weights.write(tmp_path, params)
  assert same(weights.read(tmp_path / weights.WEIGHTS), params)


def test_equal_parameters_give_equal_bytes():
  params = tree(np.random.default_rng(3))
  other = {key: params[key] for key in reversed(params)}
  assert weights.to_bytes(params) == weights.to_bytes(other)


def test_the_header_follows_the_format():
  """The test parses the header without safetensors."""
  kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
  data = weights.to_bytes({'gen': {'a2b': {'kernel': kernel}}})
  size = int.from_bytes(data[:8], 'little')
  header = json.loads(data[8 : 8 + size])
  assert header.pop('__metadata__') == {'format': 'flax'}
  entry = {'dtype': 'F32', 'shape': [2, 3], 'data_offsets': [0, 24]}
  assert header == {'gen/a2b/kernel': entry}
  assert data[8 + size :] == kernel.tobytes()


def damaged(data, rng):
  """Returns file contents that are truncated, changed or extended."""
  data = bytearray(data)
  kind = rng.integers(4)
  if kind == 0:
    return bytes(data[: rng.integers(len(data))])
  if kind == 1:
    return bytes(data) + bytes(rng.integers(1, 99))
  header = 8 + int.from_bytes(data[:8], 'little')
  for _ in range(rng.integers(1, 4)):
    data[rng.integers(8 if kind == 2 else header)] ^= 1 << rng.integers(8)
  return bytes(data)


@pytest.mark.parametrize('seed', range(10))
def test_a_damaged_file_is_named(seed, tmp_path):
  """A damaged file is refused in one line, unless it is still valid."""
  rng = np.random.default_rng(seed)
  whole = weights.to_bytes(tree(rng))
  path, refused = tmp_path / weights.WEIGHTS, 0
  for _ in range(100):
    path.write_bytes(damaged(whole, rng))
    try:
      params = weights.read(path)
    except UserError as e:
      assert str(path) in str(e) and '\n' not in str(e)
      refused += 1
    else:
      assert isinstance(params, dict)
  assert refused > 50


def of_header(header, body=b''):
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  return len(text).to_bytes(8, 'little') + text + body


def entry(dtype='F32', shape=(1,), offsets=(0, 4)):
  return {'dtype': dtype, 'shape': list(shape), 'data_offsets': list(offsets)}


@pytest.mark.parametrize(
  'data',
  [
    b'',
    b'\xff' * 8,
    (2**40).to_bytes(8, 'little') + b'{}',
    of_header(b'{"a": ' * 20_000),
    of_header([]),
    of_header({'a': entry()}, b'123'),
    of_header({'a': entry()}, b'12345'),
    of_header({'a': entry(offsets=(-4, 0))}, b'1234'),
    of_header({'a': entry(offsets=(0, 2**63))}, b'1234'),
    of_header({'a': entry(shape=(2,))}, b'1234'),
    of_header({'a': entry(shape=(-1, -1))}, b'1234'),
    of_header({'a': entry(shape=(2**62, 4))}, b'1234'),
    of_header({'a': entry(shape=(2**62, 0), offsets=(0, 0))}),
    of_header({'a': entry('F8_E4M3', (4,))}, b'1234'),
    of_header({'a': entry('F999')}, b'1234'),
    of_header({'a': entry(), 'b': entry()}, b'1234'),
    of_header({'': entry()}, b'1234'),
    of_header({'a//b': entry()}, b'1234'),
    of_header({'/a': entry()}, b'1234'),
    of_header({'/'.join('a' * 99): entry()}, b'1234'),
    of_header({'a': entry(), 'a/b': entry(offsets=(4, 8))}, b'12345678'),
    of_header({'a/b': entry(), 'a': entry(offsets=(4, 8))}, b'12345678'),
    of_header({'__metadata__': {'a': 1}, 'a': entry()}, b'1234'),
    b'\x80\x04\x95.',  # a pickle
  ],
  ids=lambda data: f'{len(data)} bytes',
)
def test_a_hostile_header_is_refused(data, tmp_path):
  path = tmp_path / weights.WEIGHTS
  path.write_bytes(data)
  with pytest.raises(UserError, match='cannot be read as weights') as e:
    weights.read(path)
  assert str(path) in str(e.value) and '\n' not in str(e.value)


@pytest.mark.parametrize(
  'params', [{'a/b': np.ones(1)}, {'': np.ones(1)}, {'a': np.ones(1, 'S3')}]
)
def test_invalid_names_and_types_are_not_written(params, tmp_path):
  with pytest.raises(ValueError, match='name|stored'):
    weights.write(tmp_path, params)
  assert not list(tmp_path.iterdir())


def test_the_older_format_is_read_and_replaced(tmp_path):
  old, new = ({'gen': {'a': np.full(3, x, np.float32)}} for x in (1, 2))
  path = tmp_path / weights.MSGPACK
  assert weights.find(tmp_path) is None
  path.write_bytes(serialization.msgpack_serialize(old))
  assert weights.find(tmp_path) == path
  tiny.assert_same(weights.read(path), old)
  weights.write(tmp_path, new)
  assert not path.exists()
  tiny.assert_same(weights.read(weights.find(tmp_path)), new)
  # A process killed between writing and deleting leaves both files.
  path.write_bytes(serialization.msgpack_serialize(old))
  assert weights.find(tmp_path) == tmp_path / weights.WEIGHTS


@pytest.mark.parametrize(
  ('library', 'user'),
  [
    ('safetensors', 'common/weights.py'),
    ('huggingface_hub', 'hub/client.py'),
  ],
)
def test_a_library_is_imported_in_one_file(library, user):
  users = {
    path.relative_to(ROOT).as_posix()
    for path in modules()
    if any(f'{name}.'.startswith(f'{library}.') for name in imported(path))
  }
  assert users == {user}
