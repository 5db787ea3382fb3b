"""Tests of reading and writing pictures: names, depth, rotation, profiles."""

import numpy as np
import pytest
from PIL import Image, ImageCms
from tiny import pixels

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import formats
from cyclegan_jax.data.picture import named
from cyclegan_jax.data.values import Values
from cyclegan_jax.inference import inputs, picture_files
from cyclegan_jax.inference.picture_files import Look

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def save(path, mode='RGB', size=(12, 10), **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  random = np.random.default_rng(0)
  array = random.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
  Image.fromarray(array).convert(mode).save(path, **options)
  return path


def outputs(source, output, ending='png'):
  jobs = inputs.find(str(source), output, ending)
  return [str(job.output.relative_to(output)) for job in jobs]


def test_a_folder_keeps_its_structure(tmp_path):
  for name in ('1.jpg', 'x/2.png', 'x/y/3.bmp', 'notes.txt'):
    save(tmp_path / 'in' / name, **({'format': 'PNG'} if 'txt' in name else {}))
  found = outputs(tmp_path / 'in', tmp_path / 'out')
  assert found == ['1.png', 'x/2.png', 'x/y/3.png']


def test_equal_output_names_keep_their_endings(tmp_path):
  for name in ('1.jpg', '1.png', 'x/1.jpg', '2.v1.png'):
    save(tmp_path / 'in' / name)
  found = outputs(tmp_path / 'in', tmp_path / 'out', 'webp')
  assert found == ['1.jpg.webp', '1.png.webp', '2.v1.webp', 'x/1.webp']


def test_other_files_with_an_output_type_are_inputs(tmp_path):
  for name in ('1.png', '1.mov', '2.txt'):
    save(tmp_path / 'in' / name, format='PNG')
  jobs = inputs.find(
    str(tmp_path / 'in'),
    tmp_path / 'out',
    'png',
    lambda path: 'mp4' if path.suffix == '.mov' else None,
  )
  assert [job.output.name for job in jobs] == ['1.mp4', '1.png']


def test_a_file_or_a_pattern_can_be_the_input(tmp_path):
  for name in ('p1/1.jpg', 'p1/2.jpg', 'p2/1.jpg', 'q/1.jpg'):
    save(tmp_path / name)
  out = tmp_path / 'out'
  assert outputs(tmp_path / 'q' / '1.jpg', out) == ['1.png']
  assert outputs(tmp_path / 'p*' / '1.jpg', out) == ['p1/1.png', 'p2/1.png']
  assert outputs(tmp_path / 'p1' / '*.jpg', out) == ['1.png', '2.png']
  assert outputs(tmp_path / '**' / '2.jpg', out) == ['p1/2.png']


def test_translations_inside_the_input_folder_are_not_inputs(tmp_path):
  save(tmp_path / '1.jpg')
  save(tmp_path / 'out' / '1.png')
  assert outputs(tmp_path, tmp_path / 'out') == ['1.png']


@pytest.mark.parametrize(
  ('source', 'words'),
  [
    ('nowhere', 'no file or folder'),
    ('*.xyz', 'no pictures in'),
    ('empty', 'no pictures in'),
    ('', 'is the folder of the pictures'),
  ],
)
def test_an_input_without_pictures_is_one_line(source, words, tmp_path):
  (tmp_path / 'empty').mkdir()
  save(tmp_path / '1.jpg')
  output = tmp_path / 'out' if source else tmp_path
  with pytest.raises(UserError, match=words):
    inputs.find(str(tmp_path / source), output, 'png')


def test_the_look_describes_the_upright_picture(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6  # rotated by 90 degrees
  path = save(tmp_path / '1.jpg', exif=exif, icc_profile=SRGB)
  look = picture_files.look(named(path), Values(3))
  assert look == Look((12, 10), 8, SRGB)
  assert picture_files.read(named(path), 3).shape == (12, 10, 3)


def test_sixteen_bits_are_preserved(tmp_path):
  levels = np.arange(100, dtype=np.uint16).reshape(10, 10) * 655
  Image.fromarray(levels).save(tmp_path / 'deep.png')
  picture = named(tmp_path / 'deep.png')
  look = picture_files.look(picture, Values(1))
  image = picture_files.read(picture, Values(1))
  assert look.bits == 16
  for ending in ('png', 'tiff'):
    picture_files.write(tmp_path / f'out.{ending}', image, look, Values(1))
    np.testing.assert_array_equal(pixels(tmp_path / f'out.{ending}'), levels)
  picture_files.write(tmp_path / 'out.jpg', image, look, Values(1))
  assert pixels(tmp_path / 'out.jpg').dtype == np.uint8


@pytest.mark.parametrize(
  'ending', [x for x, y in picture_files.FORMATS.items() if y is not None]
)
@pytest.mark.parametrize('channels', [1, 3])
def test_every_format_keeps_pixels_and_a_suitable_profile(
  ending, channels, tmp_path
):
  image = np.linspace(-1, 1, 32 * 32 * channels).astype(np.float32)
  image = image.reshape(32, 32, channels)
  look = Look((32, 32), 8, SRGB)
  picture_files.write(tmp_path / f'1.{ending}', image, look, Values(channels))
  with Image.open(tmp_path / f'1.{ending}') as picture:
    kept = picture.info.get('icc_profile')
    array = np.asarray(picture.convert('RGB' if channels == 3 else 'L'))
  expected = np.round((image + 1) * 127.5).reshape(array.shape)
  assert np.abs(array - expected).max() <= (12 if ending == 'jpg' else 0)
  assert kept == (SRGB if channels == 3 else None)


def test_a_broken_profile_is_left_out(tmp_path):
  look = Look((8, 8), 8, b'nonsense')
  picture_files.write(tmp_path / '1.png', np.zeros((8, 8, 3)), look, Values(3))
  with Image.open(tmp_path / '1.png') as picture:
    assert 'icc_profile' not in picture.info


def test_gray_and_colour_are_joined_side_by_side():
  gray, colour = np.zeros((4, 5, 1)), np.ones((4, 6, 3))
  joined = picture_files.side_by_side([gray, colour])
  assert joined.shape == (4, 11, 3)
  assert (joined[:, :5] == 0).all() and (joined[:, 5:] == 1).all()


def said(source, output, **options):
  """Returns the output names and the lines on ignored files."""
  lines = []
  jobs = inputs.find(str(source), output, 'png', say=lines.append, **options)
  return [str(job.output.relative_to(output)) for job in jobs], lines


def test_ignored_files_are_one_line(tmp_path):
  for name in ('1.jpg', 'x/2.GIF', 'x/3.ppm'):
    save(tmp_path / name)
  for name in ('x/a.txt', 'b.TXT', 'c.mov', 'Thumbs.db', '._1.jpg'):
    (tmp_path / name).write_bytes(b'x')
  (tmp_path / 'out').mkdir()
  for name in ('d.txt', 'translate.json'):
    (tmp_path / 'out' / name).write_bytes(b'x')
  found, lines = said(
    tmp_path,
    tmp_path / 'out',
    other=lambda path: 'mp4' if path.suffix == '.mov' else None,
  )
  assert found == ['1.png', 'c.mp4', 'x/2.png', 'x/3.png']
  assert lines == ['ignored 2 files: 2 .txt']


def test_records_of_translations_are_ignored_silently(tmp_path):
  """A folder of translations can be the input of a translation back."""
  save(tmp_path / '1.png')
  for name in ('translate.json', '1.png.translate.json'):
    (tmp_path / name).write_text('{}')
  assert said(tmp_path, tmp_path / 'out') == (['1.png'], [])


def test_a_pattern_ignores_matches_that_are_not_pictures(tmp_path):
  for name in ('1.jpg', '@eaDir/1.jpg', 'x/2.jpg', '.hidden/3.jpg'):
    save(tmp_path / name)
  (tmp_path / 'a.txt').write_text('x')
  out = tmp_path / 'out'
  found, lines = said(tmp_path / '*', out)
  assert found == ['1.png']
  assert lines == ['ignored 2 files: 1 .txt, 1 folder']
  assert said(tmp_path / '**' / '*.jpg', out)[0] == ['1.png', 'x/2.png']
  assert said(tmp_path / '.hidden' / '*', out)[0] == ['3.png']


@pytest.mark.parametrize('source', ['in', 'in/**', 'in/**/*.png'])
def test_circular_links_give_each_picture_once(source, tmp_path):
  for name in ('in/1.png', 'in/x/2.png', 'other/3.png'):
    save(tmp_path / name)
  (tmp_path / 'in' / 'loop').symlink_to(tmp_path / 'in')
  (tmp_path / 'in' / 'x' / 'loop').symlink_to(tmp_path / 'in')
  (tmp_path / 'in' / 'more').symlink_to(tmp_path / 'other')
  found = outputs(tmp_path / source, tmp_path / 'out')
  assert found == ['1.png', 'more/3.png', 'x/2.png']


def test_a_link_to_the_output_is_not_an_input(tmp_path):
  save(tmp_path / 'in' / '1.png')
  save(tmp_path / 'out' / '1.png')
  (tmp_path / 'in' / 'before').symlink_to(tmp_path / 'out')
  assert said(tmp_path / 'in', tmp_path / 'out') == (['1.png'], [])


@pytest.mark.parametrize(
  ('pattern', 'path', 'fits'),
  [
    ('**', 'a/b.png', True),
    ('**/*.png', 'b.png', True),
    ('**/x/**/*.png', 'a/x/b.png', True),
    ('**/x/**/*.png', 'a/y/b.png', False),
    ('a*/**/b?.png', 'ab/c/d/b1.png', True),
    ('a*/**/b?.png', 'ab/c/d/b.png', False),
    ('*/**', 'b.png', True),
    ('**/[ab].png', 'x/b.png', True),
    ('**/*.PNG', 'b.png', False),
  ],
)
def test_patterns_match_at_any_depth(pattern, path, fits, tmp_path):
  save(tmp_path / path)
  try:
    found = outputs(tmp_path / pattern, tmp_path / 'out')
  except UserError:
    found = []
  assert bool(found) == fits


@pytest.mark.parametrize('ending', ['tif', 'jpg', 'png', 'webp'])
def test_the_size_is_that_of_the_upright_picture(ending, tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 8
  path = save(tmp_path / f'1.{ending}', exif=exif)
  look = picture_files.look(named(path), Values(3))
  assert look.size == picture_files.read(named(path), 3).shape[:2]


def test_a_heic_with_another_ending_names_its_package(tmp_path, monkeypatch):
  """Browsers may rename a phone's .heic picture to .jpg."""
  monkeypatch.setattr(formats, '_heif_installed', lambda: False)
  path = tmp_path / '1.jpg'
  path.write_bytes(b'\0\0\0\x18ftypheic' + bytes(40))
  with pytest.raises(UserError, match=r"1.jpg: HEIC .*pip install -e '.\[heic"):
    picture_files.look(named(path), Values(3))
