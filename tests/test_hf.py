"""Tests of datasets of Hugging Face: layouts, lazy reading, one-line errors."""

import io
import json
import shutil
import sys

import psutil
import pytest
import tiny
from PIL import Image

from cyclegan_jax import main
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program
from cyclegan_jax.config.run import build_data
from cyclegan_jax.data import fingerprint
from cyclegan_jax.data.check import check
from cyclegan_jax.data.decode import load
from cyclegan_jax.data.sources import SOURCES

datasets = pytest.importorskip('datasets')
SIZE = 20


def png(value):
  file = io.BytesIO()
  Image.new('RGB', (SIZE, SIZE), (value, 0, 255 - value)).save(file, 'png')
  return file.getvalue()


def rows(**columns):
  """`Dataset` with columns of pictures; a row is a gray value or None."""
  features = datasets.Features(dict.fromkeys(columns, datasets.Image()))
  made = {
    name: [None if x is None else png(x) for x in values]
    for name, values in columns.items()
  }
  return datasets.Dataset.from_dict(made, features=features)


@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
  """Sets an own cache folder and disables access to the Hub."""
  with pytest.MonkeyPatch.context() as patch:
    folder = tmp_path_factory.mktemp('hf_cache')
    patch.setattr(datasets.config, 'HF_DATASETS_CACHE', folder)
    patch.setattr(datasets.config, 'HF_HUB_OFFLINE', True)
    yield folder


@pytest.fixture(scope='module')
def columns():
  """Two columns in splits train and test; the first has an empty row."""
  return datasets.DatasetDict(
    train=rows(imageA=[0, None, 2, 3], imageB=[10, 11, 12, 13]),
    test=rows(imageA=[4, 5], imageB=[14, 15]),
  )


@pytest.fixture(scope='module')
def on_disk(tmp_path_factory, columns):
  folder = tmp_path_factory.mktemp('hf') / 'disk'
  columns.save_to_disk(folder)
  return folder


@pytest.fixture(scope='module')
def parquet(tmp_path_factory, columns):
  folder = tmp_path_factory.mktemp('hf') / 'parquet'
  folder.mkdir()
  for split, of_split in columns.items():
    of_split.to_parquet(folder / f'{split}-00000-of-00001.parquet')
  return folder


@pytest.fixture(scope='module')
def four(tmp_path_factory):
  """One column in four splits."""
  folder = tmp_path_factory.mktemp('hf') / 'four'
  counts = {'trainA': 3, 'trainB': 4, 'testA': 1, 'testB': 2}
  datasets.DatasetDict(
    {split: rows(image=range(count)) for split, count in counts.items()}
  ).save_to_disk(folder)
  return folder


def hf(*args, **options):
  return SOURCES['hf'](*map(str, args), **options)


def values(pictures):
  """Red value of each picture, which identifies the picture."""
  return [int(load(p, 3)[0, 0, 0]) for p in pictures]


def check_columns(source):
  assert values(source.train['a']) == [0, 2, 3]
  assert values(source.train['b']) == [10, 11, 12, 13]
  assert values(source.test['a']) == [4, 5]
  assert values(source.test['b']) == [14, 15]
  assert not source.stands_in and not source.paired
  assert source.train_pairs is None and 'data.paired=yes' in source.pairs_note
  (note,) = source.notes
  assert note.startswith('1 of 4 rows of split train have no picture of A')
  check(source)


@pytest.mark.parametrize('made', ['on_disk', 'parquet'])
def test_domains_can_be_columns(made, request):
  folder = request.getfixturevalue(made)
  check_columns(hf('', folder))
  check_columns(hf(folder.parent, folder.name))
  check_columns(hf(folder, ''))
  swapped = hf('', folder, columns='imageB, imageA', splits='test,train')
  assert values(swapped.train['a']) == [14, 15]
  assert values(swapped.test['b']) == [0, 2, 3]


def test_rows_are_pairs_with_data_paired_yes(on_disk):
  source = hf('', on_disk, 'yes')
  assert source.paired and not source.pairs_note
  assert values(source.train_pairs['a']) == [0, 2, 3]
  assert values(source.train_pairs['b']) == [10, 12, 13]
  assert values(source.test['b']) == [14, 15]
  without = hf('', on_disk, 'yes', splits='train')
  assert without.test == without.train_pairs and not without.paired
  assert set(without.stands_in) == {'a', 'b'}
  assert 'data.paired=no' in hf('', on_disk, 'no').pairs_note


def test_domains_can_be_four_splits(four):
  source = hf('', four)
  assert [len(source.train[d]) for d in 'ab'] == [3, 4]
  assert [len(source.test[d]) for d in 'ab'] == [1, 2]
  without = hf('', four, splits='trainB,trainA,,testA')
  assert [len(without.train[d]) for d in 'ab'] == [4, 3]
  assert set(without.stands_in) == {'a'} and len(without.test['a']) == 4
  assert len(without.test['b']) == 1
  with pytest.raises(UserError, match='paired=yes: true pairs need A and B'):
    hf('', four, 'yes')


def test_domains_can_be_two_datasets(tmp_path):
  rows(image=[1, 2]).to_parquet(tmp_path / 'a.parquet')
  rows(image=[3]).to_parquet(tmp_path / 'b_0.parquet')
  rows(image=[4]).to_parquet(tmp_path / 'b_1.parquet')
  source = hf(tmp_path, 'a.parquet; b_*.parquet')
  assert values(source.train['a']) == [1, 2]
  assert values(source.train['b']) == [3, 4]
  assert set(source.stands_in) == {'a', 'b'}
  assert any('no test split' in note for note in source.notes)


def test_columns_of_bytes_and_of_paths_are_read(tmp_path):
  """Programs other than `datasets` write such parquet files."""
  (tmp_path / '7.png').write_bytes(png(7))
  made = datasets.Dataset.from_dict(
    {
      'raw': [png(5), png(6)],
      'file': [str(tmp_path / '7.png'), str(tmp_path / 'gone.png')],
      'number': [1, 2],
    }
  )
  made.to_parquet(tmp_path / 'x.parquet')
  source = hf(tmp_path, 'x.parquet', columns='raw,file')
  assert values(source.train['a']) == [5, 6]
  assert values(source.train['b'][:1]) == [7]
  with pytest.raises(UserError, match='^train 1 file: .*gone.png cannot be'):
    load(source.train['b'][1], 3)
  assert len(fingerprint.listing(source)['trainB']) == 2


def test_names_and_fingerprints_do_not_depend_on_the_folder(on_disk, parquet):
  first, second, third = hf('', on_disk), hf(on_disk, ''), hf('', parquet)
  names = [p.name for p in first.train['a']]
  assert names == ['train 0 imageA', 'train 2 imageA', 'train 3 imageA']
  listing = fingerprint.listing(first)
  assert listing == fingerprint.listing(second) == fingerprint.listing(third)
  other = fingerprint.listing(hf('', on_disk, columns='imageB,imageA'))
  assert other != listing


def test_pictures_are_read_only_when_needed(tmp_path, rng):
  mebibyte, count = 2**20, 64
  features = datasets.Features({'imageA': datasets.Image()})
  content = [rng.bytes(mebibyte) for _ in range(count)]
  datasets.Dataset.from_dict(
    {'imageA': content}, features=features
  ).rename_column('imageA', 'image').save_to_disk(tmp_path / 'large')
  del content
  hf(tmp_path, 'large;large')  # loads libraries before the memory is measured
  memory = psutil.Process().memory_info
  before = memory().rss
  source = hf(tmp_path, 'large;large')
  pictures = source.train['a'] + source.train['b']
  assert len(pictures) == 2 * count
  assert memory().rss - before < 8 * mebibyte
  assert len(pictures[-1].data.read_bytes()) == mebibyte


def test_a_cached_dataset_of_the_hub_is_read(parquet, cache, tmp_path):
  """The cache is laid out like downloads of `datasets`."""
  hf('', parquet)
  (prepared,) = {x.parent for x in cache.rglob('parquet-test.arrow')}
  kept = tmp_path / 'huggan___horse2zebra' / 'default' / '0.0.0' / 'abcdef'
  kept.mkdir(parents=True)
  for file in prepared.iterdir():
    shutil.copy(file, kept / file.name.replace('parquet-', 'horse2zebra-'))
  info = json.loads((kept / 'dataset_info.json').read_text())
  info |= {'dataset_name': 'horse2zebra', 'config_name': 'default'}
  (kept / 'dataset_info.json').write_text(json.dumps(info))
  check_columns(hf(tmp_path, 'huggan/horse2zebra'))
  check_columns(hf(tmp_path, 'huggan/horse2zebra:default'))


@pytest.mark.parametrize(
  'name, options, line',
  [
    ('', {}, "data.name='': give a Hugging Face dataset"),
    ('a;b;c', {}, "data.name='a;b;c': give a Hugging Face data"),
    ('{disk}', {'columns': 'imageA,nothing'}, 'no column nothing .* imageB'),
    ('{disk}', {'columns': 'imageA'}, 'A and B would both be column imageA'),
    ('{disk}', {'columns': 'a,b,c'}, "data.columns='a,b,c': give a column"),
    ('{disk}', {'splits': 'train,nothing'}, 'no split nothing .* train, test'),
    ('{disk}', {'splits': 'a,b,c'}, "data.splits='a,b,c': give train or"),
    ('{disk};{disk}', {}, 'split train has 2 columns of pictures'),
    ('{four}', {'columns': 'image', 'splits': 'trainA'}, 'would both be'),
    ('{empty}', {}, 'neither a dataset written by save_to_disk nor'),
    ('{empty}/*.parquet', {}, 'no folder or files .*parquet'),
    ('{broken}', {}, 'broken.* cannot be read'),
    (
      '{numbers}',
      {'columns': 'x,y'},
      r'column x .* no pictures: its type is Value\(',
    ),
    ('{numbers}', {}, 'has 0 columns of pictures .of all: x, y'),
    ('{none}', {}, 'no row of split train has a picture in column imageA'),
    ('nobody/nothing', {}, 'cannot be loaded from the Hugging Face Hub'),
  ],
)
def test_invalid_datasets_are_one_line(
  name, options, line, on_disk, four, tmp_path
):
  places = {'disk': on_disk, 'four': four}
  for key in ('empty', 'broken', 'numbers', 'none'):
    places[key] = tmp_path / key
  places['empty'].mkdir()
  places['broken'].mkdir()
  (places['broken'] / 'x.parquet').write_bytes(b'no parquet')
  datasets.Dataset.from_dict({'x': [1], 'y': [2]}).save_to_disk(
    places['numbers']
  )
  rows(imageA=[None], imageB=[1]).save_to_disk(places['none'])
  with pytest.raises(UserError, match=line) as error:
    hf('', name.format(**places), **options)
  assert '\n' not in str(error.value)


def test_a_missing_package_names_the_extra(on_disk, monkeypatch):
  monkeypatch.setitem(sys.modules, 'datasets', None)
  with pytest.raises(UserError, match=r"pip install -e '\.\[hf\]'"):
    hf('', on_disk)


def test_hf_options_reach_the_dataset(on_disk):
  def data(*options):
    card = f'--config={tiny.CONFIGS / "folder.py"}'
    return build_data(flags.parse_flags(['x', card, *options], '', {})[0])

  words = '--config.data.source=hf', f'--config.data.name={on_disk}'
  source = data(*words, '--config.data.columns=imageB,imageA').source
  assert values(source.train['a']) == [10, 11, 12, 13]


@pytest.mark.slow
def test_a_run_on_a_hugging_face_dataset_refuses_other_columns(
  on_disk, tmp_path, capsys
):
  options = {'data__source': 'hf', 'data__name': on_disk, 'log__report': True}
  argv = tiny.command('folder', tmp_path, **options)
  assert program.run(main.main, argv) == 0, capsys.readouterr().err
  out = capsys.readouterr().out
  assert 'finished: all 4 steps' in out and 'rows of split train' in out
  argv = tiny.command('folder', tmp_path, **options)
  assert program.run(main.main, argv) == 0
  other = tiny.command(
    'folder', tmp_path, **options, data__columns='imageB,imageA'
  )
  assert program.run(main.main, other) == 2
  assert "data.columns was ''" in capsys.readouterr().err
