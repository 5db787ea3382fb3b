"""Tests of `translate`: names, sizes, resuming, errors."""

import io
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny import pixels

from cyclegan_jax import translate
from cyclegan_jax.common import disk
from cyclegan_jax.config import program
from cyclegan_jax.data.picture import named
from cyclegan_jax.inference import (
  batches,
  model,
  picture_files,
  saved,
  tiled,
  video,
)

SIZES = {'1.png': (20, 20), 'x/2.jpg': (33, 21), 'x/y/3.png': (20, 20)}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tiny.save_model(tmp_path_factory.mktemp('model'))


@pytest.fixture
def source(tmp_path):
  random = np.random.default_rng(0)
  for name, (width, height) in SIZES.items():
    path = tmp_path / 'in' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    array = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(array).save(path)
  return tmp_path / 'in'


@pytest.fixture
def run(folder, source, tmp_path, capsys):
  """Function that translates: flags -> (exit code, output, errors)."""

  def call(*switches, **flags):
    values = {
      'model': folder,
      'direction': 'a2b',
      'input': source,
      'output': tmp_path / 'out',
    } | {name.replace('_', '-'): value for name, value in flags.items()}
    argv = [f'--{k}={v}' for k, v in values.items() if v is not None]
    code = program.run(translate.main, ['translate', *argv, *switches])
    return code, *capsys.readouterr()

  return call


def expected(folder, path, direction='a2b'):
  image = picture_files.read(named(path), 3)
  return saved.load(folder).translate(image, direction)


def assert_shows(path, image):
  """Checks that a picture shows an image, up to rounding."""
  exact = np.round((image + 1) * 127.5)
  assert np.abs(pixels(path).astype(int) - exact).max() <= 1


def made(folder):
  return sorted(
    str(p.relative_to(folder)) for p in folder.rglob('*.*') if p.is_file()
  )


def test_every_picture_keeps_name_folder_and_size(
  run, folder, source, tmp_path
):
  code, out, err = run()
  assert code == 0 and 'translated 3 pictures' in out, err
  out = tmp_path / 'out'
  assert made(out) == ['1.png', 'translate.json', 'x/2.png', 'x/y/3.png']
  for name in SIZES:
    assert_shows(
      (out / name).with_suffix('.png'), expected(folder, source / name)
    )


def test_a_stopped_translation_is_continued(run, tmp_path):
  run()
  out = tmp_path / 'out'
  kept = (out / '1.png').stat().st_mtime_ns
  before = (out / 'x' / '2.png').read_bytes()
  (out / 'x' / '2.png').unlink()
  (out / 'x' / '2.png.part').write_text('half')
  code, said, _ = run()
  assert code == 0 and 'translated 1 picture, 2 existed already' in said
  assert (out / '1.png').stat().st_mtime_ns == kept
  assert (out / 'x' / '2.png').read_bytes() == before
  assert not list(out.rglob('*.part'))


def test_ctrl_c_keeps_finished_translations(run, tmp_path, monkeypatch):
  true, done = batches.Way.run, []

  def interrupted(self, pictures, count=0):
    if done:
      raise KeyboardInterrupt
    done.append(len(pictures))
    return true(self, pictures, count)

  with monkeypatch.context() as patch:
    patch.setattr(batches.Way, 'run', interrupted)
    code, _, err = run(batch=1)
  assert code == 130 and err == 'stopped immediately\n'
  assert len(made(tmp_path / 'out')) == 2
  code, said, _ = run(batch=1)
  assert code == 0 and 'translated 2 pictures, 1 existed already' in said


def test_translations_of_two_models_do_not_mix(run, tmp_path):
  assert run()[0] == 0
  before = (tmp_path / 'out' / '1.png').read_bytes()
  code, _, err = run(direction='b2a')
  assert code == 2 and 'with other direction' in err and '--overwrite' in err
  other = tiny.save_model(tmp_path / 'other', seed=1)
  code, _, err = run(model=other)
  assert code == 2 and 'with other weights' in err
  assert (tmp_path / 'out' / '1.png').read_bytes() == before
  assert run('--overwrite', model=other)[0] == 0
  assert (tmp_path / 'out' / '1.png').read_bytes() != before


def test_an_existing_other_picture_is_kept(run, tmp_path):
  mine = tmp_path / 'out' / 'x' / '2.png'
  mine.parent.mkdir(parents=True)
  mine.write_text('mine')
  code, _, err = run()
  assert code == 2 and str(mine) in err and 'was not written by' in err
  assert made(tmp_path / 'out') == ['x/2.png']
  assert mine.read_text() == 'mine'


def test_bad_pictures_are_named_and_the_others_translated(
  run, source, tmp_path
):
  (source / 'text.png').write_text('no picture')
  whole = io.BytesIO()
  noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
  Image.fromarray(noise).save(whole, 'PNG')
  (source / 'half.png').write_bytes(whole.getvalue()[:700])
  code, out, err = run()
  assert code == 2
  assert 'text.png' in err and 'half.png' in err and '2 of the files' in err
  assert 'Traceback' not in err
  assert 'translated 3 pictures' in out
  assert len(made(tmp_path / 'out')) == 4


@pytest.mark.parametrize('switch', ['--tile', '--memory=0.000001'])
def test_tiles_are_used_on_request_or_if_memory_is_too_small(
  switch, run, folder, source, tmp_path, monkeypatch
):
  walked = []

  def apply(net, params, image, **options):
    walked.append(image.shape[:2])
    return true(net, params, image, **options)

  true = tiled.apply
  monkeypatch.setattr(tiled, 'apply', apply)
  assert run(switch)[0] == 0
  assert sorted(walked) == [(20, 20), (20, 20), (21, 33)]
  image = expected(folder, source / 'x' / '2.jpg')
  assert_shows(tmp_path / 'out' / 'x' / '2.png', image)


def test_free_memory_is_that_of_the_device_or_machine(monkeypatch):
  class Accelerator:
    def memory_stats(self):
      return {'bytes_limit': 100, 'bytes_in_use': 30}

  assert 2**27 < batches.free_memory() < 2**50
  monkeypatch.setattr(batches.jax, 'local_devices', lambda: [Accelerator()])
  assert batches.free_memory() == 70


def test_png_orientation_behind_the_pixels_is_applied(run, tmp_path):
  """A PNG file may have its EXIF orientation after the pixels."""
  exif = Image.Exif()
  exif[0x0112] = 6
  source = tmp_path / 'turned'
  source.mkdir()
  for name, options in (('1.png', {}), ('2.png', {'exif': exif})):
    Image.new('RGB', (24, 20), 'red').save(source / name, **options)
  data = (source / '2.png').read_bytes()
  start = data.index(b'eXIf') - 4
  chunk = data[start : start + 12 + int.from_bytes(data[start : start + 4])]
  end = data.index(b'IEND') - 4
  moved = data[:start] + data[start + len(chunk) : end] + chunk + data[end:]
  (source / '2.png').write_bytes(moved)
  assert run(input=source)[0] == 0
  assert pixels(tmp_path / 'out' / '1.png').shape == (20, 24, 3)
  assert pixels(tmp_path / 'out' / '2.png').shape == (24, 20, 3)


def test_reconstructions_are_written(run, folder, source, tmp_path):
  assert run('--reconstruct')[0] == 0
  there = expected(folder, source / '1.png')
  back = saved.load(folder).translate(there, 'b2a')
  assert_shows(tmp_path / 'out' / '1.png', there)
  assert_shows(tmp_path / 'out' / '1.reconstructed.png', back)


def test_pictures_are_written_side_by_side(run, folder, source, tmp_path):
  assert run('--reconstruct', '--side-by-side')[0] == 0
  assert len(made(tmp_path / 'out')) == 4
  image = picture_files.read(named(source / 'x' / '2.jpg'), 3)
  there = expected(folder, source / 'x' / '2.jpg')
  back = saved.load(folder).translate(there, 'b2a')
  assert_shows(
    tmp_path / 'out' / 'x' / '2.png', np.concatenate([image, there, back], 1)
  )


def test_a_size_is_compiled_once(folder, source, run, monkeypatch):
  for i in range(4):
    (source / f'{i}_more.png').write_bytes((source / '1.png').read_bytes())
  batches = []

  class Counted(model.Model):
    def __init__(self, *args):
      super().__init__(*args)
      compiled = self._translate

      def translate(params, images, direction):
        batches.append(images.shape[:3])
        return compiled(params, images, direction)

      self._translate = translate

  monkeypatch.setattr(saved, 'Model', Counted)
  Image.new('RGB', (19, 17)).save(source / 'nearly.png')
  assert run(batch=4)[0] == 0
  assert sorted(batches) == [(1, 24, 36), (4, 20, 20), (4, 20, 20)]


def test_batch_norm_uses_one_picture_at_a_time(source, run, tmp_path):
  path = tiny.save_model(tmp_path / 'model', generator__norm='batch')
  assert run(model=path)[0] == 0
  assert_shows(tmp_path / 'out' / '1.png', expected(path, source / '1.png'))


def test_gray_of_16_bits_stays_16_bits(run, tmp_path):
  path = tiny.save_model(
    tmp_path / 'model', data__channels_a=1, data__channels_b=1
  )
  levels = np.arange(400, dtype=np.uint16).reshape(20, 20) * 160
  Image.fromarray(levels).save(tmp_path / 'deep.png')
  assert run(model=path, input=tmp_path / 'deep.png')[0] == 0
  result = pixels(tmp_path / 'out' / 'deep.png')
  image = (levels / np.float32(65535) * 2 - 1)[..., None]
  fake = saved.load(path).translate(image, 'a2b')[..., 0]
  assert result.dtype == np.uint16
  assert np.abs(result - (fake + 1) * 32767.5).max() < 3


def test_a_single_direction_is_the_default(run, source, tmp_path):
  path = tiny.save_model(tmp_path / 'model', names=('b2a',))
  assert run(model=path, direction=None)[0] == 0
  assert_shows(
    tmp_path / 'out' / '1.png', expected(path, source / '1.png', 'b2a')
  )
  code, _, err = run('--reconstruct', model=path, direction=None)
  assert code == 2 and '--reconstruct needs both directions' in err


@pytest.mark.parametrize(
  ('flags', 'words'),
  [
    ({'model': 'nowhere'}, 'no file or folder nowhere'),
    ({'model': None}, 'no --model'),
    ({'output': None}, 'no --output'),
    ({'direction': None}, 'translates a2b and b2a'),
    ({'direction': 'a2c'}, "--direction='a2c'"),
    ({'input': 'nowhere'}, 'nowhere (--input)'),
    ({'format': 'bmp'}, 'jpg, nii, nii.gz, npy, npz, png, tiff, webp'),
    ({'batch': 0}, '--batch=0'),
    ({'batch': 'x'}, 'batch'),
    ({'smooth': 1.0}, '--smooth=1.0'),
    ({'memory': -1}, '--memory=-1'),
    ({'batch_norm': 'best'}, "batch_norm='best'"),
    ({'step': 7}, 'leave out the step'),
    ({'output': '/proc/nowhere'}, 'cannot write to /proc/nowhere'),
  ],
)
def test_invalid_flags_are_one_line(flags, words, run, tmp_path):
  code, _, err = run(**flags)
  assert code == 2 and words in err
  assert err.count('\n') == 1
  assert not (tmp_path / 'out').exists()


def test_help_lists_flags_and_a_stray_word_is_refused(run, capsys):
  with pytest.raises(SystemExit):
    translate.main(['translate', '--help'])
  text = capsys.readouterr().out
  assert all(f'--{name}' in text for name in translate.FLAGS)
  code, _, err = run('photo.jpg')
  assert code == 2 and "'photo.jpg' is not a flag" in err


def test_the_real_process_translates(folder, source, tmp_path):
  result = subprocess.run(
    [sys.executable, '-m', 'cyclegan_jax.translate', f'--model={folder}']
    + ['--direction=a2b', f'--input={source}', f'--output={tmp_path / "out"}'],
    capture_output=True,
    text=True,
    env={'PATH': '/usr/bin', 'JAX_PLATFORMS': 'cpu'},
  )
  assert result.returncode == 0, result.stderr
  assert len(made(tmp_path / 'out')) == 4


# The first name has 249 bytes: no room for the ending of a partial file.
LONG = '書' * 83, 'x' * 251, 'y' * 240


@pytest.mark.parametrize('switches,lost', [((), 0), (('--reconstruct',), 3)])
def test_too_long_names_are_named_and_other_pictures_translated(
  switches, lost, run, source, tmp_path
):
  for name in LONG:
    (source / f'{name}.png').write_bytes((source / '1.png').read_bytes())
  code, out, err = run(*switches)
  assert code == (2 if lost else 0), err
  assert f'translated {6 - lost} pictures' in out
  assert err.count('skipped: ') == err.count('shorten the name') == lost
  for name in LONG if lost else ():
    assert f'{name}' in err
  assert not list((tmp_path / 'out').rglob('*.part'))
  if not lost:  # the long names are recognised again
    code, out, _ = run()
    assert code == 0 and 'translated 0 pictures, 6 existed already' in out


def test_an_ending_that_makes_a_name_too_long_is_named(run, source, tmp_path):
  (source / ('z' * 251 + '.png')).write_bytes((source / '1.png').read_bytes())
  code, out, err = run(format='tiff')
  assert code == 2 and 'translated 3 pictures' in out
  assert 'z' * 251 in err and 'shorten the name' in err


def test_files_and_folders_in_the_way_are_named_and_kept(run, source, tmp_path):
  out = tmp_path / 'out'
  (out / '1.png' / 'mine').mkdir(parents=True)  # in the way of a translation
  (out / 'x').mkdir()
  (out / 'x' / 'y').touch()  # in the way of a folder
  code, said, err = run()
  assert code == 2 and 'translated 1 picture:' in said
  assert str(out / '1.png') in err and str(out / 'x' / 'y' / '3.png') in err
  assert err.count('in the way') == 2 and (out / '1.png' / 'mine').is_dir()
  assert (out / 'x' / '2.png').is_file()
  (out / '1.png').rename(out / 'moved')
  (out / 'x' / 'y').unlink()
  code, said, _ = run()
  assert code == 0 and 'translated 2 pictures, 1 existed already' in said


@pytest.mark.parametrize('switch', ['', '--overwrite'])
def test_a_folder_without_permission_skips_only_its_pictures(
  switch, run, tmp_path, monkeypatch
):
  if switch:
    assert run()[0] == 0
  locked = tmp_path / 'out' / 'x' / 'y'

  def guard(name):
    true = getattr(pathlib.Path, name)

    def call(self, *args, **kwargs):
      if self.parent == locked and (name == 'unlink' or 'wb' in args):
        raise PermissionError(13, 'Permission denied', str(self))
      return true(self, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, name, call)

  guard('open')
  guard('unlink')
  code, said, err = run(*filter(None, [switch]))
  assert code == 2 and 'translated 2 pictures' in said
  assert err.count('skipped: ') == 1 and str(locked / '3.png') in err
  assert 'writable' in err


def test_a_full_disk_stops_with_one_line(run, tmp_path, monkeypatch):
  true = disk.put

  def put(file, data):
    if pathlib.Path(file.name).suffixes[:1] == ['.png']:
      raise OSError(28, 'No space left on device')
    true(file, data)

  with monkeypatch.context() as patch:
    patch.setattr(disk, 'put', put)
    code, _, err = run(batch=1)
  assert code == 2 and err.startswith('error: cannot write to ')
  assert 'make room' in err and len(err.splitlines()) == 1
  assert made(tmp_path / 'out') == ['translate.json']
  code, said, _ = run()
  assert code == 0 and 'translated 3 pictures' in said


def test_an_error_of_one_picture_does_not_stop_the_others(
  run, source, tmp_path, monkeypatch
):
  """If a picture needs too much memory, others of its batch are translated."""
  true, bad = batches.Way.run, picture_files.read(named(source / '1.png'), 3)

  def failing(self, pictures, count=0):
    if any(np.array_equal(picture, bad) for picture in pictures):
      raise RuntimeError('RESOURCE_EXHAUSTED:\n out of memory')
    return true(self, pictures, count)

  monkeypatch.setattr(batches.Way, 'run', failing)
  code, said, err = run()
  assert code == 2 and 'translated 2 pictures' in said
  lines = [line for line in err.splitlines() if 'skipped' in line]
  assert len(lines) == 1 and '1.png' in lines[0] and 'out of memory' in lines[0]
  assert made(tmp_path / 'out') == ['translate.json', 'x/2.png', 'x/y/3.png']


def test_an_error_of_one_video_does_not_stop_the_others(
  run, source, tmp_path, monkeypatch
):
  done = []

  def failing(way, job, smooth):
    if job.output.name == 'a.mp4':
      raise RuntimeError('a codec that nobody knows')
    done.append(job.output.name)

  monkeypatch.setattr(video, 'translate', failing)
  for name in ('a.mp4', 'b.mp4'):
    (source / name).touch()
  code, said, err = run()
  assert code == 2 and 'translated 3 pictures, 1 video' in said
  assert 'a.mp4' in err and 'nobody knows' in err and done == ['b.mp4']


def test_a_picture_named_like_a_reconstruction_is_translated(
  run, folder, source, tmp_path
):
  (source / '1.reconstructed.png').write_bytes(
    (source / 'x' / 'y' / '3.png').read_bytes()
  )
  assert run('--reconstruct')[0] == 0
  out = tmp_path / 'out'
  assert len(made(out)) == 1 + 2 * 4
  for name in ('1.png', '1.reconstructed.png'):
    assert_shows(out / f'{name}.png', expected(folder, source / name))


@pytest.mark.parametrize('name', ['1.reconstructed.png', 'translate.json'])
def test_an_existing_file_named_like_an_extra_output_is_kept(
  name, run, tmp_path
):
  mine = tmp_path / 'out' / name
  mine.parent.mkdir()
  mine.write_text('[1]')
  code, _, err = run('--reconstruct')
  assert code == 2 and str(mine) in err and '--overwrite' in err
  assert mine.read_text() == '[1]'
  assert run('--reconstruct', '--overwrite')[0] == 0
