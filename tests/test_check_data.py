"""Tests of `check_data`: all problems are found, only its output is written."""

import json
import os
import shutil
import sys

import numpy as np
import pytest
import tiny
from PIL import Image

from cyclegan_jax import check_data, main
from cyclegan_jax.common.images import png
from cyclegan_jax.config import program
from cyclegan_jax.data import inspect
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.preprocess import Preprocess
from cyclegan_jax.data.sources import Source


def run(root, output, capsys, **options):
  """Runs check_data; returns its exit code, output, errors and report."""
  options = {'source': 'folder', 'root': root} | options
  code = program.run(
    check_data.main,
    [
      'check_data',
      f'--config={tiny.CONFIGS / "folder.py"}',
      f'--output={output}',
      *(f'--config.data.{key}={value}' for key, value in options.items()),
    ],
  )
  out, err = capsys.readouterr()
  file = output / 'report.json'
  return code, out, err, json.loads(file.read_text()) if file.exists() else None


@pytest.fixture
def root(tmp_path):
  tiny.write_pictures(tmp_path / 'data')
  return tmp_path / 'data'


def save(path, size=(20, 20), mode='RGB', seed=1):
  random = np.random.RandomState(seed)
  pixels = random.randint(0, 256, (*size[::-1], 3)).astype(np.uint8)
  Image.fromarray(pixels).convert(mode).save(path)
  return path


def truncated(path):
  save(path, (200, 200))
  path.write_bytes(path.read_bytes()[:3000])
  return path


def test_a_good_dataset_has_no_problems(pictures, tmp_path, capsys):
  code, out, err, report = run(pictures, tmp_path / 'out', capsys)
  assert (code, err) == (0, '')
  counts = {name: x['pictures'] for name, x in report['splits'].items()}
  assert counts == {'trainA': 5, 'trainB': 7, 'testA': 2, 'testB': 2}
  for split in report['splits'].values():
    assert split['usable'] == split['pictures']
    assert split['sizes'] == {'20x20': split['pictures']}
  for name in ('unusable', 'duplicates', 'converted', 'mixed_sizes'):
    assert not report[name]
  lines = [line.split() for line in out.splitlines()]
  assert ['trainA', '5', '5', 'all', '20x20'] in lines
  names = {p.name for p in (tmp_path / 'out').iterdir()}
  assert names == {'report.json', 'contact_a.png', 'contact_b.png'}
  # A row of 5 pictures of 20 pixels, enlarged to 120, with gaps of 2.
  sheet = tiny.pixels(tmp_path / 'out' / 'contact_a.png')
  assert sheet.shape == (120, 5 * 122 - 2, 3)


def test_every_problem_is_found(root, tmp_path, capsys):
  bad = {
    truncated(root / 'trainA' / 'cut.jpg'): 'truncated',
    save(root / 'trainA' / 'dot.png', (1, 1)): 'too small',
    truncated(root / 'testB' / 'cut.jpg'): 'truncated',
  }
  text = root / 'trainB' / 'text.png'
  text.write_text('no picture')
  bad[text] = 'no image format'
  code, out, err, report = run(root, tmp_path / 'out', capsys)
  assert code == 2
  assert err.startswith('error: 4 of 20 pictures') and err.count('\n') == 1
  assert 'data.on_bad_image=skip' in err
  found = {x['picture']: x for x in report['unusable']}
  assert set(found) == {str(path) for path in bad}
  for path, reason in bad.items():
    assert reason in found[str(path)]['problem']
    assert found[str(path)]['split'] == path.parent.name
    assert str(path) in out
  assert report['splits']['trainA'] == {
    'pictures': 7,
    'usable': 5,
    'sizes': {'20x20': 5},
  }


def test_training_can_skip_the_pictures_that_are_found(root, tmp_path, capsys):
  names = [
    truncated(root / 'trainA' / 'cut.jpg'),
    save(root / 'trainB' / '1.png', (1, 1)),
    truncated(root / 'testA' / '0.png'),
  ]
  argv = tiny.command('folder', tmp_path / 'run', root, schedule__constant=30)
  argv.append('--config.data.on_bad_image=skip')
  assert program.run(main.main, argv) == 0
  out, err = capsys.readouterr()
  assert 'finished: all 32 steps' in out
  warnings = err.splitlines()
  assert sorted(x.split(':')[1].strip() for x in warnings) == sorted(
    map(str, names)
  )

  argv = tiny.command('folder', tmp_path / 'other', root)
  assert program.run(main.main, argv) == 2
  assert str(names[1]) in capsys.readouterr().err


def test_a_split_without_usable_pictures_is_refused(root, tmp_path, capsys):
  for path in (root / 'trainA').iterdir():
    path.write_bytes(b'')
  code, _, err, _ = run(root, tmp_path / 'out', capsys)
  assert code == 2 and 'add usable ones to trainA' in err and 'skip' not in err
  assert not (tmp_path / 'out' / 'contact_a.png').exists()
  assert (tmp_path / 'out' / 'contact_b.png').exists()

  argv = tiny.command('folder', tmp_path / 'run', root)
  argv.append('--config.data.on_bad_image=skip')
  assert program.run(main.main, argv) == 2
  assert 'none of 5 pictures can be used' in capsys.readouterr().err


def test_duplicates_are_found_inside_and_across_splits(root, tmp_path, capsys):
  shutil.copy(root / 'trainA' / '0.png', root / 'trainA' / 'copy.png')
  shutil.copy(root / 'trainA' / '2.png', root / 'trainB' / 'of_a.png')
  with Image.open(root / 'trainB' / '1.png') as image:
    image.save(root / 'testB' / 'other.bmp')  # the same pixels
    image.transpose(Image.Transpose.ROTATE_90).save(root / 'testB' / 'no.png')
  code, out, err, report = run(root, tmp_path / 'out', capsys)
  assert (code, err) == (0, '')
  groups = [
    {f'{x["split"]}/{x["picture"].split("/")[-1]}' for x in group}
    for group in report['duplicates']
  ]
  assert groups == [
    {'trainA/0.png', 'trainA/copy.png'},
    {'trainA/2.png', 'trainB/of_a.png'},
    {'trainB/1.png', 'testB/other.bmp'},
  ]
  assert '3 groups of equal pictures, 1 of them in both train and test' in out


def test_converted_files_are_reported(root, tmp_path, capsys):
  gray = save(root / 'trainB' / 'gray.png', mode='L')
  code, out, err, report = run(root, tmp_path / 'out', capsys)
  assert (code, err) == (0, '')
  noted = {'trainB: gray files, used as RGB': [str(gray)]}
  assert report['converted'] == noted
  assert '1 of trainB: gray files' in out

  *_, report = run(root, tmp_path / 'out', capsys, channels_b=1)
  what = {name: len(found) for name, found in report['converted'].items()}
  colour = 'colour files, used as gray'
  assert what == {f'trainB: {colour}': 7, f'testB: {colour}': 2}


def test_sizes_are_reported_with_a_histogram(root, tmp_path, capsys):
  save(root / 'trainA' / 'wide.png', (300, 40))
  save(root / 'trainA' / 'tall.png', (70, 300))
  _, out, _, report = run(root, tmp_path / 'out', capsys)
  assert report['splits']['trainA']['sizes'] == {
    '20x20': 5,
    '300x40': 1,
    '70x300': 1,
  }
  assert '3 sizes, most often 20x20' in out
  for line in ('16-31 5 ' + 40 * '#', '32-63 1 ########', '64-127 1 ########'):
    assert line.split() in [x.split() for x in out.splitlines()]


def test_pictures_smaller_than_the_crop_are_found(root, tmp_path, capsys):
  small = save(root / 'trainA' / 'small.png', (30, 15))
  options = {'preprocess': 'crop', 'crop_size': 18}
  code, _, err, report = run(root, tmp_path / 'out', capsys, **options)
  assert code == 2 and err.startswith('error: 1 of 17')
  assert [x['picture'] for x in report['unusable']] == [str(small)]
  code, *_ = run(root, tmp_path / 'out', capsys)
  assert code == 0


def test_mixed_sizes_are_refused_if_nothing_resizes(root, tmp_path, capsys):
  save(root / 'trainB' / 'wide.png', (30, 20))
  code, _, err, report = run(
    root, tmp_path / 'out', capsys, preprocess='none', crop_size=20
  )
  assert code == 2 and 'trainB has pictures of 2 sizes' in err
  assert report['mixed_sizes'] == {'trainB': 2}


def files(folder):
  return {p for p in folder.rglob('*') if p.is_file()}


@pytest.mark.skipif(sys.platform != 'linux', reason='names of other systems')
def test_strange_file_names_do_no_harm(root, tmp_path, capsys):
  source = (root / 'trainA' / '0.png').read_bytes()
  (root / 'testLabels').mkdir()
  for i in range(2):
    save(root / 'testLabels' / f'{i}.png', mode='L')
  strange = ['a\\..\\..\\up.png', 'two\nlines.png']
  hidden = ['..png', '...png', '..\\..\\up.png']
  for name in strange + hidden:
    (root / 'trainA' / name).write_bytes(source)
  raw = os.fsencode(root / 'trainA') + b'/\xff\xfe.png'
  with open(raw, 'wb') as file:
    file.write(b'no picture')
  names = ['../../up', '/tmp/absolute', '..']
  classes = {name: [[i, 0, 0]] for i, name in enumerate(names)}
  (root / 'classes.json').write_text(json.dumps(classes))
  before = files(tmp_path)
  output = tmp_path / 'deep' / 'out'
  code, out, err, report = run(root, output, capsys)
  assert code == 2 and '1 of ' in err
  assert files(tmp_path) - before == {
    output / name for name in ('report.json', 'contact_a.png', 'contact_b.png')
  }
  assert 'lines.png' in out and 'two\n' not in out
  assert len(report['duplicates'][0]) == 1 + len(strange)
  assert len(report['ignored']['hidden']) == len(hidden)


def test_bad_label_maps_are_found(root, tmp_path, capsys):
  (root / 'testLabels').mkdir()
  for i in range(2):
    save(root / 'testLabels' / f'{i}.png', mode='L')
  (root / 'classes.json').write_text('{"sea": [[0, 0, 255]]}')
  code, *_ = run(root, tmp_path / 'out', capsys)
  assert code == 0
  truncated(root / 'testLabels' / '1.png')
  code, *_, report = run(root, tmp_path / 'out', capsys)
  assert code == 2
  assert [x['split'] for x in report['unusable']] == ['testLabels']


def test_training_pictures_used_as_test_set_are_not_duplicates(
  root, tmp_path, capsys
):
  shutil.rmtree(root / 'testA')
  *_, report = run(root, tmp_path / 'out', capsys)
  assert set(report['splits']) == {'trainA', 'trainB', 'testB'}
  assert report['duplicates'] == []


def coloured(count):
  return [
    Picture(f'{i}.png', png(np.full((200, 100, 3), 3 * i, np.uint8)))
    for i in range(count)
  ]


def test_the_contact_sheet_is_spread_over_the_dataset():
  pictures = [*coloured(80), Picture('bad.png', b'')]
  domains = {'a': pictures, 'b': coloured(1)}
  dataset = Dataset(Source(domains, domains), Preprocess(), {'a': 3, 'b': 3})
  found = inspect.scan(dataset)['trainA']
  sheet = inspect.contact_sheet(found, 3)
  # 8 rows and columns of 128x64 pixels, with gaps of 2.
  assert sheet.shape == (8 * 130 - 2, 8 * 66 - 2, 3)
  shown = [int(sheet[130 * (i // 8), 66 * (i % 8), 0]) for i in range(64)]
  assert shown == sorted(shown)
  assert (shown[0], shown[-1]) == (0, 3 * 79)
  assert set(np.diff(shown)) == {3, 6}


def test_long_lists_are_cut_on_the_terminal(root, tmp_path, capsys):
  for i in range(25):
    (root / 'trainA' / f'bad{i}.png').write_bytes(b'')
  _, out, _, report = run(root, tmp_path / 'out', capsys)
  assert len(report['unusable']) == 25
  assert out.count('bad') == 20 and 'and 5 more, see report.json' in out


def test_help_lists_flags_and_exit_codes(capsys):
  with pytest.raises(SystemExit) as stop:
    program.run(check_data.main, ['check_data', '--help'])
  assert stop.value.code == 0
  out = capsys.readouterr().out
  assert '--output=DIR' in out and 'Exit codes' in out


def test_the_output_folder_is_named_after_the_recipe_card(
  pictures, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  card = tiny.CONFIGS / 'folder.py'
  argv = ['check_data', f'--config={card}', f'--config.data.root={pictures}']
  assert program.run(check_data.main, argv) == 0
  assert (tmp_path / 'data_check' / 'folder' / 'report.json').is_file()
  assert 'data_check/folder' in capsys.readouterr().out


def test_an_unwritable_output_folder_is_one_line(pictures, tmp_path, capsys):
  (tmp_path / 'file').touch()
  code, _, err, _ = run(pictures, tmp_path / 'file' / 'out', capsys)
  assert code == 2 and err.count('\n') == 1 and '--output' in err


def test_an_unknown_choice_lists_the_valid_ones(pictures, tmp_path, capsys):
  code, _, err, _ = run(
    pictures, tmp_path / 'out', capsys, on_bad_image='ignore'
  )
  assert code == 2
  assert "data.on_bad_image='ignore'" in err and 'skip, stop' in err
