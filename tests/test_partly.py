"""Tests of warnings about pictures that are used only partly."""

import io
import json
import struct

import numpy as np
import pytest
import tiny
from PIL import Image

from cyclegan_jax import check_data, main, translate
from cyclegan_jax.config import flags, program
from cyclegan_jax.config.run import build_run
from cyclegan_jax.data import bad_pictures, headers, partly
from cyclegan_jax.data.decode import SPAN, decoded
from cyclegan_jax.data.picture import Picture

SIZE = (24, 20)


@pytest.fixture(autouse=True)
def nothing_warned(monkeypatch):
  monkeypatch.setattr(bad_pictures, '_warned', set())


def encode(image, kind, **options):
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def frames(kind, count=3, **options):
  pictures = [Image.new('RGB', SIZE, (i * 40, 9, 9)) for i in range(count)]
  options |= {'save_all': True, 'append_images': pictures[1:]}
  return encode(pictures[0], kind, **options)


def bands_tiff(bands, extra, photometric=2):
  """TIFF file of several bands; `extra` is the meaning of the extra bands."""
  width, height = SIZE
  pixels = np.random.default_rng(0).integers(0, 256, (height, width, bands))
  pixels = pixels.astype(np.uint8).tobytes()
  tags = [
    (256, 3, 1, width),
    (257, 3, 1, height),
    (258, 3, bands, 8 + len(pixels) if bands > 2 else 8 | 8 << 16),
    (259, 3, 1, 1),
    (262, 3, 1, photometric),
    (273, 4, 1, 8),
    (277, 3, 1, bands),
    (278, 3, 1, height),
    (279, 4, 1, len(pixels)),
  ]
  if len(extra) == 1:
    tags.append((338, 3, 1, extra[0]))
  elif extra:
    packed = int.from_bytes(struct.pack('<2H', *extra), 'little')
    tags.append((338, 3, 2, packed))
  bits = 8 + len(pixels)
  return (
    struct.pack('<2sHI', b'II', 42, bits + 2 * bands)
    + pixels
    + struct.pack(f'<{bands}H', *[8] * bands)
    + struct.pack('<H', len(tags))
    + b''.join(struct.pack('<HHII', *tag) for tag in tags)
    + struct.pack('<I', 0)
  )


def deep(top, kind='PNG', low=0):
  values = np.linspace(low, top, SIZE[0] * SIZE[1]).astype(np.uint16)
  return encode(Image.fromarray(values.reshape(SIZE[::-1])), kind)


def deep_ppm(top):
  """PPM file of 16-bit colour, which Pillow reads as 8 bits."""
  values = np.linspace(0, top, SIZE[0] * SIZE[1] * 3).astype('>u2')
  return b'P6 24 20 65535\n' + values.tobytes()


FRAMES = {
  'gif': lambda: frames('GIF'),
  'png': lambda: frames('PNG'),
  'webp': lambda: frames('WEBP'),
  'tif': lambda: frames('TIFF'),
  'avif': lambda: frames('AVIF'),
}


@pytest.mark.parametrize('kind', FRAMES)
def test_several_frames_or_pages_are_found(kind):
  header = headers.read(Picture('x', FRAMES[kind]()))
  assert header.frames
  one = frames(kind.upper().replace('TIF', 'TIFF'), 1)
  assert not headers.read(Picture('x', one)).frames


def test_previews_in_phone_pictures_are_not_frames():
  mpo = frames('MPO')
  with Image.open(io.BytesIO(mpo)) as image:
    assert image.n_frames == 3
  assert not headers.read(Picture('x.jpg', mpo)).frames


def test_a_broken_second_frame_does_no_harm():
  data = frames('GIF')
  cut = data[: len(data) // 2]
  assert headers.read(Picture('x', cut)) == headers.read(Picture('x', data))


@pytest.mark.parametrize(
  'data, bands, used',
  [
    (lambda: bands_tiff(5, (0, 0)), 5, 3),
    (lambda: bands_tiff(4, (0,)), 4, 3),
    (
      lambda: bands_tiff(4, ()),
      4,
      3,
    ),  # the fourth band may be infrared or transparency
    (lambda: bands_tiff(4, (2,)), 4, 4),
    (lambda: bands_tiff(3, ()), 3, 3),
    (lambda: bands_tiff(2, (0,), photometric=1), 2, 1),
    (lambda: encode(Image.new('RGBA', SIZE), 'TIFF'), 4, 4),
    (lambda: encode(Image.new('CMYK', SIZE), 'TIFF'), 4, 4),
    (lambda: encode(Image.new('CMYK', SIZE), 'JPEG'), 4, 4),
    (lambda: encode(Image.new('LA', SIZE), 'PNG'), 2, 2),
  ],
)
def test_unused_bands_are_found(data, bands, used):
  header = headers.read(Picture('x', data()))
  assert (header.bands, header.used) == (bands, used)


@pytest.mark.parametrize(
  'data, narrow',
  [
    (lambda: deep(4095), True),
    (lambda: deep(1023, 'TIFF'), True),
    (lambda: deep(4095, 'PPM'), True),
    (lambda: deep(40000, low=38000), True),
    (lambda: deep_ppm(4095), True),
    (lambda: deep(65535), False),
    (lambda: deep(40000), False),
    (lambda: deep_ppm(65535), False),
    (
      lambda: deep(700, low=700),
      False,
    ),  # a constant picture has no wider range
    (lambda: encode(Image.new('L', SIZE, 3), 'PNG'), False),
    (lambda: b'P5 24 20 4095\n' + bytes([0, 0, 15, 255]) * 240, False),
  ],
)
def test_pictures_with_a_narrow_value_range_are_found(data, narrow):
  image = decoded(Picture('x', data()), 3)
  assert partly.narrow(image.info.get(SPAN)) == narrow


def data_set(root, **extra):
  tiny.write_pictures(root, (3, 3), 2)
  for name, data in extra.items():
    name, _, kind = name.rpartition('_')
    (root / 'trainA' / f'{name}.{kind}').write_bytes(data)
  return root


@pytest.fixture
def root(tmp_path):
  return data_set(
    tmp_path / 'data',
    anim_gif=frames('GIF'),
    pages_tif=frames('TIFF'),
    five_tif=bands_tiff(5, (0, 0)),
    ct_png=deep(4095),
    ct2_png=deep(2000),
  )


def test_training_warns_once_of_each_kind(root, tmp_path, capfd):
  argv = tiny.command('folder', tmp_path / 'run', root, data__cache_gb=0.0)
  config, *_ = flags.parse_run(argv, '', main.FLAGS)
  run = build_run(config)
  batches = run.data.batches(seed=0, batch_size=4)
  for _ in range(6):
    next(batches)
  first, second = capfd.readouterr().err.splitlines()
  assert first.startswith(f'warning: {partly.FRAMES}: 2 of 15 pictures')
  assert str(root / 'trainA' / 'anim.gif') in first
  assert f'{partly.BANDS}: 1 of 15 pictures' in first
  assert '5 bands' in first
  assert partly.SPAN in second and '/ct' in second
  assert all('cyclegan_jax.check_data' in line for line in (first, second))


def test_check_data_lists_partly_used_pictures(root, tmp_path, capsys):
  argv = tiny.command('folder', tmp_path / 'run', root)
  same = [x for x in argv if x.startswith('--config')]
  output = tmp_path / 'out'
  assert program.run(check_data.main, ['x', f'--output={output}', *same]) == 0
  out = capsys.readouterr().out
  listed = json.loads((output / 'report.json').read_text())['partly_used']
  names = {
    what: [x.split('/')[-1] for x in found] for what, found in listed.items()
  }
  assert names == {
    f'trainA: {partly.FRAMES}': ['anim.gif', 'pages.tif'],
    f'trainA: {partly.BANDS}': ['five.tif: the first 3 of 5 bands'],
    f'trainA: {partly.SPAN}': [
      'ct.png: 6.2% of its range',
      'ct2.png: 3.1% of its range',
    ],
  }
  for name in ('anim.gif', 'pages.tif', 'five.tif', 'ct.png', 'ct2.png'):
    assert name in out


def test_translate_warns_once(root, tmp_path, capsys):
  model = tiny.save_model(tmp_path / 'model')
  argv = ['translate', f'--model={model}', '--direction=a2b']
  argv += [f'--input={root / "trainA"}', f'--output={tmp_path / "out"}']
  assert program.run(translate.main, argv) == 0
  lines = capsys.readouterr().err.splitlines()
  (line,) = [x for x in lines if x.startswith('warning')]
  for kind, count in ((partly.FRAMES, 2), (partly.BANDS, 1), (partly.SPAN, 2)):
    assert f'{kind}: {count} of 8 pictures' in line
  assert 'check_data' not in line
