"""Tests that broken files and bombs give an array or a UserError at low cost.

A separate process decodes them: its memory is limited, and it may crash. To
see the results: python tests/test_fuzz_decode.py
"""

import faulthandler
import importlib.util
import io
import json
import os
import pathlib
import random
import resource
import struct
import subprocess
import sys
import time
import types
import zlib

import numpy as np
import pytest
from PIL import Image

from cyclegan_jax.data import formats

MUTANTS = 600  # of each valid file
SECONDS = 2  # the longest a file may take
MEGABYTES = 200  # memory that a bomb may add to the process
SIGNATURE = b'\x89PNG\r\n\x1a\n'


# Without pillow_heif, HEIF can neither be read nor written.
HAS_HEIF = importlib.util.find_spec('pillow_heif') is not None


def encode(image, kind, **options):
  if kind == 'HEIF':
    import pillow_heif

    pillow_heif.register_heif_opener()
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def valid_files():
  """Returns {name: bytes} of small pictures of many kinds."""
  pixels = (
    np.random.RandomState(0).randint(0, 256, (24, 31, 3)).astype(np.uint8)
  )
  pixels[6:, 6:] //= 64
  rgb = Image.fromarray(pixels)
  deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
  exif = Image.Exif()
  exif[0x0112] = 6
  frames = {'save_all': True, 'append_images': [rgb.rotate(180)]}
  heif = {'rgb.heic': encode(rgb, 'HEIF', exif=exif)} if HAS_HEIF else {}
  return heif | {
    'rgb.png': encode(rgb, 'PNG', exif=exif),
    'gray.png': encode(rgb.convert('L'), 'PNG', transparency=3),
    'palette.png': encode(rgb.quantize(9), 'PNG', transparency=1),
    'deep.png': encode(deep, 'PNG'),
    'rgb.jpg': encode(rgb, 'JPEG', exif=exif),
    'gray.jpg': encode(rgb.convert('L'), 'JPEG', progressive=True),
    'cmyk.jpg': encode(rgb.convert('CMYK'), 'JPEG'),
    'raw.tif': encode(rgb, 'TIFF', exif=exif),
    'lzw.tif': encode(rgb, 'TIFF', compression='tiff_lzw'),
    'deflate.tif': encode(rgb, 'TIFF', compression='tiff_adobe_deflate'),
    'jpeg.tif': encode(rgb, 'TIFF', compression='jpeg'),
    'deep.tif': encode(deep, 'TIFF'),
    'fax.tif': encode(rgb.convert('1'), 'TIFF', compression='group4'),
    'lossy.webp': encode(rgb, 'WEBP', exif=exif),
    'lossless.webp': encode(rgb.convert('RGBA'), 'WEBP', lossless=True),
    'rgb.bmp': encode(rgb, 'BMP'),
    'palette.bmp': encode(rgb.quantize(9), 'BMP'),
    'palette.gif': encode(rgb, 'GIF'),
    'frames.gif': encode(rgb, 'GIF', **frames),
    'frames.png': encode(rgb, 'PNG', **frames),
    'pages.tif': encode(rgb, 'TIFF', **frames),
    'rgb.ppm': encode(rgb, 'PPM'),
    'deep.pgm': encode(deep, 'PPM'),
    'bits.pbm': encode(rgb.convert('1'), 'PPM'),
    '12 bits.pgm': b'P5 31 24 4095\n' + bytes(range(16)) * 93,
    'words.pgm': b'P2 31 24 # no bytes\n255\n' + b'7 255 19 ' * 248,
    'words.pbm': b'P1\n31 24\n' + b'01' * 372,
    'rgb.avif': encode(rgb, 'AVIF', exif=exif),
    'gray.avif': encode(rgb.convert('L'), 'AVIF'),
    'frames.avif': encode(rgb, 'AVIF', **frames),
  }


def flip(rng, data):
  for _ in range(rng.randint(1, 8)):
    data[rng.randrange(len(data))] = rng.randrange(256)


def truncate(rng, data):
  del data[rng.randrange(len(data)) :]


def insert(rng, data):
  place = rng.randrange(len(data))
  data[place:place] = rng.randbytes(rng.randint(1, 40))


def remove(rng, data):
  place = rng.randrange(len(data))
  del data[place : place + rng.randint(1, 40)]


def swap(rng, data):
  size = rng.randint(1, len(data) // 3)
  one, other = sorted(rng.sample(range(len(data) - size), 2))
  other = max(other, one + size)
  data[one : one + size], data[other : other + size] = (
    data[other : other + size],
    data[one : one + size],
  )


def declare(rng, data):
  """Overwrites a number at positions of sizes, offsets and counts."""
  number = rng.choice(
    [0, 1, 7, 255, 3000, 32768, 60000, 65535, 2**31, 2**32 - 1]
  )
  form = rng.choice(['<I', '>I', '<H', '>H'])
  place = rng.randrange(min(len(data) - 4, 80))
  if rng.random() < 0.3:  # a TIFF's directory is at the end
    place = rng.randrange(len(data) - 4)
  number %= 2 ** (8 * struct.calcsize(form))
  struct.pack_into(form, data, place, number)


def chunks(data):
  """Returns [(kind, content)] of the readable chunks of a PNG file."""
  place, found = len(SIGNATURE), []
  while place + 8 <= len(data):
    (size,) = struct.unpack_from('>I', data, place)
    found.append((data[place + 4 : place + 8], data[place + 8 :][:size]))
    place += size + 12
  return found


def png(parts):
  """Returns a PNG file of [(kind, content)] with valid checksums."""
  data = bytearray(SIGNATURE)
  for kind, content in parts:
    check = zlib.crc32(kind + content)
    data += struct.pack('>I', len(content)) + kind + content
    data += struct.pack('>I', check)
  return data


def swap_chunks(rng, data):
  if data.startswith(SIGNATURE):
    parts = chunks(data)
    rng.shuffle(parts)
    data[:] = png(parts)
  else:
    swap(rng, data)


MUTATIONS = [
  flip,
  truncate,
  insert,
  remove,
  swap,
  declare,
  declare,
  swap_chunks,
]


def mutant(data, seed):
  """Returns a broken file; half of the PNGs get valid checksums again."""
  rng = random.Random(seed)
  data = bytearray(data)
  for _ in range(rng.randint(1, 2)):
    if len(data) > 12:
      rng.choice(MUTATIONS)(rng, data)
  if data.startswith(SIGNATURE) and rng.random() < 0.5:
    data = png(chunks(data))
  return bytes(data)


def header(width, height, *parts):
  """Returns a PNG that declares a size of 8-bit RGB but has no pixels."""
  size = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  rows = zlib.compress(b'\0' * 1000)
  return bytes(png([(b'IHDR', size), *parts, (b'IDAT', rows), (b'IEND', b'')]))


def zeros(megabytes):
  """Returns megabytes of zeros, compressed to about a thousandth."""
  press = zlib.compressobj(1)
  data = b''.join(press.compress(bytes(2**20)) for _ in range(megabytes))
  return data + press.flush()


def tiff(width, height, *tags, data=b''):
  """Returns a gray 8-bit TIFF in deflate; `data` is at byte 8."""
  tags = sorted(
    [
      (256, 4, 1, width),
      (257, 4, 1, height),
      (258, 3, 1, 8),
      (259, 3, 1, 8),
      (262, 3, 1, 1),
      *tags,
    ]
  )
  return (
    struct.pack('<2sHI', b'II', 42, 8 + len(data))
    + data
    + struct.pack('<H', len(tags))
    + b''.join(struct.pack('<HHII', *tag) for tag in tags)
    + struct.pack('<I', 0)
  )


def strip(data):
  return (273, 4, 1, 8), (278, 4, 1, 2**31), (279, 4, 1, len(data))


def tile(side, data):
  sides = (322, 4, 1, side), (323, 4, 1, side)
  return *sides, (324, 4, 1, 8), (325, 4, 1, len(data))


def webp(kind, content):
  body = b'WEBP' + kind + struct.pack('<I', len(content)) + content
  return b'RIFF' + struct.pack('<I', len(body)) + body


def resized_header(data, place, form, *numbers):
  data = bytearray(data)
  struct.pack_into(form, data, place, *numbers)
  return bytes(data)


def boxes(image, kind, side):
  """Returns a HEIF or AVIF file that declares another size."""
  data = encode(image, kind)
  return resized_header(data, data.index(b'ispe') + 8, '>II', side, side)


def bombs():
  """Returns {name: bytes} of small files that would fill the memory."""
  rgb = Image.new('RGB', (32, 32))
  jpeg = encode(rgb, 'JPEG')
  packed = zeros(600)
  frame = encode(rgb, 'WEBP')[12:]
  canvas = bytes(4) + b'\xff\x3f\0' * 2
  heif = {'size.heic': boxes(rgb, 'HEIF', 60000)} if HAS_HEIF else {}
  lossless = b'\x2f' + struct.pack('<I', 0x3FFF | 0x3FFF << 14) + bytes(50)
  return heif | {
    'size.png': header(60000, 60000),
    'half the size.png': header(12000, 12000),
    'text.png': header(32, 32, (b'zTXt', b'a\0\0' + packed)),
    'international.png': header(32, 32, (b'iTXt', b'a\0\1\0\0\0' + packed)),
    'profile.png': header(32, 32, (b'iCCP', b'a\0\0' + packed)),
    'size.jpg': resized_header(
      jpeg, jpeg.index(b'\xff\xc0') + 5, '>HH', 65000, 65000
    ),
    'size.bmp': resized_header(encode(rgb, 'BMP'), 18, '<ii', 60000, 60000),
    'size.gif': resized_header(encode(rgb, 'GIF'), 6, '<HH', 60000, 60000),
    'strip.tif': tiff(60000, 60000, *strip(packed), data=packed),
    'half the strip.tif': tiff(12000, 12000, *strip(packed), data=packed),
    'tile.tif': tiff(64, 64, *tile(24000, packed), data=packed),
    'lossless.webp': webp(b'VP8L', lossless),
    'canvas.webp': webp(b'VP8X', canvas + frame),
    'size.ppm': b'P6 60000 60000 255\n' + bytes(1000),
    'half the size.ppm': b'P6 12000 12000 255\n' + bytes(1000),
    'plain.pgm': b'P2 60000 60000 65535\n' + b'1 ' * 1000,
    'size.avif': boxes(rgb, 'AVIF', 60000),
    'half the size.avif': boxes(rgb, 'AVIF', 12000),
  }


def peak():
  """Returns the peak memory of the process in megabytes."""
  used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return used / (2**20 if sys.platform == 'darwin' else 2**10)


def decode_all(files, use):
  """Decodes {name: (bytes, seed)} and counts the outcomes."""
  ended = {'arrays': 0, 'refused': 0, 'wrong': [], 'slow': []}
  before = peak()
  for name, (data, seed) in files:
    faulthandler.dump_traceback_later(20, exit=True)
    start = time.monotonic()
    try:
      ended[use(name, data, seed)] += 1
    except Exception as e:
      ended['wrong'].append(f'{name} {seed}: {type(e).__name__}: {e}')
    if time.monotonic() - start > SECONDS:
      ended['slow'].append(f'{name} {seed}')
  faulthandler.cancel_dump_traceback_later()
  return ended | {'megabytes': peak() - before}


def main():
  if sys.platform == 'linux':
    resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
  import cyclegan_jax
  from cyclegan_jax.common.errors import UserError

  # The package's own __init__ takes seconds, for TensorFlow.
  package = types.ModuleType('cyclegan_jax.data')
  package.__path__ = [str(pathlib.Path(cyclegan_jax.__file__).parent / 'data')]
  sys.modules['cyclegan_jax.data'] = package
  from cyclegan_jax.data import headers
  from cyclegan_jax.data.decode import load
  from cyclegan_jax.data.picture import Picture

  def use(name, data, seed):
    channels = (1, 3)[seed % 2]
    half = (None, None, 0, 1)[seed % 4]
    picture = Picture(name, data, half)
    try:
      array = load(picture, channels, lambda width, height: (13, 11))
    except UserError as e:
      assert str(e).startswith(f'{name}: ') and '\n' not in str(e), e
      return 'refused'
    headers.read(picture)
    assert array.shape == (11, 13, channels), array.shape
    assert array.dtype in (np.uint8, np.float32), array.dtype
    assert array.min() >= 0 and array.max() <= 255
    return 'arrays'

  valid = valid_files()
  mutants = (
    (name, (mutant(data, seed), seed))
    for name, data in valid.items()
    for seed in range(MUTANTS)
  )
  whole = [(name, (data, 1)) for name, data in valid.items()]
  bombed = [(name, (data, 1)) for name, data in bombs().items()]
  results = {
    'valid': decode_all(whole, use),
    'bombs': decode_all(bombed, use),
    'mutants': decode_all(mutants, use),
  }
  print(json.dumps(results))


@pytest.fixture(scope='module')
def results():
  done = subprocess.run(
    [sys.executable, '-W', 'ignore', __file__],
    env=os.environ | {'OPENBLAS_NUM_THREADS': '1'},
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


def test_every_picture_format_is_fuzzed():
  """Every format in the table has files to break, and a bomb."""
  table = (*formats.FORMATS, *([formats.HEIF] if HAS_HEIF else []))
  for files in (valid_files(), bombs()):
    endings = {pathlib.PurePath(name).suffix for name in files}
    for known in table:
      assert endings & set(known.endings), known


def test_the_unbroken_files_are_valid(results):
  assert results['valid']['arrays'] == len(valid_files())


def test_broken_files_give_an_array_or_a_user_error(results):
  mutants = results['mutants']
  assert mutants['wrong'] == mutants['slow'] == []
  # Some mutations are harmless, others are not.
  assert mutants['arrays'] > 300 and mutants['refused'] > 300
  assert mutants['arrays'] + mutants['refused'] >= 2000


def test_bombs_are_refused_in_little_memory(results):
  ended = results['bombs']
  assert ended['wrong'] == ended['slow'] == []
  assert ended['arrays'] == 0
  assert ended['megabytes'] < MEGABYTES


if __name__ == '__main__':
  main()
