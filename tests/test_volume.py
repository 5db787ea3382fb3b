"""Tests of writing volumes from slices in any order, in little memory."""

import concurrent.futures
import errno
import gzip
import os
import subprocess
import sys

import numpy as np
import pytest

from cyclegan_jax.common import disk
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import arrays
from cyclegan_jax.data.picture import Cut
from cyclegan_jax.inference import volume

nibabel = pytest.importorskip('nibabel')

SHAPE = (5, 7, 11)
TYPES = [
  *('uint8', 'uint16', 'uint32', 'int8', 'int16', 'int32'),
  *('float32', 'float64'),
]
SLANT = np.array(
  [
    [0.9, 0.05, 0.1, -90.3],
    [-0.02, 1.1, 0.2, 12.7],
    [0.03, -0.1, 2.5, -71.9],
    [0, 0, 0, 1],
  ]
)
# Header fields that describe the values, not the grid.
OF_VALUES = {
  *('datatype', 'bitpix', 'dim', 'scl_slope', 'scl_inter', 'vox_offset'),
  *('cal_min', 'cal_max', 'intent_code', 'intent_name'),
  *('intent_p1', 'intent_p2', 'intent_p3', 'magic'),
}


def header_of(version, endianness, times):
  """Header with all fields set, including scale factors."""
  kind = nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header
  header = kind(endianness=endianness)
  header.set_data_shape((*SHAPE, times) if times > 1 else SHAPE)
  header.set_data_dtype(np.int16)
  header.set_xyzt_units('mm', 'sec')
  header.set_sform(SLANT, 'mni')
  header.set_qform(SLANT, 'aligned')
  header.set_slope_inter(2.5, -1000)
  header.set_intent('label', name='tissue')
  header['pixdim'][4] = 2.2
  header['descrip'] = b'a scan'
  header['cal_max'] = 77
  comment = nibabel.nifti1.Nifti1Extension('comment', b'of the values')
  header.extensions.append(comment)
  return header


def like_of(path, version=1, endianness='<', times=1):
  header = header_of(version, endianness, times)
  kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
  shape = header.get_data_shape()
  array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
  nibabel.save(kind(array, None, header), path)
  return path


def values_of(dtype, channels=1, shape=SHAPE):
  random = np.random.default_rng(0)
  shape = (*shape, channels)
  if np.issubdtype(dtype, np.floating):
    return random.normal(size=shape).astype(dtype)
  info = np.iinfo(dtype)
  return random.integers(info.min, info.max, shape, dtype, endpoint=True)


def put_all(made, values, axis, order=None):
  """Puts slices of an array [x, y, z, channels], oriented as in a viewer."""
  order = range(values.shape[axis]) if order is None else order
  for i in order:
    made.put(i, np.rot90(np.take(values, i, axis)))


def read(path, channels=1):
  image = nibabel.load(path)
  values = np.asanyarray(image.dataobj)
  return image, values.reshape((*SHAPE, channels))


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('axis', [0, 1, 2])
@pytest.mark.parametrize('ending', ['.nii', '.nii.gz'])
def test_slices_can_be_put_in_any_order(ending, axis, channels, tmp_path):
  like = like_of(tmp_path / f'like{ending}')
  path = tmp_path / 'x' / f'a{ending}'
  values = values_of('float32', channels)
  made = volume.Volume(path, like, channels, np.float32, axis)
  put_all(made, values, axis, [*range(1, SHAPE[axis]), 0])
  assert not path.exists()
  made.close()
  image, found = read(path, channels)
  assert image.shape == SHAPE + (() if channels == 1 else (channels,))
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, values)
  assert (path.read_bytes()[:2] == b'\x1f\x8b') == (ending == '.nii.gz')
  assert [x.name for x in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('axis', [0, 1, 2])
@pytest.mark.parametrize('ending', ['.nii', '.nii.gz'])
def test_slices_are_read_as_they_were_put(ending, axis, channels, tmp_path):
  like = like_of(tmp_path / f'like{ending}')
  path = tmp_path / f'a{ending}'
  made = volume.Volume(path, like.read_bytes(), channels, np.float32, axis)
  size = tuple(n for i, n in enumerate(SHAPE) if i != axis)[::-1]
  random = np.random.default_rng(0)
  pictures = random.random((SHAPE[axis], *size, channels), np.float32)
  for i, picture in enumerate(pictures):
    made.put(i, picture)
  made.close()
  known = arrays.find(path.name)
  for i, picture in enumerate(pictures):
    np.testing.assert_array_equal(known.read(path, Cut(axis, i)), picture)


def test_compression_is_recognised_by_content(tmp_path):
  like = like_of(tmp_path / 'like.nii.gz').rename(tmp_path / 'like.nii')
  made = volume.Volume(tmp_path / 'a.nii', like, 1, np.int16)
  made.close()
  assert nibabel.load(tmp_path / 'a.nii').shape == SHAPE


def test_rows_run_down_the_second_axis(tmp_path):
  """The first row of a picture has the largest y, and x from left to right."""
  like = like_of(tmp_path / 'like.nii')
  made = volume.Volume(tmp_path / 'a.nii', like, 1, np.int16)
  picture = np.zeros((7, 5, 1), np.int16)
  picture[0] = [[1], [2], [3], [4], [5]]
  made.put(10, picture)
  made.close()
  _, found = read(tmp_path / 'a.nii')
  assert found[:, 6, 10, 0].tolist() == [1, 2, 3, 4, 5]
  assert np.count_nonzero(found) == 5


@pytest.mark.parametrize('dtype', TYPES)
def test_the_type_is_kept_and_values_are_not_scaled(dtype, tmp_path):
  path = tmp_path / 'a.nii'
  values = values_of(dtype)
  scaled = header_of(version=1, endianness='<', times=1)
  made = volume.Volume(path, scaled, 1, dtype)
  put_all(made, values, 2)
  made.close()
  image, found = read(path)
  assert image.get_data_dtype() == dtype == found.dtype
  np.testing.assert_array_equal(found, values)
  raw = nibabel.Nifti1Header(path.read_bytes()[:348])
  assert (raw['scl_slope'], raw['scl_inter']) == (1, 0)
  assert image.header['cal_min'] == np.float32(values.min())
  assert image.header['cal_max'] == np.float32(values.max())


@pytest.mark.parametrize(
  'dtype, kept', [('float16', 'float32'), ('?', 'uint8')]
)
def test_types_missing_in_nifti_are_widened(dtype, kept, tmp_path):
  like = like_of(tmp_path / 'like.nii')
  made = volume.Volume(tmp_path / 'a.nii', like, 1, dtype)
  values = values_of('float32').astype(dtype)
  put_all(made, values, 2)
  made.close()
  _, found = read(tmp_path / 'a.nii')
  assert found.dtype == kept
  np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize('version', [1, 2])
@pytest.mark.parametrize('endianness', ['<', '>'])
@pytest.mark.parametrize('channels', [1, 2])
def test_the_grid_is_kept(version, endianness, channels, tmp_path):
  like = like_of(tmp_path / 'like.nii', version, endianness, times=channels + 1)
  path = tmp_path / 'a.nii'
  made = volume.Volume(path, like, channels, np.float32)
  values = values_of('float32', channels)
  put_all(made, values, 2)
  made.close()
  old, new = nibabel.load(like), nibabel.load(path)
  assert type(old) is type(new) and old.header.endianness == endianness
  np.testing.assert_array_equal(read(path, channels)[1], values)
  assert old.affine.tobytes() == new.affine.tobytes()
  assert new.header.get_sform(coded=True)[1] == 4
  assert new.header.get_qform(coded=True)[1] == 2
  for name in set(old.header.keys()) - OF_VALUES - {'pixdim'}:
    assert np.array_equal(old.header[name], new.header[name]), name
  np.testing.assert_array_equal(
    old.header['pixdim'][:4], new.header['pixdim'][:4]
  )
  assert new.header['pixdim'][4] == 1
  assert new.header.get_xyzt_units() == ('mm', 'sec')
  assert new.header.get_intent()[0] == 'none'
  assert not new.header.extensions


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_missing_slices_are_filled(axis, tmp_path):
  like = like_of(tmp_path / 'like.nii')
  made = volume.Volume(tmp_path / 'a.nii', like, 2, np.int16, axis, fill=-1024)
  values = np.abs(values_of('int16', 2) // 2)
  put_all(made, values, axis, [1, 3])
  made.close()
  image, found = read(tmp_path / 'a.nii', 2)
  there = np.isin(np.arange(SHAPE[axis]), [1, 3])
  np.testing.assert_array_equal(
    found.compress(there, axis), values.compress(there, axis)
  )
  assert np.all(found.compress(~there, axis) == -1024)
  assert image.header['cal_min'] == -1024


def test_nan_and_infinity_do_not_count_for_the_display_range(tmp_path):
  like = like_of(tmp_path / 'like.nii')
  made = volume.Volume(tmp_path / 'a.nii', like, 1, np.float32, fill=np.nan)
  picture = np.full((7, 5, 1), np.inf, np.float32)
  picture[2, 2], picture[3, 3] = -3, 5
  made.put(4, picture)
  made.close()
  image, found = read(tmp_path / 'a.nii')
  assert (image.header['cal_min'], image.header['cal_max']) == (-3, 5)
  assert (
    np.isnan(found[..., 5, 0]).all() and not np.isnan(found[..., 4, 0]).any()
  )


def test_a_volume_of_nan_has_no_display_range(tmp_path):
  like = like_of(tmp_path / 'like.nii')
  volume.Volume(tmp_path / 'a.nii', like, 1, '<f4', fill=np.nan).close()
  image, found = read(tmp_path / 'a.nii')
  assert (image.header['cal_min'], image.header['cal_max']) == (0, 0)
  assert np.isnan(found).all()


def test_threads_can_put_slices_at_the_same_time(tmp_path):
  like = like_of(tmp_path / 'like.nii')
  made = volume.Volume(tmp_path / 'a.nii', like, 1, np.float32, axis=1)
  values = values_of('float32')
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda i: put_all(made, values, 1, [i]), range(SHAPE[1])))
  made.close()
  image, found = read(tmp_path / 'a.nii')
  np.testing.assert_array_equal(found, values)
  assert image.header['cal_max'] == values.max()


def test_equal_volumes_give_equal_files(tmp_path):
  like = like_of(tmp_path / 'like.nii')
  for name in ('a.nii.gz', 'b.nii.gz'):
    made = volume.Volume(tmp_path / name, like, 1, np.int16)
    put_all(made, values_of('int16'), 2)
    made.close()
  a, b = ((tmp_path / x).read_bytes() for x in ('a.nii.gz', 'b.nii.gz'))
  assert a == b and len(gzip.decompress(a)) == 352 + 2 * np.prod(SHAPE)


@pytest.mark.parametrize('index, shape', [(11, (7, 5, 1)), (0, (5, 7, 1))])
def test_invalid_slices_are_refused(index, shape, tmp_path):
  like = like_of(tmp_path / 'like.nii')
  made = volume.Volume(tmp_path / 'a.nii', like, 1, np.int16)
  with pytest.raises(ValueError, match=f'slice {index}'):
    made.put(index, np.zeros(shape, np.int16))
  made.abandon()
  assert [x.name for x in tmp_path.iterdir()] == ['like.nii']


@pytest.mark.parametrize('channels', [1, 2])
def test_a_series_gets_its_affine(channels, tmp_path):
  turn = np.diag([-0.5, -0.75, 3, 1])
  turn[:3, 3] = 100.25, 80.5, -512
  made = volume.Volume.of_series(
    tmp_path / 'a.nii.gz', turn, SHAPE, channels, np.int16, fill=-1000
  )
  values = values_of('int16', channels)
  put_all(made, values, 2, range(1, SHAPE[2]))
  made.close()
  image, found = read(tmp_path / 'a.nii.gz', channels)
  np.testing.assert_array_equal(found[:, :, 1:], values[:, :, 1:])
  assert np.all(found[:, :, 0] == -1000)
  np.testing.assert_array_equal(image.affine, turn)
  np.testing.assert_allclose(image.header.get_qform(), turn, atol=1e-4)
  codes = image.header['sform_code'], image.header['qform_code']
  assert codes == (1, 1)
  assert image.header.get_zooms()[:3] == (0.5, 0.75, 3)
  assert image.header.get_xyzt_units()[0] == 'mm'


def test_a_sheared_series_has_no_qform(tmp_path):
  shear = np.diag([1.0, 1, 2, 1])
  shear[1, 2] = 0.5  # as from a tilted gantry
  made = volume.Volume.of_series(tmp_path / 'a.nii', shear, SHAPE, 1, np.int16)
  made.close()
  image = nibabel.load(tmp_path / 'a.nii')
  np.testing.assert_array_equal(image.affine, shear)
  assert image.header['qform_code'] == 0


def full(*_):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize('k', [1, 2])
@pytest.mark.parametrize('ending', ['.nii', '.nii.gz'])
def test_a_full_disk_keeps_the_old_file(ending, k, tmp_path, monkeypatch):
  like = like_of(tmp_path / 'like.nii')
  path = tmp_path / f'a{ending}'
  path.write_text('before')
  made = volume.Volume(path, like, 1, np.int16)
  put_all(made, values_of('int16'), 2)
  count, true = [0], disk.put

  def put(file, data):
    count[0] += 1
    true(file, data[: len(data) // 2] if count[0] == k else data)
    if count[0] == k:
      full()

  monkeypatch.setattr(disk, 'put', put)
  with pytest.raises(disk.WriteError, match=f'a{ending}, No space left'):
    made.close()
  assert path.read_text() == 'before'
  assert {x.name for x in tmp_path.iterdir()} == {'like.nii', path.name}


KILLED = """
import os, sys, pathlib
import numpy as np
from cyclegan_jax.common import disk
from cyclegan_jax.inference import volume
count, true = [0], disk.put
def put(file, data):
  true(file, data)
  count[0] += 1
  if count[0] == 2:
    os._exit(9)
made = volume.Volume(*map(pathlib.Path, sys.argv[1:3]), 1, np.int16)
made.put(0, np.ones((7, 5, 1), np.int16))
disk.put = put
made.close()
"""


def test_a_process_killed_at_the_end_keeps_the_old_file(tmp_path):
  like = like_of(tmp_path / 'like.nii')
  path = tmp_path / 'a.nii'
  path.write_text('before')
  scratch = tmp_path / 'scratch'
  scratch.mkdir()
  ended = subprocess.run(
    [sys.executable, '-c', KILLED, str(path), str(like)],
    env=os.environ | {'TMPDIR': str(scratch)},
    check=False,
  )
  assert ended.returncode == 9 and path.read_text() == 'before'
  assert (tmp_path / 'a.nii.part').exists() and not list(scratch.iterdir())


def test_no_room_for_the_slices_is_an_error_at_the_start(tmp_path, monkeypatch):
  like = like_of(tmp_path / 'like.nii')
  monkeypatch.setattr(os, 'posix_fallocate', full)
  with pytest.raises(disk.WriteError, match='TMPDIR.*No space left'):
    volume.Volume(tmp_path / 'a.nii', like, 1, np.int16)


def test_no_room_for_a_slice_is_an_error(tmp_path, monkeypatch):
  like = like_of(tmp_path / 'like.nii')
  made = volume.Volume(tmp_path / 'a.nii', like, 1, np.int16)
  monkeypatch.setattr(os, 'pwrite', full)
  with pytest.raises(disk.WriteError, match='TMPDIR.*No space left'):
    put_all(made, values_of('int16'), 2)
  made.abandon()


def test_a_missing_package_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr(arrays, '_installed', lambda _: False)
  with pytest.raises(
    UserError, match=r"missing .* run pip install .*\[medical\]'"
  ):
    volume.Volume(tmp_path / 'a.nii', tmp_path / 'b.nii', 1, np.int16)


# Writes volumes of 64 MB and prints the growth of the peak memory in kB.
PEAK = """
import pathlib, re, sys
import nibabel
import numpy as np
from cyclegan_jax.inference import volume

def peak():
  text = pathlib.Path('/proc/self/status').read_text()
  return int(re.search(r'VmHWM:\\s*(\\d+)', text)[1])

folder = pathlib.Path(sys.argv[1])
for ending in ('.nii', '.nii.gz'):
  for axis in (0, 2):
    volume.Volume.of_series(  # loads what is loaded once
      folder / f'small{ending}', np.eye(4), (8, 8, 8), 1, np.float32
    ).close()
    before = peak()
    header = nibabel.Nifti1Header()
    header.set_data_shape((256, 256, 256))
    path = folder / f'a{ending}'
    made = volume.Volume(path, header, 1, np.float32, axis)
    for i in range(256):
      made.put(i, np.full((256, 256, 1), i, np.float32))
    made.close()
    found = nibabel.load(path).dataobj[200:201, 7:8, 100:101]
    assert found == (200, 0, 100)[axis]
    print(peak() - before)
"""


@pytest.mark.skipif(
  not os.path.exists('/proc/self/status'), reason='reads /proc'
)
def test_memory_does_not_grow_with_the_volume(tmp_path):
  ended = subprocess.run(
    [sys.executable, '-c', PEAK, str(tmp_path)],
    capture_output=True,
    text=True,
    check=True,
  )
  peaks = [int(line) for line in ended.stdout.split()]
  assert len(peaks) == 4 and max(peaks) < 24_000, peaks
