"""Tests of decoding all kinds of picture files, and of refusing bad ones."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import headers
from cyclegan_jax.data.decode import load
from cyclegan_jax.data.picture import MAX_PIXELS, Picture

WIDTH, HEIGHT = 20, 12
ORIENTATION = 0x0112


def same(width, height):
  return width, height


def encode(image, kind, **options):
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def read(data, channels=3, size=None, half=None):
  new_size = (lambda w, h: size) if size else same
  return load(Picture('some.png', data, half), channels, new_size)


def register_heif(kind):
  """Registers HEIF in Pillow if `kind` is HEIF."""
  if kind == 'HEIF':
    pytest.importorskip('pillow_heif').register_heif_opener()


def ramp():
  """Smooth image, which JPEG preserves, with different corners and channels."""
  y, x = np.mgrid[:HEIGHT, :WIDTH]
  return np.stack([x * 12, y * 20, 255 - x * 5 - y * 10], -1).astype(np.uint8)


def noise(height=HEIGHT, width=WIDTH, dtype=np.uint8):
  top = np.iinfo(dtype).max
  return (
    np.random.RandomState(0)
    .randint(0, top + 1, (height, width, 3))
    .astype(dtype)
  )


def chunk(kind, data):
  check = struct.pack('>I', zlib.crc32(kind + data))
  return struct.pack('>I', len(data)) + kind + data + check


def png(width, height, bits, colour_type, rows, *extra):
  """PNG file of kinds that Pillow can read but cannot write."""
  header = struct.pack('>IIBBBBB', width, height, bits, colour_type, 0, 0, 0)
  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + b''.join(chunk(*e) for e in extra)
    + chunk(b'IDAT', zlib.compress(b''.join(b'\0' + r for r in rows)))
    + chunk(b'IEND', b'')
  )


def tiff_16_bit_rgb(array):
  """Little-endian TIFF file: pixels, then three 16s, then the directory."""
  height, width, _ = array.shape
  pixels = array.astype('<u2').tobytes()
  bits = 8 + len(pixels)
  tags = [
    (256, 4, 1, width),
    (257, 4, 1, height),
    (258, 3, 3, bits),
    (259, 3, 1, 1),  # not compressed
    (262, 3, 1, 2),  # RGB
    (273, 4, 1, 8),
    (277, 3, 1, 3),
    (278, 4, 1, height),
    (279, 4, 1, len(pixels)),
  ]
  return (
    struct.pack('<2sHI', b'II', 42, bits + 6)
    + pixels
    + struct.pack('<HHHH', 16, 16, 16, len(tags))
    + b''.join(struct.pack('<HHII', *tag) for tag in tags)
    + struct.pack('<I', 0)
  )


@pytest.mark.parametrize(
  'kind, options, near',
  [
    ('PNG', {}, 0),
    ('BMP', {}, 0),
    ('TIFF', {}, 0),
    ('TIFF', {'compression': 'tiff_lzw'}, 0),
    ('WEBP', {'lossless': True}, 0),
    ('WEBP', {'quality': 95}, 25),  # colours at half resolution
    ('JPEG', {'quality': 95, 'subsampling': 0}, 6),
    ('JPEG', {'quality': 95, 'progressive': True, 'subsampling': 0}, 6),
    ('PPM', {}, 0),
    ('AVIF', {'quality': 95, 'subsampling': '4:4:4'}, 8),
    ('HEIF', {'quality': 95, 'chroma': 444}, 8),
  ],
)
def test_common_formats_are_decoded(tmp_path, kind, options, near):
  register_heif(kind)
  file = tmp_path / f'picture.{kind.lower()}'
  file.write_bytes(encode(Image.fromarray(ramp()), kind, **options))
  array = load(Picture(str(file), file), 3, same)
  assert array.dtype == np.uint8
  assert array.shape == (HEIGHT, WIDTH, 3)
  assert np.abs(array.astype(int) - ramp()).max() <= near
  assert np.abs(array.astype(int) - ramp()).mean() <= min(near, 4)

  # Bytes, as TFDS returns them, are decoded equally.
  np.testing.assert_array_equal(read(file.read_bytes()), array)


def test_colour_becomes_luminance_for_one_channel():
  array = read(encode(Image.fromarray(ramp()), 'PNG'), channels=1)
  assert array.shape == (HEIGHT, WIDTH, 1)
  luminance = ramp() @ np.array([0.299, 0.587, 0.114])
  assert np.abs(array[..., 0] - luminance).max() <= 1


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'TIFF', 'BMP', 'PPM', 'GIF'])
def test_gray_is_copied_into_all_channels(kind):
  gray = Image.fromarray(np.full((9, 10), 77, np.uint8))
  for channels in (1, 3):
    array = read(encode(gray, kind), channels)
    np.testing.assert_array_equal(array, np.full((9, 10, channels), 77))


@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
def test_gray_with_alpha_is_blended_over_white(kind):
  data = encode(Image.new('LA', (8, 8), (100, 128)), kind)
  for channels in (1, 3):
    array = read(data, channels)
    assert array.shape == (8, 8, channels)
    # 100 * 128/255 + 255 * 127/255
    np.testing.assert_allclose(array, 177.2, atol=1)


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'WEBP'])
def test_rgba_is_blended_over_white(kind):
  options = {'lossless': True, 'exact': True} if kind == 'WEBP' else {}
  image = Image.new('RGBA', (24, 8), (200, 100, 0, 51))
  image.paste((9, 8, 7, 255), (8, 0, 16, 8))
  image.paste((9, 8, 7, 0), (16, 0, 24, 8))
  array = read(encode(image, kind, **options))
  # 51 of 255 is a fifth: 0.2 * (200, 100, 0) + 0.8 * 255
  expected = np.broadcast_to([244, 224, 204], (8, 8, 3))
  np.testing.assert_allclose(array[:, :8], expected, atol=1)
  expected = np.broadcast_to([9, 8, 7], (8, 8, 3))
  np.testing.assert_array_equal(array[:, 8:16], expected)
  np.testing.assert_array_equal(array[:, 16:], np.full((8, 8, 3), 255))


def palette_image():
  image = Image.new('P', (16, 8), 1)
  image.paste(2, (8, 0, 16, 8))
  image.putpalette([0, 0, 0, 250, 20, 30, 40, 50, 240])
  return image


@pytest.mark.parametrize('kind', ['PNG', 'BMP', 'TIFF'])
def test_palettes_are_converted_to_rgb(kind):
  array = read(encode(palette_image(), kind))
  assert array.shape == (8, 16, 3)
  assert (array[:, :8] == [250, 20, 30]).all()
  assert (array[:, 8:] == [40, 50, 240]).all()


def test_palettes_are_converted_before_resizing():
  array = read(encode(palette_image(), 'PNG'), size=(32, 16))
  np.testing.assert_array_equal(array[8, 2], [250, 20, 30])
  np.testing.assert_array_equal(array[8, -2], [40, 50, 240])


def test_transparent_palette_entries_are_blended_over_white():
  clear = read(encode(palette_image(), 'PNG', transparency=1))
  assert (clear[:, :8] == 255).all()
  assert (clear[:, 8:] == [40, 50, 240]).all()

  fifth = read(encode(palette_image(), 'PNG', transparency=bytes([0, 255, 51])))
  assert (fifth[:, :8] == [250, 20, 30]).all()
  # 0.2 * (40, 50, 240) + 0.8 * 255
  expected = np.broadcast_to([212, 214, 252], (8, 8, 3))
  np.testing.assert_allclose(fifth[:, 8:], expected, atol=1)


def test_a_transparent_rgb_colour_becomes_white():
  image = Image.new('RGB', (16, 8), (10, 20, 30))
  image.paste((50, 60, 70), (8, 0, 16, 8))
  array = read(encode(image, 'PNG', transparency=(10, 20, 30)))
  assert (array[:, :8] == 255).all()
  assert (array[:, 8:] == [50, 60, 70]).all()


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'BMP', 'PPM'])
def test_one_bit_pictures_become_black_and_white(kind):
  image = Image.new('1', (16, 8), 0)
  image.paste(1, (8, 0, 16, 8))
  for channels in (1, 3):
    array = read(encode(image, kind), channels)
    assert array.shape == (8, 16, channels)
    assert (array[:, :8] == 0).all()
    assert (array[:, 8:] == 255).all()
  # Resizing interpolates grays and does not threshold.
  edge = read(encode(image, kind), 1, size=(8, 8))
  assert ((edge > 0) & (edge < 255)).any()


def gray_16_bit(kind, array):
  if kind == 'big-endian TIFF':
    raw = array.astype('>u2').tobytes()
    image = Image.frombytes('I;16B', array.shape[::-1], raw)
    return encode(image, 'TIFF')
  return encode(Image.fromarray(array), kind)


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'big-endian TIFF', 'PPM'])
def test_gray_of_16_bits_keeps_its_precision(kind):
  values = noise(dtype=np.uint16)[..., 0]
  data = gray_16_bit(kind, values)
  for channels in (1, 3):
    array = read(data, channels)
    assert array.dtype == np.float32
    assert array.shape == (HEIGHT, WIDTH, channels)
    for c in range(channels):
      np.testing.assert_allclose(array[..., c], values / 257, atol=1e-4)


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'big-endian TIFF'])
def test_gray_of_16_bits_resized_is_not_rounded(kind):
  x = np.arange(WIDTH)
  values = np.tile((1000 + 150 * x).astype(np.uint16), (HEIGHT, 1))
  array = read(gray_16_bit(kind, values), 1, size=(2 * WIDTH, 2 * HEIGHT))
  assert array.shape == (2 * HEIGHT, 2 * WIDTH, 1)
  # Bicubic resizing keeps a linear ramp away from the borders.
  place = (np.arange(2 * WIDTH) + 0.5) / 2 - 0.5
  line = np.tile((1000 + 150 * place) / 257, (2 * HEIGHT, 1))
  inner = slice(4, -4)
  np.testing.assert_allclose(array[:, inner, 0], line[:, inner], atol=5e-3)


def test_gray_of_16_bits_resized_stays_in_range():
  values = np.zeros((HEIGHT, WIDTH), np.uint16)
  values[:, WIDTH // 2 :] = 65535
  array = read(gray_16_bit('PNG', values), 1, size=(3 * WIDTH, HEIGHT))
  assert array.min() == 0
  assert array.max() == 255


def test_colour_of_16_bits_is_exact_to_one_level():
  values = noise(dtype=np.uint16)
  rows = [row.tobytes() for row in values.astype('>u2')]
  for data in (png(WIDTH, HEIGHT, 16, 2, rows), tiff_16_bit_rgb(values)):
    assert np.abs(read(data) - values / 257).max() <= 1


def test_gray_with_alpha_of_16_bits_is_blended_over_white():
  rows = [struct.pack('>16H', *[25700, 32768] * 8)] * 8
  # 25700 / 257 = 100, half transparent over white
  np.testing.assert_allclose(read(png(8, 8, 16, 4, rows)), 177.5, atol=1)


@pytest.mark.parametrize('kind', ['tiff_lzw', None])
def test_gray_of_16_bits_with_white_as_zero_is_inverted(kind):
  values = noise(dtype=np.uint16)[..., 0]
  options = {'compression': kind} if kind else {}
  for photometric in (0, 1):
    data = encode(
      Image.fromarray(values), 'TIFF', tiffinfo={262: photometric}, **options
    )
    expected = values / 257 if photometric else 255 - values / 257
    np.testing.assert_allclose(read(data, 1)[..., 0], expected, atol=1e-4)


def gray_tiff(values, bits, packed, photometric=1, sample_format=1):
  height, width = values.shape
  tags = [
    (256, 4, 1, width),
    (257, 4, 1, height),
    (258, 3, 1, bits),
    (259, 3, 1, 1),  # not compressed
    (262, 3, 1, photometric),
    (273, 4, 1, 8),
    (278, 4, 1, height),
    (279, 4, 1, len(packed)),
    (339, 3, 1, sample_format),
  ]
  return (
    struct.pack('<2sHI', b'II', 42, 8 + len(packed))
    + packed
    + struct.pack('<H', len(tags))
    + b''.join(struct.pack('<HHII', *tag) for tag in tags)
    + struct.pack('<I', 0)
  )


def test_gray_of_12_bits_keeps_its_precision():
  values = np.linspace(0, 4095, WIDTH * HEIGHT).astype(int)
  first, second = values[::2], values[1::2]  # two values take three bytes
  packed = [first >> 4, (first & 15) << 4 | second >> 8, second & 255]
  packed = np.stack(packed, -1).astype(np.uint8).tobytes()
  values = values.reshape(HEIGHT, WIDTH)
  array = read(gray_tiff(values, 12, packed), 1)
  np.testing.assert_allclose(array[..., 0], values * 255 / 4095, atol=1e-4)


def test_a_transparent_value_of_16_bits_becomes_white():
  values = np.full((8, 9), 1000, np.uint16)
  values[:, 3:6] = 1001
  data = encode(Image.fromarray(values), 'PNG', transparency=1001)
  for channels in (1, 3):
    array = read(data, channels)
    assert (array[:, 3:6] == 255).all()
    np.testing.assert_allclose(array[:, :3], 1000 / 257, atol=1e-4)
    np.testing.assert_allclose(array[:, 6:], 1000 / 257, atol=1e-4)


@pytest.mark.parametrize('bits', [2, 4])
def test_a_transparent_value_of_few_bits_becomes_white(bits):
  top = 2**bits - 1
  # The left half of a row has the value 1 of 3 or 15; the right half is white.
  row = bytes([0x55 if bits == 2 else 0x11] * bits + [255] * bits)
  for clear, left in ((1, 255), (2, 255 // top)):
    data = png(16, 8, bits, 0, [row] * 8, (b'tRNS', struct.pack('>H', clear)))
    array = read(data, 1)
    assert (array[:, :8] == left).all()
    assert (array[:, 8:] == 255).all()


def transparent_16_bit_colour():
  row = struct.pack('>24H', *range(24))
  clear = (b'tRNS', struct.pack('>3H', 1, 2, 3))
  return png(8, 8, 16, 2, [row] * 8, clear)


def signed_tiff(bits):
  values = np.zeros((8, 8))
  return gray_tiff(values, bits, bytes(8 * bits), sample_format=2)


def test_cmyk_jpegs_are_converted_to_rgb():
  cmyk = Image.fromarray(ramp()).convert('CMYK')
  data = encode(cmyk, 'JPEG', quality=95)
  assert Image.open(io.BytesIO(data)).mode == 'CMYK'
  array = read(data)
  assert np.abs(array.astype(int) - ramp()).mean() < 3
  assert np.abs(array.astype(int) - ramp()).max() < 20
  luminance = ramp() @ np.array([0.299, 0.587, 0.114])
  assert np.abs(read(data, 1)[..., 0] - luminance).mean() < 3


# Pixels that a camera stores for an upright picture, by the definition of "row
# 0" and "column 0" in the EXIF specification.
STORED = {
  1: lambda u: u,
  2: lambda u: u[:, ::-1],
  3: lambda u: u[::-1, ::-1],
  4: lambda u: u[::-1],
  5: lambda u: u.swapaxes(0, 1),
  6: lambda u: np.rot90(u, 1),
  7: lambda u: u[::-1, ::-1].swapaxes(0, 1),
  8: lambda u: np.rot90(u, -1),
}


def stored(upright, orientation, kind, **options):
  exif = Image.Exif()
  exif[ORIENTATION] = orientation
  pixels = np.ascontiguousarray(STORED[orientation](upright))
  return encode(Image.fromarray(pixels), kind, exif=exif, **options)


@pytest.mark.parametrize('orientation', STORED)
def test_exif_orientation_is_applied(orientation):
  upright = noise()
  for kind in ('PNG', 'TIFF'):
    data = stored(upright, orientation, kind)
    np.testing.assert_array_equal(read(data), upright)
  data = stored(ramp(), orientation, 'JPEG', quality=95, subsampling=0)
  assert read(data).shape == ramp().shape
  assert np.abs(read(data).astype(int) - ramp()).max() <= 8


def test_size_and_half_refer_to_the_upright_picture():
  seen = []

  def new_size(width, height):
    seen.append((width, height))
    return width, height

  upright = noise(18, 30)
  data = stored(upright, 6, 'PNG')
  load(Picture('turned.png', data), 3, new_size)
  assert seen == [(30, 18)]
  np.testing.assert_array_equal(read(data, half=0), upright[:, :15])
  np.testing.assert_array_equal(read(data, half=1), upright[:, 15:])


@pytest.mark.parametrize(
  'kind, options', [('WEBP', {'lossless': True}), ('PNG', {}), ('TIFF', {})]
)
def test_the_first_frame_of_an_animation_is_used(kind, options):
  frames = [Image.new('RGB', (8, 8), c) for c in ('red', 'lime', 'blue')]
  data = encode(
    frames[0], kind, save_all=True, append_images=frames[1:], **options
  )
  assert Image.open(io.BytesIO(data)).n_frames == 3
  assert (read(data) == [255, 0, 0]).all()


def test_halves_of_a_picture_are_cut():
  for width in (40, 41):
    pair = noise(HEIGHT, width)
    data = encode(Image.fromarray(pair), 'PNG')
    np.testing.assert_array_equal(read(data, half=0), pair[:, :20])
    np.testing.assert_array_equal(read(data, half=1), pair[:, 20:40])


def test_a_resized_half_has_no_pixels_of_the_other_half():
  pair = np.zeros((10, 40, 3), np.uint8)
  pair[:, 20:] = 255
  data = encode(Image.fromarray(pair), 'PNG')
  assert (read(data, half=0, size=(33, 17)) == 0).all()
  assert (read(data, half=1, size=(33, 17)) == 255).all()


def bomb():
  """PNG file whose header declares far too many pixels."""
  return png(60000, 60000, 8, 2, [])


def float_tiff():
  return encode(Image.fromarray(np.ones((9, 9), np.float32)), 'TIFF')


def deep_tiff():
  return encode(Image.fromarray(np.full((9, 9), 70000, np.int32)), 'TIFF')


def cut(kind, share):
  data = encode(Image.fromarray(noise(64, 64)), kind)
  return data[: int(share * len(data))]


def between_pillows_limits():
  return png(12000, 12000, 8, 2, [])


REFUSED = {
  'text.png': lambda: b'these are words, not pixels\n' * 20,
  'empty.png': lambda: b'',
  'half.jpg': lambda: cut('JPEG', 0.5),
  'most.jpg': lambda: cut('JPEG', 0.9),
  'start.jpg': lambda: cut('JPEG', 0.02),
  'half.png': lambda: cut('PNG', 0.5),
  'most.png': lambda: cut('PNG', 0.9),
  'start.png': lambda: cut('PNG', 0.002),
  'half.bmp': lambda: cut('BMP', 0.5),
  'half.tif': lambda: cut('TIFF', 0.5),
  'half.webp': lambda: cut('WEBP', 0.5),
  'dot.png': lambda: encode(Image.new('RGB', (1, 1)), 'PNG'),
  'thin.png': lambda: encode(Image.new('RGB', (7, 300)), 'PNG'),
  'flat.png': lambda: encode(Image.new('RGB', (300, 7)), 'PNG'),
  'float.tif': float_tiff,
  'bomb.png': bomb,
  'large.png': between_pillows_limits,
  'transparent 16.png': transparent_16_bit_colour,
  'float.ppm': lambda: encode(Image.new('F', (9, 9)), 'PPM'),
  'pcx.png': lambda: encode(Image.new('RGB', (9, 9)), 'PCX'),
  'sgi.png': lambda: encode(Image.new('RGB', (9, 9)), 'SGI'),
  'eps.png': lambda: encode(Image.new('RGB', (9, 9)), 'EPS'),
}


# TIFF files that tifffile reads, with the value range of their types.
BEYOND_PILLOW = {
  'deep.tif': deep_tiff,
  'signed 8.tif': lambda: signed_tiff(8),
  'signed 16.tif': lambda: signed_tiff(16),
  'unsigned 32.tif': lambda: gray_tiff(np.zeros((8, 8)), 32, bytes(256)),
}


@pytest.mark.parametrize('name', BEYOND_PILLOW)
def test_tiffs_that_pillow_misreads_are_read_by_tifffile(tmp_path, name):
  path = tmp_path / name
  path.write_bytes(BEYOND_PILLOW[name]())
  array = load(Picture(str(path), path), 1)
  assert array.dtype == np.float32
  assert 0 <= array.min() <= array.max() <= 255


@pytest.mark.parametrize('name', REFUSED)
def test_bad_files_are_refused_by_name(tmp_path, name):
  file = tmp_path / name
  file.write_bytes(REFUSED[name]())
  with pytest.raises(UserError) as error:
    load(Picture(str(file), file), 3, same)
  assert str(file) in str(error.value)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'name',
  ['text.png', 'empty.png', 'dot.png', 'thin.png', 'bomb.png', 'large.png'],
)
def test_bad_headers_are_refused_by_name(tmp_path, name):
  file = tmp_path / name
  file.write_bytes(REFUSED[name]())
  with pytest.raises(UserError, match=name):
    headers.read(Picture(str(file), file))


def test_the_pixel_limit_does_not_depend_on_pillows_warning():
  side = int(MAX_PIXELS**0.5) + 1
  picture = Picture('large.png', png(side, side, 8, 2, []))
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    for use in (headers.read, lambda p: load(p, 3, same)):
      with pytest.raises(UserError, match=f'large.png: {side}x{side} is too'):
        use(picture)


def test_no_picture_is_resized_beyond_the_pixel_limit():
  data = encode(Image.new('L', (8, 4000)), 'PNG')
  tall = Picture('tall.png', data)
  with pytest.raises(UserError, match='tall.png.*800x400000'):
    load(tall, 1, lambda w, h: (100 * w, 100 * h))


def test_a_gif_with_a_wrong_ending_is_decoded():
  pixels = palette_image()
  assert (read(encode(pixels, 'GIF'))[:, :8] == [250, 20, 30]).all()


def test_headers_tell_gray_from_colour():
  for mode, gray in (('L', True), ('1', True), ('LA', True), ('RGB', False)):
    data = encode(Image.new(mode, (9, 9)), 'PNG')
    assert headers.read(Picture('some.png', data)).gray == gray
  deep = encode(Image.fromarray(np.zeros((9, 9), np.uint16)), 'PNG')
  assert headers.read(Picture('deep.png', deep)).gray
  assert not headers.read(Picture('p.png', encode(palette_image(), 'PNG'))).gray


def test_a_missing_file_is_refused_by_name(tmp_path):
  gone = Picture('gone.png', tmp_path / 'gone.png')
  for use in (headers.read, lambda p: load(p, 3, same)):
    with pytest.raises(UserError, match='gone.png'):
      use(gone)


def test_the_smallest_pictures_are_decoded():
  for size in ((8, 8), (8, 300)):
    data = encode(Image.new('RGB', size), 'PNG')
    headers.read(Picture('small.png', data))
    assert read(data).shape == (size[1], size[0], 3)

  # Each half of a true pair has to be large enough.
  pair = encode(Image.new('RGB', (16, 8)), 'PNG')
  headers.read(Picture('pair.png', pair, half=1))
  narrow = encode(Image.new('RGB', (15, 8)), 'PNG')
  headers.read(Picture('whole.png', narrow))
  with pytest.raises(UserError, match='narrow.png.*7x8'):
    headers.read(Picture('narrow.png', narrow, half=1))


def test_the_file_is_read_once(tmp_path, monkeypatch):
  file = tmp_path / 'some.png'
  file.write_bytes(encode(Image.fromarray(noise()), 'PNG'))
  opened = []
  true_open = Image.open

  def count(file, *args, **kwargs):
    opened.append(file)
    return true_open(file, *args, **kwargs)

  monkeypatch.setattr(Image, 'open', count)
  load(Picture('some.png', file), 3, same)
  assert opened == [file]
