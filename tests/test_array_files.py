"""Tests of writing TIFF and NumPy files."""

import numpy as np
import pytest
from PIL import Image

from cyclegan_jax.common import disk
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import arrays
from cyclegan_jax.data.picture import Cut
from cyclegan_jax.inference import array_files

tifffile = pytest.importorskip('tifffile')

TYPES = [
  *('uint8', 'uint16', 'uint32', 'int8', 'int16', 'int32'),
  *('float32', 'float64'),
]
# Modes of the pictures of one channel that Pillow reads exactly.
GRAY = {'uint8': 'L', 'uint16': 'I;16', 'int16': 'I', 'int32': 'I'}
GRAY |= {'float32': 'F'}
GRID = {
  33550: (12, (30.0, 30.0, 0.0)),
  33922: (12, (0.0, 0.0, 0.0, 399285.0, 4265115.0, 0.0)),
  34735: (3, (1, 1, 0, 1, 1024, 0, 1, 1)),
  34736: (12, (6378137.0, 298.257223563)),
  34737: (2, 'WGS 84 / UTM zone 18N|'),
}
STATISTICS = '  <Item name="STATISTICS_MAXIMUM" sample="0">9</Item>\n'
METADATA = '<GDALMetadata>\n  <Item name="a">1</Item>\n%s</GDALMetadata>'


def array_of(dtype, channels=3, size=(9, 13)):
  """Random array that contains the smallest and largest value of its type."""
  random = np.random.default_rng(0)
  if np.issubdtype(dtype, np.floating):
    return random.normal(size=(*size, channels)).astype(dtype)
  info = np.iinfo(dtype)
  array = random.integers(info.min, info.max, (*size, channels), dtype, True)
  array[0, 0], array[-1, -1] = info.min, info.max
  return array


def geotiff(path, array, nodata='0', **options):
  """Writes a TIFF file with the tags that GDAL writes; returns its path."""
  tags = [(code, kind, len(x), x) for code, (kind, x) in GRID.items()]
  tags += [(42112, 2, None, METADATA % STATISTICS), (42113, 2, None, nodata)]
  tifffile.imwrite(
    path,
    array,
    photometric='minisblack',
    planarconfig='contig',
    resolution=((7200001, 100000), (300, 1)),
    resolutionunit='CENTIMETER',
    extratags=[(*tag, True) for tag in tags],
    metadata=None,
    **options,
  )
  return path


def tags_of(path):
  with tifffile.TiffFile(path) as tiff:
    return {tag.code: tag.value for tag in tiff.pages.first.tags}


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 13])
@pytest.mark.parametrize('dtype', TYPES)
def test_write_tiff_keeps_the_values(dtype, channels, tmp_path):
  path = tmp_path / 'x' / 'a.tif'
  array = array_of(dtype, channels)
  array_files.write_tiff(path, array)
  with tifffile.TiffFile(path) as tiff:
    page, read = tiff.pages.first, tiff.asarray()
    assert len(tiff.pages) == 1 and page.compression == 8
    colour = channels == 3 and dtype in ('uint8', 'uint16')
    assert page.photometric == (2 if colour else 1)
    extra = 0 if colour else channels - 1
    assert tuple(page.extrasamples) == (0,) * extra
    assert page.planarconfig == 1 and not {270, 305, 306} & set(tags_of(path))
  assert read.dtype == dtype
  np.testing.assert_array_equal(read.reshape(array.shape), array)


@pytest.mark.parametrize('dtype', GRAY)
def test_pillow_reads_written_gray_tiffs(dtype, tmp_path):
  array = array_of(dtype, 1)
  array_files.write_tiff(tmp_path / 'a.tif', array)
  with Image.open(tmp_path / 'a.tif') as image:
    assert image.mode == GRAY[dtype]
    np.testing.assert_array_equal(np.asarray(image), array[..., 0])


def test_pillow_reads_written_rgb_tiffs(tmp_path):
  array = array_of('uint8')
  array_files.write_tiff(tmp_path / 'a.tif', array)
  with Image.open(tmp_path / 'a.tif') as image:
    np.testing.assert_array_equal(np.asarray(image), array)


@pytest.mark.parametrize(
  'options', [{}, {'byteorder': '>'}, {'bigtiff': True}], ids=str
)
def test_tiff_tags_of_the_input_are_kept(options, tmp_path):
  like = geotiff(tmp_path / 'like.tif', array_of('uint16', 4), **options)
  path = tmp_path / 'a.tif'
  array_files.write_tiff(path, array_of('int16', 4), like)
  old, new = tags_of(like), tags_of(path)
  assert {code: new[code] for code in GRID} == {
    code: old[code] for code in GRID
  }
  assert new[282] == (7200001, 100000) and new[283] == (300, 1)
  assert new[296] == 3  # centimetres
  assert new[42112] == METADATA % '' and new[42113] == '0'


def test_tiff_tags_that_do_not_apply_are_dropped(tmp_path):
  like = geotiff(tmp_path / 'like.tif', array_of('int16', 2), '-9999')
  path = tmp_path / 'a.tif'

  def kept(array):
    array_files.write_tiff(path, array, like)
    tags = tags_of(path)
    assert tags[283] == (300, 1)
    return set(tags) & {*GRID, 42112, 42113}

  assert kept(array_of('int16', 3)) == {*GRID, 42113}
  assert kept(array_of('uint16', 2)) == {*GRID, 42112}
  assert kept(array_of('float32', 2, (9, 26))) == {42112, 42113}


@pytest.mark.parametrize(
  'text, types',
  [
    ('0', TYPES),
    ('-1', ['int8', 'int16', 'int32', 'float32', 'float64']),
    ('255', [x for x in TYPES if x != 'int8']),
    ('0.5', ['float32', 'float64']),
    ('nan', ['float32', 'float64']),
    ('-3.4028234663852886e+38', ['float32', 'float64']),
    ('-1.7976931348623157e+308', ['float64']),
    ('none', []),
  ],
)
def test_a_nodata_tag_is_kept_if_the_type_has_its_value(text, types, tmp_path):
  like = geotiff(tmp_path / 'like.tif', array_of('float64', 2), text)
  path = tmp_path / 'a.tif'
  found = []
  for dtype in TYPES:
    array_files.write_tiff(path, array_of(dtype, 2), like)
    if 42113 in tags_of(path):
      assert tags_of(path)[42113] == text
      found.append(dtype)
  assert found == types


@pytest.mark.parametrize('turned', [3, 6])
def test_a_rotated_tiff_loses_its_georeferencing(turned, tmp_path):
  """Readers rotate the pixels, so the georeferencing tags no longer apply."""
  tag = (274, 3, 1, turned, True)
  like = tmp_path / 'like.tif'
  grid = [(code, kind, len(x), x, True) for code, (kind, x) in GRID.items()]
  tifffile.imwrite(
    like,
    array_of('uint8', 1, (9, 9))[..., 0],
    resolution=(100, 300),
    extratags=[tag, *grid],
  )
  array_files.write_tiff(
    tmp_path / 'a.tif', array_of('uint8', 1, (9, 9)), like.read_bytes()
  )
  tags = tags_of(tmp_path / 'a.tif')
  assert not set(tags) & {274, *GRID}
  across, down = ((100, 1), (300, 1)) if turned == 3 else ((300, 1), (100, 1))
  assert (tags[282], tags[283]) == (across, down)


@pytest.mark.parametrize('channels', [1, 3, 13])
@pytest.mark.parametrize('name', ['a.tif', 'a.npy', 'a.npz'])
def test_the_project_reads_what_it_writes(name, channels, tmp_path):
  path, array = tmp_path / name, array_of('uint16', channels, (19, 14))
  getattr(array_files, f'write_{path.suffix[1:].replace("tif", "tiff")}')(
    path, array
  )
  np.testing.assert_array_equal(arrays.find(name).read(path, Cut()), array)


def test_a_resolution_without_a_unit_is_per_inch(tmp_path):
  """TIFF 6.0 defines this default; Pillow writes files without a unit."""
  like, path = tmp_path / 'like.tif', tmp_path / 'a.tif'
  array = array_of('uint8', 1)
  Image.fromarray(array[..., 0]).save(like, tiffinfo={282: 72.5, 283: 50})
  assert 296 not in tags_of(like)
  array_files.write_tiff(path, array, like)
  tags = tags_of(path)
  assert (tags[282], tags[283], tags[296]) == ((145, 2), (50, 1), 2)


def test_texts_that_are_not_ascii_are_kept(tmp_path):
  like = tmp_path / 'like.tif'
  text = METADATA % '  <Item name="ort">Zürich</Item>\n'
  tag = (42112, 2, None, text.encode(), True)
  array = array_of('uint8', 1)
  tifffile.imwrite(like, array[..., 0], extratags=[tag])
  array_files.write_tiff(tmp_path / 'a.tif', array, like)
  assert tags_of(tmp_path / 'a.tif')[42112] == tags_of(like)[42112] == text


def test_broken_tiff_tags_of_the_input_are_ignored(tmp_path):
  like, path = tmp_path / 'like.tif', tmp_path / 'a.tif'
  array = array_of('uint8', 1)
  tags = [(33550, 2, None, 'text', True), (42113, 3, 1, 7, True)]
  tifffile.imwrite(
    like, array[..., 0], extratags=tags, resolution=(0.5, 0.5), metadata=None
  )
  data = bytearray(like.read_bytes())
  with tifffile.TiffFile(like) as tiff:
    place = tiff.pages.first.tags[282].valueoffset
  data[place + 4 : place + 8] = bytes(4)  # a denominator of 0
  like.write_bytes(data)
  array_files.write_tiff(path, array, like)
  assert tags_of(path)[282] == (1, 1)
  np.testing.assert_array_equal(tifffile.imread(path), array[..., 0])


@pytest.mark.parametrize('flat', [False, True])
@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('name', ['a.npy', 'a.npz'])
def test_numpy_files_keep_values_and_shape(name, channels, flat, tmp_path):
  path = tmp_path / 'x' / name
  array = array_of('int16', channels)
  write = array_files.write_npz if name == 'a.npz' else array_files.write_npy
  write(path, array, flat)
  data = path.read_bytes()
  read = np.load(path)
  if name == 'a.npz':
    with read:
      (read,) = read.values()
  flattened = flat and channels == 1
  assert read.shape == (array.shape[:2] if flattened else array.shape)
  assert read.dtype == np.int16
  np.testing.assert_array_equal(read.reshape(array.shape), array)
  write(path, array, flat)
  assert path.read_bytes() == data


@pytest.mark.parametrize(
  'write',
  [array_files.write_tiff, array_files.write_npy, array_files.write_npz],
)
def test_a_full_disk_keeps_the_old_file(write, tmp_path, monkeypatch):
  path = tmp_path / 'a'
  path.write_text('before')

  def put(file, data):
    file.write(data[: len(data) // 2])
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(disk, 'put', put)
  with pytest.raises(disk.WriteError, match='No space left'):
    write(path, array_of('uint8'))
  assert path.read_text() == 'before' and len(list(tmp_path.iterdir())) == 1


def test_a_missing_package_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr(arrays, '_installed', lambda _: False)
  with pytest.raises(
    UserError, match=r"missing .* run pip install .*\[scientific\]'"
  ):
    array_files.write_tiff(tmp_path / 'a.tif', array_of('uint8'))
  assert not list(tmp_path.iterdir())
