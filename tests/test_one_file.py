"""Tests of translation to a file that the user names."""

import json
import os

import numpy as np
import pytest
import tiny
from PIL import Image

from cyclegan_jax import translate
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.inference import one_file


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  return tiny.save_model(tmp_path_factory.mktemp('model'))


@pytest.fixture
def place(tmp_path, monkeypatch):
  """Working folder with pictures in `in`."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'in').mkdir()
  rng = np.random.default_rng(0)
  for name in ('a.png', 'c.jpg'):
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'in' / name)
  return tmp_path


@pytest.fixture
def run(model, place, capsys):
  """Function that translates: flags -> (exit code, output, errors)."""

  def call(output, *switches, **flags):
    values = {'model': model, 'direction': 'a2b', 'input': 'in/a.png'} | flags
    argv = [f'--{k}={v}' for k, v in values.items()] + [f'--output={output}']
    code = program.run(translate.main, ['translate', *argv, *switches])
    return code, *capsys.readouterr()

  return call


def there(folder):
  return sorted(p.name for p in folder.iterdir() if p.is_file())


def refused(result, *words):
  code, _, err = result
  assert code == 2 and err.startswith('error: ') and err.count('\n') == 1, err
  for word in words:
    assert word in err, err


def test_a_translation_to_a_file_is_not_repeated(run, place):
  code, out, _ = run('b.png')
  assert code == 0 and out == 'translated 1 picture: in b.png\n'
  assert there(place) == ['b.png', 'b.png.translate.json']
  before = (place / 'b.png').stat().st_mtime_ns
  code, out, _ = run('b.png')
  assert code == 0 and 'translated 0 pictures, 1 existed already' in out
  assert (place / 'b.png').stat().st_mtime_ns == before
  # Other translations may be next to the file.
  assert run('d.png', direction='b2a')[0] == 0
  assert tiny.pixels('b.png').shape == (16, 16, 3)
  assert (tiny.pixels('b.png') != tiny.pixels('d.png')).any()
  assert run('folder')[0] == 0
  np.testing.assert_array_equal(
    tiny.pixels('folder/a.png'), tiny.pixels('b.png')
  )


def test_an_existing_other_file_is_kept(run, place):
  (place / 'mine.png').write_text('mine')
  refused(run('mine.png'), 'mine.png already exists and was not written by')
  assert there(place) == ['mine.png']
  assert run('b.png')[0] == 0
  refused(run('b.png', input='in/c.jpg'), 'with other input', 'another name')
  refused(run('b.png', direction='b2a'), 'with other direction')
  before = tiny.pixels('b.png')
  (place / 'in' / 'bad.png').write_text('no picture')
  refused(run('b.png', '--overwrite', input='in/bad.png'), 'bad.png')
  np.testing.assert_array_equal(tiny.pixels('b.png'), before)
  assert run('b.png', '--overwrite', direction='b2a')[0] == 0
  assert (tiny.pixels('b.png') != before).any()
  record = json.loads((place / 'b.png.translate.json').read_text())
  assert record['direction'] == 'b2a'
  assert run('mine.png', '--overwrite')[0] == 0
  assert tiny.pixels('mine.png').shape == (16, 16, 3)


def test_other_files_in_the_folder_are_kept(run, place):
  """Browsers name unfinished downloads `*.part`."""
  for name in ('film.mp4.part', 'b.png.part'):
    (place / name).touch()
  assert run('b.png')[0] == 0
  assert there(place) == ['b.png', 'b.png.translate.json', 'film.mp4.part']


def test_a_failed_translation_leaves_no_file(run, place):
  (place / 'in' / 'bad.png').write_text('no picture')
  code, _, err = run('b.png', input='in/bad.png')
  assert code == 2 and 'bad.png' in err and there(place) == []


def test_the_reconstruction_is_next_to_the_translation(run, place):
  (place / 'b.reconstructed.png').write_text('mine')
  refused(run('b.png', '--reconstruct'), 'b.reconstructed.png already exists')
  assert run('x/b.jpeg', '--reconstruct')[0] == 0
  assert there(place / 'x') == [
    'b.jpeg',
    'b.jpeg.translate.json',
    'b.reconstructed.jpeg',
  ]
  with Image.open(place / 'x' / 'b.jpeg') as image:
    assert image.format == 'JPEG'
  assert run('y.png', '--reconstruct', '--side-by-side')[0] == 0
  assert tiny.pixels('y.png').shape == (16, 48, 3)


def test_the_input_itself_is_not_replaced(run, place):
  data = (place / 'in' / 'a.png').read_bytes()
  (place / 'link.png').symlink_to('in/a.png')
  os.link(place / 'in' / 'a.png', place / 'hard.png')
  (place / 'in' / 'b.reconstructed.png').write_bytes(data)
  for output, switches, flags in (
    ('in/a.png', [], {}),
    ('link.png', [], {}),
    ('hard.png', [], {}),
    ('in/b.png', ['--reconstruct'], {'input': 'in/b.reconstructed.png'}),
  ):
    result = run(output, '--overwrite', *switches, **flags)
    refused(result, 'is the input itself')
  assert (place / 'in' / 'a.png').read_bytes() == data
  assert (place / 'in' / 'b.reconstructed.png').read_bytes() == data


@pytest.mark.parametrize(
  ('output', 'flags', 'words'),
  [
    ('x.png', {'input': 'in'}, 'give a folder, or the file of one picture'),
    ('x.png', {'input': 'in/*.png'}, 'x.png is a file, and --input=in/*.png'),
    ('x.png', {'input': 'nowhere.png'}, 'no file or folder nowhere.png'),
    ('x.bmp', {}, 'written as png, jpg, webp, tiff'),
    ('x.mp4', {}, 'x.mp4 is a video, and --input a picture'),
    ('x.png', {'input': 'film.mp4'}, 'give x.mp4, or a folder'),
    ('x.avi', {'input': 'film.mp4'}, 'give x.mp4, or a folder'),
    ('x.jpg', {'format': 'png'}, '--format=png and --output=x.jpg'),
    ('x.png', {'input': 'text.txt'}, 'no pictures in text.txt'),
    ('text.txt', {}, 'text.txt is a file: give a folder, or for one picture'),
    ('text.txt', {'input': 'in'}, 'text.txt is a file: give a folder'),
    ('text.txt/x.png', {}, 'cannot write to text.txt/x.png'),
  ],
)
def test_unsuitable_output_names_are_refused(output, flags, words, run, place):
  (place / 'film.mp4').touch()
  (place / 'text.txt').touch()
  refused(run(output, **flags), words)
  assert there(place) == ['film.mp4', 'text.txt']


@pytest.mark.parametrize(
  ('name', 'form'),
  [('b.JPG', 'jpg'), ('b.tif', 'tiff'), ('b.Webp', ''), ('b.png', 'png')],
)
def test_endings_match_formats(name, form, place):
  assert str(one_file.find('in/a.png', name, form).output) == name


def test_folders_are_recognised_despite_their_names(place):
  (place / 'b.png').mkdir()
  for name in ('b.png', 'new.png/', 'new', 'v1.0', '.png'):
    assert one_file.find('in/a.png', name) is None, name
  (place / 'c.reconstructed.png').mkdir()
  with pytest.raises(UserError, match='is a folder: give another name'):
    one_file.find('in/a.png', 'c.png', both=True)
  (place / 'film.mov').touch()
  assert str(one_file.find('film.mov', 'b.mp4').output) == 'b.mp4'
