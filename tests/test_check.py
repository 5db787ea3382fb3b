"""Tests that unsuitable pictures are reported together before training starts.

The tests follow the advice of each message, after which the run must start.
"""

import re

import numpy as np
import pytest
import tiny
from PIL import Image

from cyclegan_jax import check_data, main
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program
from cyclegan_jax.config.run import build_run
from cyclegan_jax.data import bad_pictures, check, headers, sources
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.preprocess import MODES, Preprocess
from cyclegan_jax.data.source import Source

SIZES = [(24, 20), (24, 20), (15, 40), (24, 20), (40, 20)]
SKIP = '--config.data.on_bad_image=skip'


@pytest.fixture(autouse=True)
def nothing_warned(monkeypatch):
  monkeypatch.setattr(bad_pictures, '_warned', set())


def save(path, size=(24, 20), **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3))
  Image.fromarray(pixels.astype(np.uint8)).save(path, **options)
  return path


def data_set(root, sizes=SIZES):
  for domain in 'AB':
    for i, size in enumerate(sizes):
      save(root / f'train{domain}' / f'{i}.png', size)
  return root


def command(root, **options):
  options = {f'data__{key}': value for key, value in options.items()}
  return tiny.command('folder', root / 'run', root, **options)


def begin(argv):
  """Does the checks that main does before it compiles, and reads two epochs."""
  config, *_ = flags.parse_run(argv, '', main.FLAGS)
  run = build_run(config)
  batches = run.data.batches(seed=0, batch_size=2)
  for _ in range(6):
    next(batches)


def options_of(advice):
  """Returns the options that a message recommends."""
  return [x.rstrip(',;:') for x in re.findall(r'--config\.\S+', advice)]


@pytest.mark.parametrize('which', [0, 1])
@pytest.mark.parametrize('mode', MODES)
def test_a_command_that_follows_the_advice_starts(mode, which, tmp_path):
  """Follows the first or the second advice of each message."""
  root = data_set(tmp_path)
  argv = command(root, preprocess=mode, load_size=16, crop_size=18)
  for _ in range(3):
    try:
      begin(argv)
      break
    except UserError as e:
      assert '\n' not in str(e)
      ways = str(e).split(', or ')
      options = options_of(ways[min(which, len(ways) - 1)])
      assert options, e
      argv += options
  else:
    pytest.fail(f'no end of advice: {argv}')


@pytest.mark.parametrize(
  'mode, load, crop, words',
  [
    ('crop', 16, 18, r'2 of 10 training pictures are smaller than .*15x40'),
    ('crop', 16, 22, r'10 of 10 training pictures .* and 5 more: use'),
    ('scale_width', 16, 8, r'2 of 5 .* A differ from the size 16x13 .*15x40'),
    ('scale_shortside', 16, 8, r'40x20, scaled to 32x16'),
    ('none', 16, 16, r'2 of 5 training pictures of B differ .*24x20 of the ot'),
  ],
)
def test_all_unsuitable_pictures_are_named_with_sizes(
  mode, load, crop, words, tmp_path
):
  root = data_set(tmp_path)
  argv = command(root, preprocess=mode, load_size=load, crop_size=crop)
  with pytest.raises(UserError, match=words) as error:
    begin(argv)
  assert str(error.value).count('.png') <= 5 * (1 if mode == 'crop' else 2)
  everyone = crop == 22
  assert (SKIP in str(error.value)) != everyone


# mode -> names of the pictures of `SIZES` that are skipped.
LEFT_OUT = {
  'resize_and_crop': [],
  'crop': ['2.png'],
  'scale_width': ['2.png'],
  'scale_width_and_crop': [],
  'scale_shortside': ['2.png', '4.png'],
  'none': ['2.png', '4.png'],
}


@pytest.mark.parametrize('mode', MODES)
def test_a_run_can_skip_unsuitable_pictures(mode, tmp_path, capfd):
  root = data_set(tmp_path)
  begin([*command(root, preprocess=mode, crop_size=16), SKIP])
  lines = capfd.readouterr().err.splitlines()
  assert all('skipped because of' in line for line in lines)
  named = {line.split(': ')[1] for line in lines if 'trainA' in line}
  assert named == {str(root / 'trainA' / name) for name in LEFT_OUT[mode]}


def test_a_split_without_usable_pictures_is_refused(tmp_path):
  root = data_set(tmp_path, [(12, 40)] * 3)
  argv = [*command(root, preprocess='crop', crop_size=16), SKIP]
  with pytest.raises(UserError, match='none of 3 pictures .*12x40 is smaller'):
    begin(argv)


def test_several_problems_are_one_message(tmp_path):
  root = data_set(tmp_path)
  (root / 'trainA' / 'x.png').write_bytes(b'')
  (root / 'trainB' / 'y.png').write_bytes(b'')
  with pytest.raises(UserError) as error:
    begin(command(root, preprocess='crop', crop_size=18))
  message = str(error.value)
  for words in ('2 pictures cannot be used', 'x.png', 'y.png', '2 of 12 tr'):
    assert words in message
  assert '\n' not in message


@pytest.mark.parametrize('kind', ['png', 'jpg', 'tif', 'webp', 'avif'])
def test_sizes_are_those_of_upright_pictures(kind, tmp_path):
  path = save(tmp_path / f'1.{kind}', (30, 20), exif=turned())
  assert headers.read(Picture('1', path)).size == (20, 30)
  assert headers.read(Picture('1', path, half=0)).size == (10, 30)


def turned():
  exif = Image.Exif()
  exif[0x0112] = 6
  return exif


def test_png_orientation_behind_the_pixels_is_applied(tmp_path):
  """Pillow finds EXIF data behind the pixels only when it decodes them."""
  path = save(tmp_path / '1.png', (30, 20), exif=turned())
  data = path.read_bytes()
  place = data.index(b'eXIf') - 4
  size = int.from_bytes(data[place : place + 4], 'big') + 12
  chunk = data[place : place + size]
  end = data[-12:]
  path.write_bytes(data.replace(chunk, b'').replace(end, chunk + end))
  with Image.open(path) as image:
    assert 'exif' not in image.info
  assert headers.read(Picture('1', path)).size == (20, 30)


def test_a_rotated_picture_has_its_upright_size(tmp_path):
  """The header alone gives the size 20x24."""
  root = data_set(tmp_path, [(24, 20)] * 3)
  save(root / 'trainA' / 'turned.jpg', (20, 24), exif=turned())
  begin(command(root, preprocess='none'))


def pair_of(root, size_a, size_b):
  a = Picture('a.png', save(root / 'a.png', size_a))
  b = Picture('b.png', save(root / 'b.png', size_b))
  return Source(train={'a': [a], 'b': [b]}, test={})


def test_pairs_of_different_sizes_are_refused(tmp_path):
  source = pair_of(tmp_path, (24, 20), (20, 24))
  with pytest.raises(UserError, match=r'1 of 1 pairs .*\(24x20\) and b.png'):
    check.check(source, paired=True)
  assert check.check(source) == {}
  assert check.check(pair_of(tmp_path, (9, 8), (9, 8)), paired=True) == {}


def test_halves_of_aligned_pictures_are_measured(tmp_path):
  for i in range(3):
    save(tmp_path / 'train' / f'{i}.png', (40, 24))
  save(tmp_path / 'train' / 'narrow.png', (30, 24))
  source = sources.aligned(tmp_path)
  with pytest.raises(UserError) as error:
    check.check(source, prepares=[Preprocess('crop', 16, 16)], paired=True)
  assert str(error.value).count('narrow.png (15x24)') == 2
  source.train['a'].pop()
  source.train['b'].pop()
  check.check(source, prepares=[Preprocess('crop', 16, 16)], paired=True)


def test_a_picture_that_becomes_too_large_is_refused(tmp_path):
  save(tmp_path / 'a.png', (8, 20000))
  source = pair_of(tmp_path, (20, 20), (20, 20))
  tall = Picture('tall.png', save(tmp_path / 'tall.png', (8, 20000)))
  source.train['a'].append(tall)
  with pytest.raises(UserError, match='tall.png: it would be resized'):
    check.check(source, prepares=[Preprocess('scale_width', 286, 256)])


def test_a_picture_that_becomes_too_large_in_the_decay_is_refused(
  tmp_path, capsys
):
  root = data_set(tmp_path, [(24, 20)] * 3)
  save(root / 'trainA' / 'tall.png', (8, 20000))
  options = {'preprocess': 'scale_width_and_crop', 'load_size': 16}
  argv = command(root, **options, load_size_in_decay=286)
  words = 'tall.png: it would be resized to 286x'
  with pytest.raises(UserError, match=words):
    begin(argv)
  ours = ['check_data', f'--output={tmp_path / "out"}']
  theirs = [x for x in argv[1:] if x.startswith('--config')]
  assert program.run(check_data.main, [*ours, *theirs]) == 2
  assert words in capsys.readouterr().out
  begin([*argv, SKIP])
  begin(command(root, **options, load_size_in_decay=17))


def test_a_picture_smaller_than_the_crop_in_the_decay_is_refused(tmp_path):
  source = pair_of(tmp_path, (20, 20), (20, 20))
  before = Preprocess('scale_width_and_crop', 18, 16)
  decay = before._replace(load_size=15)
  check.check(source, prepares=[before])
  for skips, words in ((False, '2 of 2 training'), (True, 'none of 1')):
    with pytest.raises(UserError, match=words):
      check.check(source, skips, prepares=[before, decay])


@pytest.mark.parametrize(
  'unit, constant, first', [('steps', 4, 4), ('epochs', 2, 6), ('epochs', 0, 0)]
)
def test_the_load_size_changes_at_the_first_step_of_the_decay(
  unit, constant, first, tmp_path
):
  argv = command(data_set(tmp_path), load_size=18, crop_size=16)
  argv += [  # an epoch of 5 pictures has 3 steps
    '--config.data.load_size_in_decay=16',
    '--config.train.batch_size=2',
    f'--config.schedule.unit={unit}',
    f'--config.schedule.constant={constant}',
  ]
  config, *_ = flags.parse_run(argv, '', main.FLAGS)
  data = build_run(config).data
  sizes = [phase.preprocess.load_size for phase in data.phases]
  assert (data.decay_from, sizes) == (first, [18, 16])


@pytest.mark.parametrize(
  'mode, size', [('resize_and_crop', 15), ('none', 16), ('resize_and_crop', -1)]
)
def test_an_invalid_load_size_in_decay_is_refused(mode, size, tmp_path):
  argv = command(
    data_set(tmp_path, [(24, 20)]),
    preprocess=mode,
    load_size=18,
    crop_size=16,
    load_size_in_decay=size,
  )
  with pytest.raises(UserError, match=f'data.load_size_in_decay={size}'):
    begin(argv)


def test_every_file_is_opened_once(tmp_path, monkeypatch):
  for i in range(3):
    save(tmp_path / 'train' / f'{i}.png', (40, 24))
  source = sources.aligned(tmp_path)
  opened = []
  true_open = Image.open
  monkeypatch.setattr(
    Image, 'open', lambda x, *a, **k: opened.append(x) or true_open(x, *a, **k)
  )
  check.check(source, prepares=[Preprocess('crop', 16, 16)], paired=True)
  assert sorted(opened) == [tmp_path / 'train' / f'{i}.png' for i in range(3)]


def test_a_command_that_follows_check_data_starts(tmp_path, capsys):
  """Follows the advice of check_data."""
  root = data_set(tmp_path, [(24, 20), (40, 20)])
  argv = command(root, preprocess='none')
  ours = ['check_data', f'--output={tmp_path / "out"}']
  theirs = [x for x in argv[1:] if x.startswith('--config')]
  assert program.run(check_data.main, [*ours, *theirs]) == 2
  err = capsys.readouterr().err
  assert 'trainA has pictures of 2 sizes' in err
  assert program.run(check_data.main, [*ours, *theirs, *options_of(err)]) == 0
  begin([*argv, *options_of(err)])
