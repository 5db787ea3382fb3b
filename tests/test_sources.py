"""Tests of datasets on disk and from TFDS: pictures, pairs, labels, errors."""

import json
import pathlib
import shutil
import socket

import numpy as np
import pytest
import tensorflow_datasets
import tiny
from PIL import Image

from cyclegan_jax import main
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.data import sources
from cyclegan_jax.data.decode import load
from cyclegan_jax.data.picture import Picture

NAME = 'cycle_gan/horse2zebra'


def save(file, value=0, size=(10, 9)):
  file.parent.mkdir(parents=True, exist_ok=True)
  Image.new('RGB', size, (value, value, value)).save(file)


def names(root, pictures):
  """Checks the names of pictures; returns their paths within the dataset."""
  assert all(p.name == str(p.data) and p.half is None for p in pictures)
  return [p.data.relative_to(root).as_posix() for p in pictures]


def test_a_folder_is_searched_for_pictures(tmp_path):
  for name in ('b/2.png', 'a/9.jpeg', '10.PNG', '1.Jpg', 'c/d/e.tIFf'):
    save(tmp_path / 'trainA' / name)
  for name in ('x.bmp', 'y.webp', 'z.tif'):
    save(tmp_path / 'trainB' / name)
  save(tmp_path / 'testA' / 'p.png')
  save(tmp_path / 'testB' / 'q.png')
  save(tmp_path / 'trainC' / 'no.png')
  # None of the following is a picture.
  (tmp_path / 'trainA' / 'x.png').mkdir()
  (tmp_path / 'trainA' / 'notes.txt').write_text('no picture')
  (tmp_path / 'trainA' / 'png').write_text('no picture')

  source = sources.SOURCES['folder'](str(tmp_path), '')
  assert names(tmp_path, source.train['a']) == [
    'trainA/1.Jpg',
    'trainA/10.PNG',
    'trainA/a/9.jpeg',
    'trainA/b/2.png',
    'trainA/c/d/e.tIFf',
  ]
  assert names(tmp_path, source.train['b']) == [
    'trainB/x.bmp',
    'trainB/y.webp',
    'trainB/z.tif',
  ]
  assert names(tmp_path, source.test['a']) == ['testA/p.png']
  assert names(tmp_path, source.test['b']) == ['testB/q.png']
  assert not source.paired
  assert source.labels is None
  sources.check(source)


def folder_set(root, test_a=(), test_b=()):
  for name in ('trainA/1.png', 'trainA/2.png', 'trainB/1.png', 'trainB/2.png'):
    save(root / name)
  for name in test_a:
    save(root / 'testA' / name)
  for name in test_b:
    save(root / 'testB' / name)
  return root


@pytest.mark.parametrize(
  'test, missing, note',
  [
    (
      {},
      'ab',
      'no folder {0}/testA and no folder {0}/testB: training pictures of A and '
      'B are shown in place of test pictures',
    ),
    (
      {'test_a': ['1.png']},
      'b',
      'no folder {0}/testB: training pictures of B are shown in place of test '
      'pictures',
    ),
    (
      {'test_b': ['1.png']},
      'a',
      'no folder {0}/testA: training pictures of A are shown in place of test '
      'pictures',
    ),
  ],
)
def test_training_pictures_replace_missing_test_pictures(
  tmp_path, test, missing, note
):
  source = sources.folder(folder_set(tmp_path, **test))
  for domain, other in zip('ab', 'AB'):
    if domain in missing:
      assert source.test[domain] == source.train[domain]
    else:
      found = names(tmp_path, source.test[domain])
      assert found == [f'test{other}/1.png']
  assert dict(source.stands_in) == {
    d: tmp_path / f'test{d.upper()}' for d in missing
  }
  assert source.notes == (note.format(tmp_path),)
  # Training pictures of A and B are not pairs, although their names agree.
  assert not source.paired


def test_agreeing_names_are_noted_and_pairing_can_be_disabled(tmp_path):
  root = folder_set(tmp_path, ['1.png'], ['1.jpg'])
  source = sources.folder(root)
  (note,) = source.notes
  assert 'names in testA and testB agree' in note
  assert note.endswith('(if they are not pairs, set --config.data.paired=no)')
  assert 'names in trainA and trainB agree' in source.pairs_note
  no = sources.folder(root, paired='no')
  assert not no.paired and no.train_pairs is None and no.notes == ()
  assert no.test == source.test
  yes = sources.folder(root, paired='yes')
  assert yes.paired and yes.train_pairs and yes.notes == ()
  with pytest.raises(UserError, match="data.paired='maybe'.*auto"):
    sources.folder(root, paired='maybe')


@pytest.mark.parametrize(
  'test_a, test_b, words',
  [
    (['1.png', '3.png'], ['1.png', '2.png'], 'testA/3.png has no counterpart'),
    (['1.png'], ['1.png', '2.png'], 'testB/2.png has no counterpart'),
    (['1.png', 'x/1.png'], ['1.png'], 'testA/x/1.png has no counterpart'),
    (['1.png'], [], 'no folder .*testB with the counterparts'),
  ],
)
def test_paired_yes_refuses_pictures_without_counterpart(
  tmp_path, test_a, test_b, words
):
  root = folder_set(tmp_path, test_a, test_b)
  with pytest.raises(UserError, match=f'data.paired=yes, but .*{words}'):
    sources.folder(root, paired='yes')
  assert not sources.folder(root).paired


def test_paired_yes_accepts_training_pictures(tmp_path):
  root = folder_set(tmp_path)
  source = sources.folder(root, paired='yes')
  assert source.train_pairs == source.train and source.pairs_note == ''
  save(root / 'trainA' / '3.png')
  with pytest.raises(UserError, match='trainA/3.png has no counterpart'):
    sources.folder(root, paired='yes')
  reason = sources.folder(root).pairs_note
  assert reason.startswith(f'{root}/trainA/3.png has no counterpart')


def test_pairs_are_matched_despite_different_order(tmp_path):
  root = folder_set(tmp_path, ['x_A.png', 'x1_A.png'], ['x.png', 'x1.png'])
  source = sources.folder(root)
  assert source.paired
  assert names(root, source.test['a']) == ['testA/x_A.png', 'testA/x1_A.png']
  assert names(root, source.test['b']) == ['testB/x.png', 'testB/x1.png']


@pytest.mark.parametrize(
  'test_a, test_b, paired',
  [
    (['1.png', '2.png'], ['1.png', '2.png'], True),
    (['1.png', '2.png'], ['2.jpg', '1.jpg'], True),
    (['1.png', '2.png'], ['1.png', '3.png'], False),
    (['1.png', '2.png'], ['1.png'], False),
    # Names as in the official facades, maps and cityscapes.
    (['1_A.jpg', '10_A.jpg'], ['1_B.jpg', '10_B.jpg'], True),
    (['1_A.jpg', '2_A.jpg'], ['1_B.jpg', '3_B.jpg'], False),
    (['1_B.jpg'], ['1_A.jpg'], False),
    (['1_A_A.jpg'], ['1_B.jpg'], False),
  ],
)
def test_agreeing_names_are_pairs(tmp_path, test_a, test_b, paired):
  source = sources.folder(folder_set(tmp_path, test_a, test_b))
  assert source.paired is paired
  # Training pictures are paired by the same rule.
  for domain in 'AB':
    shutil.rmtree(tmp_path / f'train{domain}')
    (tmp_path / f'test{domain}').rename(tmp_path / f'train{domain}')
  source = sources.folder(tmp_path)
  assert source.train_pairs == (source.train if paired else None)
  assert not source.paired


def test_folders_of_pairs_are_used(tmp_path):
  root = folder_set(tmp_path)
  assert sources.folder(root).train_pairs is not None
  save(root / 'pairsA' / '7_A.png')
  assert sources.folder(root).train_pairs == sources.folder(root).train
  notes = sources.folder(root).notes
  assert f'no folder {root}/pairsB: {root}/pairsA is not used' in notes
  save(root / 'pairsB' / '7_B.png')
  source = sources.folder(root)
  assert names(root, source.train_pairs['a']) == ['pairsA/7_A.png']
  assert names(root, source.train_pairs['b']) == ['pairsB/7_B.png']
  assert len(source.train['a']) == 2
  save(root / 'pairsB' / '8_B.png')
  assert sources.folder(root).train_pairs is None


def labelled_set(root, classes):
  folder_set(root, ['1.png', '2.png'], ['1.png', '2.png'])
  for value in (1, 2):
    save(root / 'testLabels' / f'{value}.png', value)
  text = classes if isinstance(classes, str) else json.dumps(classes)
  (root / 'classes.json').write_text(text)
  return root


def test_label_maps_are_found(tmp_path):
  colours = {'sea': [[0, 0, 255]], 'land': [[0, 128, 0], [99, 88, 77]]}
  source = sources.folder(labelled_set(tmp_path, colours))
  assert source.labels.classes == ['sea', 'land']
  assert source.labels.colours == [[[0, 0, 255]], [[0, 128, 0], [99, 88, 77]]]
  assert names(tmp_path, source.labels.pictures) == [
    'testLabels/1.png',
    'testLabels/2.png',
  ]
  assert source.train_labels is None
  sources.check(source)

  for value in (1, 2):
    save(tmp_path / 'trainLabels' / f'{value}.png', value)
  labels = sources.folder(tmp_path).train_labels
  expected = ['trainLabels/1.png', 'trainLabels/2.png']
  assert names(tmp_path, labels.pictures) == expected
  assert labels[1:] == source.labels[1:]
  shutil.rmtree(tmp_path / 'testLabels')
  source = sources.folder(tmp_path)
  assert source.labels is None and source.train_labels == labels
  assert f'no folder {tmp_path}/testLabels: classes' in source.notes[0]
  (tmp_path / 'trainLabels' / '1.png').unlink()
  with pytest.raises(UserError, match='trainLabels/1.png'):
    sources.folder(tmp_path)
  (tmp_path / 'classes.json').unlink()
  source = sources.folder(tmp_path)
  assert source.labels is None and source.train_labels is None
  note = f'no file {tmp_path}/classes.json: trainLabels not used'
  assert note in source.notes


def test_label_maps_of_training_pictures_are_used_for_tests(tmp_path):
  root = labelled_set(tmp_path, {'sea': [[0, 0, 255]]})
  shutil.rmtree(root / 'testA')
  source = sources.folder(root)
  assert source.labels is None
  assert f'no folder {root}/testA: {root}/testLabels is not' in source.notes[1]
  (root / 'testLabels').rename(root / 'trainLabels')
  source = sources.folder(root)
  assert source.labels == source.train_labels is not None


def test_a_missing_label_map_is_named(tmp_path):
  root = labelled_set(tmp_path, {'sea': [[0, 0, 255]]})
  (root / 'testLabels' / '2.png').unlink()
  with pytest.raises(UserError, match='testLabels/2.png'):
    sources.folder(root)


@pytest.mark.parametrize(
  'classes',
  [
    '',
    '{"sea": [[0, 0, 255]]',
    [[0, 0, 255]],
    {'sea': 'blue'},
    {'sea': [[0, 0]]},
    {'sea': ['r', 'g', 'b']},
    {'sea': None},
  ],
)
def test_a_broken_classes_file_is_named(tmp_path, classes):
  root = labelled_set(tmp_path, classes)
  with pytest.raises(UserError, match='classes.json'):
    sources.folder(root)


@pytest.mark.parametrize('name', ['folder', 'aligned'])
def test_an_empty_data_root_is_refused(name):
  with pytest.raises(UserError, match='data.root is not set'):
    sources.SOURCES[name]('', '')


@pytest.mark.parametrize('name', ['folder', 'aligned'])
def test_a_missing_data_root_is_named(tmp_path, name):
  with pytest.raises(UserError) as error:
    sources.SOURCES[name](str(tmp_path / 'nowhere'), '')
  assert str(tmp_path / 'nowhere') in str(error.value)
  assert 'data.root' in str(error.value)


@pytest.mark.parametrize(
  'name, missing', [('folder', 'trainB'), ('aligned', 'train')]
)
def test_a_missing_folder_is_named(tmp_path, name, missing):
  save(tmp_path / 'trainA' / '1.png')
  with pytest.raises(UserError) as error:
    sources.SOURCES[name](str(tmp_path), '')
  assert str(tmp_path / missing) in str(error.value)


@pytest.mark.parametrize('empty', ['trainA', 'testB'])
def test_an_empty_folder_is_named(tmp_path, empty):
  folder_set(tmp_path, ['1.png'], ['1.png'])
  for file in (tmp_path / empty).iterdir():
    file.rename(file.with_suffix('.txt'))
  with pytest.raises(UserError) as error:
    sources.folder(tmp_path)
  assert str(tmp_path / empty) in str(error.value)
  assert '.png' in str(error.value)


def test_home_is_expanded(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(folder_set(tmp_path)))
  assert len(sources.folder('~').train['a']) == 2


def pair(file, left, right):
  save(file, left, (20, 9))
  with Image.open(file) as image:
    image = image.copy()
  image.paste((right, right, right), (10, 0, 20, 9))
  image.save(file)


def values(pictures):
  """Returns the gray values of one-coloured pictures."""
  arrays = [load(p, 1, lambda w, h: (w, h)) for p in pictures]
  assert all((a == a[0, 0]).all() for a in arrays)
  return [int(a[0, 0, 0]) for a in arrays]


@pytest.mark.parametrize('split', ['test', 'val'])
def test_aligned_pictures_are_halved(tmp_path, split):
  for i in range(3):
    pair(tmp_path / 'train' / f'{i}.png', 10 + i, 110 + i)
  for i in range(2):
    pair(tmp_path / split / f'{i}.png', 20 + i, 120 + i)
  source = sources.SOURCES['aligned'](str(tmp_path), '')
  sources.check(source)
  assert values(source.train['a']) == [10, 11, 12]
  assert values(source.train['b']) == [110, 111, 112]
  assert values(source.test['a']) == [20, 21]
  assert values(source.test['b']) == [120, 121]
  assert source.paired
  assert source.train_pairs == source.train


def test_aligned_notes_the_test_pictures(tmp_path):
  pair(tmp_path / 'train' / '1.png', 1, 2)
  source = sources.aligned(tmp_path)
  assert dict(source.stands_in) == dict.fromkeys('ab', tmp_path / 'test')
  assert source.notes[0].startswith(f'no folder {tmp_path}/test: training')
  pair(tmp_path / 'val' / '1.png', 3, 4)
  source = sources.aligned(tmp_path)
  assert not source.stands_in and source.paired
  assert f'the pictures of {tmp_path}/val are the test' in source.notes[0]
  source = sources.aligned(tmp_path, paired='no')
  assert not source.paired and source.train_pairs is None
  pair(tmp_path / 'test' / '1.png', 5, 6)
  assert sources.aligned(tmp_path).notes == ()


def test_aligned_prefers_test_to_val(tmp_path):
  for value, split in enumerate(('train', 'val', 'test')):
    pair(tmp_path / split / '1.png', value, value)
  assert values(sources.aligned(tmp_path).test['b']) == [2]


def test_aligned_uses_training_pictures_without_test_pictures(tmp_path):
  pair(tmp_path / 'train' / '1.png', 1, 2)
  source = sources.aligned(tmp_path)
  assert source.test == source.train
  assert not source.paired
  assert source.train_pairs == source.train


def spoil_with_text(file):
  file.write_text('no picture')


def spoil_with_one_pixel(file):
  save(file, size=(1, 1))


@pytest.mark.parametrize('spoil', [spoil_with_text, spoil_with_one_pixel])
@pytest.mark.parametrize(
  'name', ['trainA/2.png', 'trainB/1.png', 'testB/2.png', 'testLabels/1.png']
)
def test_check_finds_an_unusable_file(tmp_path, spoil, name):
  root = labelled_set(tmp_path, {'sea': [[0, 0, 255]]})
  sources.check(sources.folder(root))
  spoil(root / name)
  with pytest.raises(UserError) as error:
    sources.check(sources.folder(root))
  assert str(root / name) in str(error.value)


def test_check_finds_halves_that_are_too_small(tmp_path):
  save(tmp_path / 'train' / '1.png', size=(14, 9))
  with pytest.raises(UserError, match='1.png'):
    sources.check(sources.aligned(tmp_path))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
  def refuse(*args, **kwargs):
    raise AssertionError('a test reached for the network')

  monkeypatch.setattr(socket, 'getaddrinfo', refuse)
  monkeypatch.setattr(socket.socket, 'connect', refuse)


COUNTS = {'trainA': 5, 'trainB': 4, 'testA': 3, 'testB': 2}


@pytest.fixture(scope='session')
def archive(tmp_path_factory):
  """Folder like the unpacked archive of a TFDS dataset."""
  folder = tmp_path_factory.mktemp('archive')
  random = np.random.RandomState(0)
  for split, count in COUNTS.items():
    (folder / 'horse2zebra' / split).mkdir(parents=True)
    for i in range(count):
      pixels = random.randint(0, 256, (12, 16, 3)).astype(np.uint8)
      file = folder / 'horse2zebra' / split / f'n{i}.jpg'
      Image.fromarray(pixels).save(file)
  return folder


class FakeDownloads:
  """Replacement of TFDS's download manager for a local archive."""

  downloaded_size = 0

  def __init__(self, archive):
    self.archive = archive

  def download_and_extract(self, url):
    assert url.endswith('/horse2zebra.zip')
    if self.archive is None:
      raise ConnectionError('cannot reach the server\nand more lines')
    return str(self.archive)


def replace_downloads(archive, patch):
  patch.setattr(
    tensorflow_datasets.core.DatasetBuilder,
    '_make_download_manager',
    lambda builder, **options: FakeDownloads(archive),
  )


@pytest.fixture(scope='session')
def prepared(archive, tmp_path_factory):
  """Folder (`data_dir`) in which TFDS's own builder prepared the archive."""
  data_dir = tmp_path_factory.mktemp('tfds')
  builder = tensorflow_datasets.builder(NAME, data_dir=data_dir)
  with pytest.MonkeyPatch.context() as patch:
    replace_downloads(archive, patch)
    builder.download_and_prepare()
  return data_dir


def same_size(width, height):
  return width, height


def check_set(source, archive):
  """Checks that a source has each picture of the archive once."""
  for split, count in COUNTS.items():
    pictures = getattr(source, split[:-1])[split[-1].lower()]
    assert len(pictures) == count
    assert len({p.name for p in pictures}) == count
    assert all(NAME in p.name and split in p.name for p in pictures)
    files = (archive / 'horse2zebra' / split).iterdir()
    expected = {f.read_bytes() for f in files}
    assert {p.data for p in pictures} == expected
  assert not source.paired
  assert source.train_pairs is None
  assert source.labels is None
  sources.check(source)


def test_a_tfds_dataset_is_read(prepared, archive):
  source = sources.SOURCES['tfds'](str(prepared), NAME)
  check_set(source, archive)
  again = sources.tfds(str(prepared), NAME)
  assert again == source
  assert sources.tfds(str(prepared), NAME, 'no') == source
  with pytest.raises(UserError, match='data.paired=yes: TFDS'):
    sources.tfds(str(prepared), NAME, 'yes')

  # The pixels equal one of the files.
  array = load(source.train['b'][0], 3, same_size)
  files = sorted((archive / 'horse2zebra' / 'trainB').iterdir())
  arrays = [np.asarray(Image.open(f)) for f in files]
  assert sum((a == array).all() for a in arrays) == 1


@pytest.mark.slow
def test_a_recipe_card_trains_from_a_prepared_tfds_dataset(
  prepared, tmp_path, capsys
):
  argv = tiny.command('horse2zebra', tmp_path, data__root=prepared)
  assert program.run(main.main, argv) == 0
  assert 'finished: all 4 steps' in capsys.readouterr().out


def test_tfds_downloads_a_missing_dataset(archive, tmp_path, monkeypatch):
  """Only the transfer is replaced, so TFDS's other code must be installed."""
  monkeypatch.setattr(
    tensorflow_datasets.download.DownloadManager,
    'download_and_extract',
    lambda manager, url: FakeDownloads(archive).download_and_extract(url),
  )
  check_set(sources.tfds(str(tmp_path), NAME), archive)


@pytest.mark.parametrize(
  'name', ['', 'nothing_of_this_name', 'cycle_gan/horse2zebr']
)
def test_an_unknown_tfds_name_is_one_line(tmp_path, name):
  with pytest.raises(UserError) as error:
    sources.tfds(str(tmp_path), name)
  assert f'data.name={name!r}' in str(error.value)
  assert '\n' not in str(error.value)


def test_tfds_without_network_is_one_line(tmp_path, monkeypatch):
  replace_downloads(None, monkeypatch)
  with pytest.raises(UserError) as error:
    sources.tfds(str(tmp_path), NAME)
  message = str(error.value)
  assert message.startswith(f'{NAME} is not in {tmp_path}')
  assert 'ConnectionError: cannot reach the server' in message
  assert 'configs/satellite2map.py' in message
  assert '\n' not in message


def test_a_tfds_dataset_with_other_splits_is_refused(prepared, tmp_path):
  shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
  (info,) = tmp_path.rglob('dataset_info.json')
  content = json.loads(info.read_text())
  kept = [s for s in content['splits'] if s['name'] != 'testB']
  info.write_text(json.dumps(content | {'splits': kept}))
  with pytest.raises(UserError, match=f'{NAME}.*trainA'):
    sources.tfds(str(tmp_path), NAME)


def test_pictures_know_their_file(tmp_path):
  source = sources.folder(str(folder_set(tmp_path)))
  file = tmp_path / 'trainA' / '1.png'
  assert source.train['a'][0] == Picture(str(file), pathlib.Path(file))
