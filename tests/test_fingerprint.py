"""Tests of fingerprints of datasets: what they detect, and their cost."""

import os
import shutil

import pytest
import tiny

from cyclegan_jax.data import fingerprint
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.source import Source
from cyclegan_jax.data.sources import aligned, folder


@pytest.fixture
def data(tmp_path):
  tiny.write_pictures(tmp_path / 'data', train=(3, 3))
  return tmp_path / 'data'


def listing(root):
  return fingerprint.listing(folder(root))


def change(path, place):
  """Changes one byte of a file."""
  content = bytearray(path.read_bytes())
  content[place] ^= 1
  path.write_bytes(content)


def test_a_copy_has_an_equal_fingerprint(data, tmp_path):
  copy = tmp_path / 'elsewhere' / 'named so'
  shutil.copytree(data, copy)
  for path in copy.rglob('*.png'):
    os.utime(path, (1, 1))
  (copy / 'trainA' / '0.png').chmod(0o600)
  assert listing(copy) == listing(data)
  assert [x[0] for x in listing(data)['testB']] == [
    'testB/0.png',
    'testB/1.png',
  ]


@pytest.mark.parametrize('place', [0, 600, -1])
def test_changed_contents_of_equal_size_are_found(place, data):
  before = listing(data)
  change(data / 'trainB' / '1.png', place)
  now = listing(data)
  assert now['trainA'] == before['trainA']
  assert fingerprint.digest(now['trainB']) != fingerprint.digest(
    before['trainB']
  )
  assert (
    fingerprint.difference(before['trainB'], now['trainB'])
    == 'trainB/1.png has changed contents'
  )


def test_the_first_difference_is_named(data):
  before = listing(data)['trainA']
  path = data / 'trainA' / '1.png'
  size = path.stat().st_size
  with path.open('ab') as file:
    file.write(b'more')
  now = listing(data)['trainA']
  assert fingerprint.difference(before, now) == (
    f'trainA/1.png had {size:,} bytes, now has {size + 4:,}'
  )
  assert fingerprint.difference(before, now, mended=['trainA/1.png']) == ''
  path.rename(data / 'trainA' / '10.png')
  now = listing(data)['trainA']
  assert fingerprint.difference(before, now) == 'trainA/1.png is missing'
  assert fingerprint.difference(now, before) == 'trainA/10.png is missing'
  assert fingerprint.difference(before[:2], before) == 'trainA/2.png is new'
  assert fingerprint.difference(before[::-1], before).endswith('another order')
  assert fingerprint.difference(before, before) == ''


def test_names_of_subfolders_are_compared(data, tmp_path):
  """Files with equal base names and contents are in different subfolders."""
  other = tmp_path / 'other'
  shutil.copytree(data, other)
  for root, name in ((data, 'summer'), (other, 'winter')):
    (root / 'trainA' / name).mkdir()
    for path in list((root / 'trainA').glob('*.png')):
      path.rename(root / 'trainA' / name / path.name)
  change = fingerprint.difference(
    listing(data)['trainA'], listing(other)['trainA']
  )
  assert change == 'trainA/summer/0.png is missing'


def test_only_a_sample_of_pictures_is_read(data, monkeypatch):
  monkeypatch.setattr(fingerprint, '_SAMPLED', 2)
  entries = listing(data)['trainA']
  assert [entry[2] is None for entry in entries] == [False, True, False]
  assert all(entry[1] for entry in entries)
  # Contents that were not read on one side count as equal.
  monkeypatch.undo()
  assert fingerprint.difference(entries, listing(data)['trainA']) == ''


def test_only_parts_of_a_large_file_are_read(data, monkeypatch):
  before = listing(data)['trainA']
  monkeypatch.setattr(fingerprint, '_BYTES', 3 * 30)
  parts = fingerprint._parts(1000, 30)
  assert parts == [(0, 10), (495, 505), (990, 1000)]
  entries = listing(data)['trainA']
  assert [x[:2] for x in entries] == [x[:2] for x in before]
  size = entries[1][1]
  change(data / 'trainA' / '1.png', size // 4)  # between the parts
  assert listing(data)['trainA'] == entries
  change(data / 'trainA' / '1.png', size - 1)
  assert listing(data)['trainA'][1] != entries[1]


def test_encoded_bytes_have_a_fingerprint(data):
  """TensorFlow datasets yield encoded bytes."""
  content = (data / 'trainA' / '0.png').read_bytes()
  pictures = [Picture('cycle_gan/x trainA 0', content)]
  domains = {'a': pictures, 'b': pictures}
  found = fingerprint.listing(Source(domains, domains))
  assert found['trainA'] == found['testB']
  name, size, crc = found['trainA'][0]
  assert (name, size) == (pictures[0].name, len(content))
  assert crc == listing(data)['trainA'][0][2]


def test_halves_are_read_once(data, monkeypatch):
  (data / 'trainA').rename(data / 'train')
  read = []
  monkeypatch.setattr(
    fingerprint, '_sum', lambda path, share: read.append(path) or (1, 1)
  )
  found = fingerprint.listing(aligned(data))
  assert found['trainA'] == found['trainB'] and len(read) == 3


def test_training_pictures_used_as_test_set_are_not_listed(data):
  shutil.rmtree(data / 'testB')
  assert sorted(listing(data)) == ['testA', 'trainA', 'trainB']


def test_label_maps_are_listed(data):
  (data / 'classes.json').write_text('{"dark": [0, 0, 0]}')
  shutil.copytree(data / 'testA', data / 'testLabels')
  assert 'testLabels' in listing(data)
