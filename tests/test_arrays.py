"""Tests of reading TIFF, NumPy, NIfTI, DICOM and 16-bit PNG files."""

import functools
import gzip
import io
import pathlib
import threading
import warnings
import zipfile

import numpy as np
import pytest

from cyclegan_jax.data import arrays
from cyclegan_jax.data.arrays import (
  base,
  codestream,
  dicom,
  nifti,
  tiff,
  volumes,
)
from cyclegan_jax.data.picture import MAX_PIXELS, Cut

imagecodecs = pytest.importorskip('imagecodecs')
nib = pytest.importorskip('nibabel')
pydicom = pytest.importorskip('pydicom')
tifffile = pytest.importorskip('tifffile')

WHOLE = Cut()
KINDS = ['u1', 'i1', 'u2', 'i2', 'u4', 'i4', 'f2', 'f4', 'f8']
# Folders of the libraries' own test files, and the names that find a reader.
OWN = [
  (nib, 'tests/data', arrays.find),
  (
    pydicom,
    'data/test_files',
    lambda name: arrays.find(name) or arrays.find('.dcm'),
  ),
]


def values(shape, kind='u2', seed=0):
  """Random array: the full range of an integer type, or floats around 0."""
  rng, kind = np.random.default_rng(seed), np.dtype(kind)
  if kind.kind == 'f':
    return rng.normal(size=shape).astype(kind)
  info = np.iinfo(kind)
  return rng.integers(info.min, info.max, shape, kind, endpoint=True)


def read(name, data, cut=WHOLE):
  """Reads a file or bytes and checks that `facts` describes the result."""
  known = arrays.find(name)
  told, array = known.facts(data, cut), known.read(data, cut)
  assert array.shape == (*told.size[::-1], told.channels)
  assert array.dtype == told.dtype and array.dtype.isnative
  assert array.flags.c_contiguous
  return array


def refuse(match, name, data, cut=WHOLE):
  known = arrays.find(name)
  for function in (known.facts, known.read):
    with pytest.raises(ValueError, match=match):
      function(data, cut)


def saved(save, *args, **options):
  file = io.BytesIO()
  save(file, *args, **options)
  return file.getvalue()


tif = functools.partial(saved, tifffile.imwrite)


@pytest.mark.parametrize(
  'ending', [e for x in arrays.ARRAY_FORMATS for e in x.endings]
)
def test_a_format_is_found_by_its_ending(ending):
  found = arrays.find(f'A.B{ending.upper()}')
  assert ending in found.endings and arrays.missing(found) is None


def test_other_endings_find_no_array_format():
  assert (
    arrays.find('a.jpg') is arrays.find('nii') is arrays.find('a.gz') is None
  )


def test_a_missing_reader_names_its_install_command():
  known = arrays.ARRAY_FORMATS[0]._replace(package='no_such_package')
  assert arrays.missing(known) == "pip install -e '.[scientific]'"


def test_impossible_picture_sizes_are_refused():
  base.check(MAX_PIXELS // 7, 7, 4)
  for size in [(0, 9, 1), (MAX_PIXELS // 7 + 1, 7, 1), (9, 9, 4097)]:
    with pytest.raises(ValueError):
      base.check(*size)
  with pytest.raises(ValueError, match='values'):
    base.check(MAX_PIXELS // 7, 7, 5)


class Remote:
  """A file in a bucket, which counts its downloads."""

  mtime, length, fetched = 1, 2, 0

  def __init__(self, data):
    self.data = data

  def __fspath__(self):
    return f'gs://bucket/{id(self)}'

  __str__ = __fspath__

  def stat(self):
    return self

  def read_bytes(self):
    self.fetched += 1
    return self.data


def test_array_files_in_buckets_are_read():
  array = values((9, 8), 'i2')
  for name, data in [
    ('a.tif', tif(array, photometric='minisblack')),
    ('a.npy', npy(array)),
    ('a.dcm', dcm(array)),
  ]:
    assert np.array_equal(read(name, Remote(data))[..., 0], array)
  array = values((9, 8, 7), 'i2')
  for data in (nii(array), gzip.compress(nii(array))):
    file = Remote(data)
    for i in range(7):
      found = read('a.nii', file, Cut(number=i))[..., 0]
      assert np.array_equal(found, np.rot90(array[..., i]))
    assert file.fetched == 1


# TIFF


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('bands', [1, 3, 7])
def test_tiffs_of_all_types_are_read(kind, bands, tmp_path):
  array = values((21, 34, bands), kind)
  path = tmp_path / 'a.tif'
  planar = 'contig' if bands > 1 else None
  tifffile.imwrite(path, array, photometric='minisblack', planarconfig=planar)
  assert np.array_equal(read('a.tif', path), array)


@pytest.mark.parametrize(
  'options',
  [
    {},
    {'compression': 'lzw'},
    {'compression': 'lzw', 'predictor': True},
    {'compression': 'deflate', 'predictor': True},
    {'compression': 'zstd'},
    {'compression': 'packbits'},
    {'tile': (16, 32)},
    {'tile': (16, 32), 'compression': 'lzw'},
    {'rowsperstrip': 5},
    {'bigtiff': True},
    {'byteorder': '>'},
    {'byteorder': '>', 'compression': 'deflate', 'predictor': True},
  ],
  ids=str,
)
@pytest.mark.parametrize('kind', ['u2', 'f4'])
@pytest.mark.parametrize('planar', ['contig', 'separate'])
def test_tiffs_of_all_layouts_are_read(options, kind, planar):
  array = values((21, 40, 5), kind)
  stored = array if planar == 'contig' else array.transpose(2, 0, 1)
  data = tif(stored, photometric='minisblack', planarconfig=planar, **options)
  assert np.array_equal(read('a.tif', data), array)


def test_tiffs_with_white_as_zero_are_inverted():
  array = values((9, 8))
  data = tif(array, photometric='miniswhite')
  assert np.array_equal(read('a.tif', data)[..., 0], 65535 - array)
  array = values((9, 8), 'i2')
  assert np.array_equal(
    read('a.tif', tif(array, photometric='miniswhite'))[..., 0], array
  )


def test_tiff_palettes_are_converted_to_rgb():
  array, colours = values((9, 8), 'u1'), values((3, 256), 'u2')
  data = tif(array, photometric='palette', colormap=colours)
  wanted = (colours >> 8).astype(np.uint8).T[array]
  assert np.array_equal(read('a.tif', data), wanted)
  assert tiff.facts(data, Cut()).colour


def test_only_tiffs_marked_as_rgb_are_colour():
  for bands, kind, colour in [
    (3, 'rgb', True),
    (3, 'minisblack', False),
    (4, 'rgb', False),
  ]:
    data = tif(values((9, 8, bands)), photometric=kind, planarconfig='contig')
    assert tiff.facts(data, Cut()).colour is colour


def test_jpeg_compressed_tiffs_are_read():
  array = np.full((32, 48, 3), (200, 100, 50), np.uint8)
  data = tif(array, photometric='rgb', compression='jpeg', tile=(16, 16))
  assert np.abs(read('a.tif', data).astype(int) - array).max() < 4


@pytest.mark.parametrize('orientation', range(1, 9))
def test_the_orientation_of_a_tiff_is_applied(orientation):
  from PIL import Image, ImageOps

  array = values((6, 9), 'u1')
  data = tif(
    array, photometric='minisblack', extratags=[(274, 3, 1, orientation, True)]
  )
  wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
  assert np.array_equal(read('a.tif', data)[..., 0], np.asarray(wanted))


def pages(*shapes, kind='u2', **options):
  file = io.BytesIO()
  every = [values(shape, kind, i) for i, shape in enumerate(shapes)]
  with tifffile.TiffWriter(file) as writer:
    for array in every:
      writer.write(array, photometric='minisblack', contiguous=False, **options)
  return every, file.getvalue()


def test_tiff_pages_become_channels_or_slices():
  every, data = pages(*[(9, 8)] * 4)
  assert np.array_equal(read('a.tif', data)[..., 0], every[0])
  assert tiff.facts(data, Cut()).unused == 3
  assert np.array_equal(
    read('a.tif', data, Cut(pages='channels')), np.stack(every, -1)
  )
  assert tiff.facts(data, Cut(pages='slices')).slices == 4
  for i, array in enumerate(every):
    cut = Cut(pages='slices', number=i)
    assert np.array_equal(read('a.tif', data, cut)[..., 0], array)
  refuse('no slice 4', 'a.tif', data, Cut(pages='slices', number=4))
  with pytest.raises(ValueError, match='4 pages'):
    tiff.read(data, Cut(pages='slices'))


def test_tiff_pages_of_different_sizes_are_not_channels():
  every, data = pages((9, 8), (8, 9))
  refuse('differ', 'a.tif', data, Cut(pages='channels'))
  cut = Cut(pages='slices', number=1)
  assert np.array_equal(read('a.tif', data, cut)[..., 0], every[1])


def test_previews_in_a_tiff_are_skipped():
  file = io.BytesIO()
  full, small = values((32, 32)), values((16, 16))
  with tifffile.TiffWriter(file) as writer:
    for array, kind in [(small, 1), (full, 0), (small, 1), (full + 1, 0)]:
      writer.write(array, subfiletype=kind, contiguous=False)
  data = file.getvalue()
  assert np.array_equal(read('a.tif', data)[..., 0], full)
  assert tiff.facts(data, Cut()).unused == 1
  both = read('a.tif', data, Cut(pages='channels'))
  assert np.array_equal(both[..., 1], full + 1)


def test_unsupported_tiffs_are_refused():
  refuse('12 bits', 'a.tif', tif(values((8, 8)) >> 4, bitspersample=12))
  refuse('complex', 'a.tif', tif(np.zeros((8, 8), np.complex64)))
  refuse('WEBP', 'a.tif', tif(values((8, 8, 3), 'u1'), compression='webp'))
  refuse('no pages', 'a.tif', tif(values((8, 8)))[:4] + bytes([255, 255, 0, 0]))
  refuse('not a TIFF', 'a.tif', b'no TIFF at all')


# NumPy

npy = functools.partial(saved, np.save)


@pytest.mark.parametrize('kind', [*KINDS, '?', '>u2', 'u8'])
@pytest.mark.parametrize('order', 'CF')
def test_numpy_arrays_of_all_types_are_read(kind, order, tmp_path):
  array = values((9, 8, 3), 'u1').astype(kind, order=order)
  np.save(tmp_path / 'a.npy', array)
  for data in (tmp_path / 'a.npy', npy(array)):
    assert np.array_equal(read('a.npy', data), array)
  for save in (np.savez, np.savez_compressed):
    assert np.array_equal(read('a.npz', saved(save, array)), array)


@pytest.mark.parametrize(
  'shape,wanted',
  [
    ((9, 8), (9, 8, 1)),
    ((9, 8, 12), (9, 8, 12)),
    ((3, 9, 8), (9, 8, 3)),
    ((3, 9, 3), (3, 9, 3)),
    ((9, 9, 9), (9, 9, 9)),
  ],
)
def test_channels_are_last_unless_only_the_first_axis_is_the_shortest(
  shape, wanted
):
  array = values(shape)
  found = read('a.npy', npy(array))
  assert found.shape == wanted
  first = array.transpose(1, 2, 0) if shape[0] == 3 != shape[2] else array
  assert np.array_equal(found, first.reshape(wanted))


@pytest.mark.parametrize(
  'array,match',
  [
    (np.array([[None]]), 'object'),
    (np.zeros((8, 8), np.complex64), 'complex64'),
    (np.zeros((8, 8), 'U3'), 'U3'),
    (np.zeros((8, 8), [('a', 'f4')]), 'f4'),
    (np.zeros((2, 8, 8, 3)), r'\(2, 8, 8, 3\)'),
    (np.zeros(8), 'not a picture'),
    (np.zeros((0, 8)), 'empty'),
  ],
)
def test_numpy_arrays_that_are_not_pictures_are_refused(array, match):
  refuse(match, 'a.npy', npy(array))
  refuse(match, 'a.npz', saved(np.savez, array))


def test_an_npz_file_must_contain_one_array():
  refuse('2 arrays.*one, two', 'a.npz', saved(np.savez, one=[[1]], two=[[2]]))
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', zipfile.ZIP_LZMA) as archive:
    archive.writestr('a.npy', npy(values((9, 8))))
  refuse('compression', 'a.npz', file.getvalue())


def test_an_npy_file_of_wrong_length_is_refused():
  data = npy(values((9, 8)))
  refuse('cut off', 'a.npy', data[:-1])
  refuse('more than one', 'a.npy', data + data)


# NIfTI


def nii(array, slope=None, inter=None, kind=nib.Nifti1Image):
  image = kind(array, np.eye(4), dtype=array.dtype)
  image.header.set_slope_inter(slope, inter)
  return image.to_bytes()


@pytest.mark.parametrize('axis', range(3))
@pytest.mark.parametrize('kind', ['u1', 'i2', 'u2', 'f4', 'f8'])
@pytest.mark.parametrize('form', [nib.Nifti1Image, nib.Nifti2Image])
def test_slices_of_nifti_volumes_are_read(axis, kind, form, tmp_path):
  array = values((9, 10, 11), kind)
  data = nii(array, kind=form)
  (tmp_path / 'a.nii').write_bytes(data)
  (tmp_path / 'a.nii.gz').write_bytes(gzip.compress(data))
  for path in tmp_path.iterdir():
    assert nifti.facts(path, Cut(axis)).slices == array.shape[axis]
    for index in (0, 5, array.shape[axis] - 1):
      found = read(path.name, path, Cut(axis, index))
      assert np.array_equal(found[..., 0], np.rot90(array.take(index, axis)))
      assert np.array_equal(
        nifti.from_picture(found)[..., 0], array.take(index, axis)
      )


def test_the_first_axis_of_a_nifti_becomes_columns():
  array = np.arange(6, dtype=np.int16).reshape(2, 3, 1)
  found = read('a.nii', nii(array), Cut(2, 0))
  assert found[..., 0].tolist() == [[2, 5], [1, 4], [0, 3]]


@pytest.mark.parametrize('shape', [(9, 10, 4, 3), (9, 10, 4, 1, 3)])
@pytest.mark.parametrize('axis', range(3))
def test_channels_of_nifti_volumes_are_read(shape, axis):
  array = values(shape, 'i2')
  wanted = array.reshape(9, 10, 4, 3).take(2, axis)
  for data in (nii(array), gzip.compress(nii(array))):
    found = read('a.nii', data, Cut(axis, 2))
    assert np.array_equal(found, np.rot90(wanted))


def test_a_two_dimensional_nifti_is_one_picture():
  array = values((9, 10), 'i2')
  assert nifti.facts(nii(array), Cut()).slices is None
  assert np.array_equal(read('a.nii', nii(array))[..., 0], np.rot90(array))


def test_an_rgb_nifti_is_read():
  array = values((9, 10, 4, 3), 'u1')
  packed = array.copy().view([('R', 'u1'), ('G', 'u1'), ('B', 'u1')])[..., 0]
  data = nib.Nifti1Image(packed, np.eye(4)).to_bytes()
  assert nifti.facts(data, Cut()).colour
  assert np.array_equal(read('a.nii', data, Cut(0, 3)), np.rot90(array[3]))


def test_the_scale_factors_of_a_nifti_are_applied():
  array = values((9, 10, 4), 'i2')
  for data in (nii(array, 0.5, 10), gzip.compress(nii(array, 0.5, 10))):
    found = read('a.nii', data, Cut(number=1))
    assert found.dtype == np.float32
    assert np.array_equal(
      found[..., 0], np.rot90(array[..., 1]) * np.float32(0.5) + 10
    )
  assert read('a.nii', nii(array, 1, 0), Cut(number=1)).dtype == np.int16


def test_unsupported_niftis_are_refused():
  array = values((9, 10, 4), 'i2')
  with pytest.raises(ValueError, match='4 slices'):
    nifti.read(nii(array), Cut())
  with pytest.raises(ValueError, match='no slice 4'):
    nifti.read(nii(array), Cut(number=4))
  refuse('shape', 'a.nii', nii(values((9, 10, 4, 2, 3), 'i2')))
  refuse('complex', 'a.nii', nii(np.zeros((4, 4, 4), np.complex64)))
  refuse('not a NIfTI', 'a.nii', bytes(999))
  refuse('cut off', 'a.nii', nii(array)[:-1])
  with pytest.raises(ValueError, match='cut off'):
    nifti.read(gzip.compress(nii(array)[:-1]), Cut(number=0))


def test_a_damaged_nifti_is_refused():
  data = bytearray(gzip.compress(nii(values((9, 10, 4), 'i2')), 0))
  data[-100] ^= 1
  with pytest.raises(OSError, match='CRC'):
    nifti.read(bytes(data), Cut(number=0))


def test_volumes_are_cached_and_the_oldest_is_dropped():
  held, made = volumes.Volumes(limit=250), []

  def get(key):
    def make():
      made.append(key)
      return np.zeros(100, np.uint8)

    return held.get(key, make)

  threads = [threading.Thread(target=get, args='a') for _ in range(8)]
  for x in threads:
    x.start()
  for x in threads:
    x.join()
  assert made == ['a']
  for key in 'bacb':  # c drops b, which then drops a
    get(key)
  assert made == ['a', 'b', 'c', 'b']
  large = held.get('d', lambda: np.zeros(999, np.uint8))
  assert held.get('d', None) is large


def test_a_changed_volume_is_read_again(tmp_path):
  path = tmp_path / 'a.nii.gz'
  for seed in range(2):
    array = values((9, 10, 4 + seed), 'i2', seed)
    path.write_bytes(gzip.compress(nii(array)))
    found = read('a.nii.gz', path, Cut(number=1))
    assert np.array_equal(found[..., 0], np.rot90(array[..., 1]))


# DICOM


def dcm(array, colours='MONOCHROME2', bits=None, compress=None, **tags):
  """DICOM file of an array [rows, columns(, 3)] or [frames, rows, columns]."""
  from pydicom import dataset, uid

  kind = array.dtype
  made = dataset.Dataset()
  made.file_meta = dataset.FileMetaDataset()
  made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
  made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = uid.CTImageStorage
  made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = '1.2.3'
  is_colour = colours == 'RGB'
  made.Rows, made.Columns = (
    array.shape[-3:-1] if is_colour else array.shape[-2:]
  )
  made.SamplesPerPixel = 3 if is_colour else 1
  if is_colour:
    made.PlanarConfiguration = 0
  elif array.ndim == 3:
    made.NumberOfFrames = len(array)
  made.PhotometricInterpretation = colours
  made.BitsAllocated = 8 * kind.itemsize
  made.BitsStored = bits or made.BitsAllocated
  made.HighBit = made.BitsStored - 1
  made.PixelRepresentation = int(kind.kind == 'i')
  made.PixelData = array.tobytes() + bytes(array.nbytes % 2)
  made['PixelData'].VR = 'OB' if kind.itemsize == 1 else 'OW'
  for name, value in tags.items():
    setattr(made, name, value)
  if compress:
    made.compress(compress)
  return saved(pydicom.dcmwrite, made, enforce_file_format=True)


@pytest.mark.parametrize('kind', ['u1', 'i1', 'u2', 'i2', 'u4', 'i4'])
def test_dicom_pictures_of_all_types_are_read(kind, tmp_path):
  array = values((9, 8), kind)
  (tmp_path / 'a.dcm').write_bytes(dcm(array))
  for data in (tmp_path / 'a.dcm', dcm(array)):
    assert np.array_equal(read('a.dcm', data)[..., 0], array)


@pytest.mark.parametrize(
  'kind,bits,slope,intercept,wanted',
  [
    ('u2', 12, 1, -1024, 'i2'),
    ('u2', 16, 1, -1024, 'i4'),
    ('i2', 16, 1, 0, 'i2'),
    ('u2', 12, 3, 5, 'i2'),
    ('i4', 32, 2, 0, 'f4'),
    ('u2', 12, 0.5, -10, 'f4'),
    ('u1', 8, -1, 0, 'i2'),
  ],
)
def test_dicom_slope_and_intercept_are_applied(
  kind, bits, slope, intercept, wanted
):
  array = values((9, 8), kind)
  if bits == 12:
    array >>= 4
  data = dcm(array, bits=bits, RescaleSlope=slope, RescaleIntercept=intercept)
  found = read('a.dcm', data)[..., 0]
  assert found.dtype == wanted
  np.testing.assert_allclose(found, array.astype(float) * slope + intercept)


def test_dicom_monochrome1_is_inverted():
  array = np.array([[0, 4095], [1, 100]], np.uint16)
  data = dcm(array, 'MONOCHROME1', bits=12, RescaleIntercept=-5)
  assert read('a.dcm', data)[..., 0].tolist() == [[4090, -5], [4089, 3990]]
  array = np.array([[-2048, 2047], [0, -1]], np.int16)
  data = dcm(array, 'MONOCHROME1', bits=12)
  assert read('a.dcm', data)[..., 0].tolist() == [[2047, -2048], [-1, 0]]


def test_frames_of_a_dicom_file_are_read():
  array = values((5, 9, 8))
  for data in (dcm(array), dcm(array, compress='1.2.840.10008.1.2.5')):
    assert dicom.facts(data, Cut()).slices == 5
    for i in range(5):
      found = read('a.dcm', data, Cut(number=i))
      assert np.array_equal(found[..., 0], array[i])
    with pytest.raises(ValueError, match='5 frames'):
      dicom.read(data, Cut())
    with pytest.raises(ValueError, match='no slice 5'):
      dicom.read(data, Cut(number=5))


def group(slope):
  from pydicom import dataset

  inner, outer = dataset.Dataset(), dataset.Dataset()
  inner.RescaleSlope, inner.RescaleIntercept = slope, -1
  outer.PixelValueTransformationSequence = [inner]
  return outer


@pytest.mark.parametrize(
  'tag,slopes',
  [
    ('SharedFunctionalGroupsSequence', [2]),
    ('PerFrameFunctionalGroupsSequence', [2, 3]),
  ],
)
def test_slopes_of_dicom_frames_are_applied(tag, slopes):
  array = values((2, 9, 8), 'u1')
  data = dcm(array, **{tag: [group(x) for x in slopes]})
  for i in range(2):
    wanted = array[i].astype(int) * slopes[i % len(slopes)] - 1
    assert np.array_equal(read('a.dcm', data, Cut(number=i))[..., 0], wanted)


def test_dicom_palettes_are_converted_to_rgb():
  array, table = values((9, 8), 'u1'), values((256, 3), 'u2')
  names = ('Red', 'Green', 'Blue')
  tags = {f'{x}PaletteColorLookupTableDescriptor': [256, 0, 16] for x in names}
  for i, x in enumerate(names):
    tags[f'{x}PaletteColorLookupTableData'] = table[:, i].tobytes()
  found = read('a.dcm', dcm(array, 'PALETTE COLOR', **tags))
  assert np.array_equal(found, (table >> 8)[array])


def test_unsupported_dicom_files_are_refused():
  array = values((9, 8))
  refuse('not a DICOM', 'a.dcm', b'no DICOM at all')
  refuse('cut off', 'a.dcm', dcm(array)[:-2])
  refuse('HSV', 'a.dcm', dcm(array, 'HSV'))
  refuse('modality', 'a.dcm', dcm(array, ModalityLUTSequence=[]))
  refuse('too large', 'a.dcm', dcm(array, Rows=60000, Columns=60000))


def test_a_missing_dicom_decoder_is_named(monkeypatch):
  from pydicom.pixels.decoders import base as decoders

  monkeypatch.setattr(decoders.Decoder, 'is_available', False)
  path = pathlib.Path(pydicom.__file__).parent / 'data/test_files/JPEG2000.dcm'
  with pytest.raises(ValueError, match=r'JPEG 2000.*\[medical\]'):
    dicom.read(path, Cut())


def series(count=4, step=2.5):
  """Files of an oblique series in order, and the function pixel -> point."""
  axes = np.array([[0.8, 0.6, 0], [0, 0, -1]])
  normal = np.cross(*axes)
  origins = [np.array([1.0, 2, 3]) + normal * step * i for i in range(count)]
  made = [
    dcm(
      values((6, 5)),
      SeriesInstanceUID='1.2',
      InstanceNumber=count - i,
      ImagePositionPatient=list(x),
      ImageOrientationPatient=list(axes.ravel()),
      PixelSpacing=[0.5, 0.75],
      SliceThickness=step,
    )
    for i, x in enumerate(origins)
  ]

  def point(row, column, index):
    place = origins[index] + axes[0] * 0.75 * column + axes[1] * 0.5 * row
    return place * [-1, -1, 1]

  return made, point


def test_a_dicom_series_is_sorted_by_position():
  made, _ = series()
  assert sorted(made[::-1], key=dicom.position) == made
  other = dcm(values((6, 5)), SeriesInstanceUID='1.1', InstanceNumber=7)
  assert dicom.position(other) == ('1.1', 0.0, 7)
  assert min([*made, other], key=dicom.position) is other


@pytest.mark.parametrize('count', [1, 4])
def test_a_dicom_series_has_the_right_affine(count):
  made, point = series(count)
  affine = dicom.geometry(made)
  for row, column, index in [(0, 0, 0), (5, 2, count - 1), (3, 4, 0)]:
    picture = np.zeros((6, 5))
    picture[row, column] = 1
    ((i, j),) = np.argwhere(nifti.from_picture(picture))
    np.testing.assert_allclose(
      affine @ [i, j, index, 1], [*point(row, column, index), 1], atol=1e-4
    )
  with pytest.raises(ValueError, match='place'):
    dicom.geometry([dcm(values((6, 5)))])


# PNG


@pytest.mark.parametrize('channels', range(1, 5))
def test_pngs_of_16_bits_are_read(channels, tmp_path):
  array = values((9, 8, channels))
  path = tmp_path / 'a.png'
  path.write_bytes(imagecodecs.png_encode(array))
  assert np.array_equal(read('a.png', path), array)
  told = arrays.find('a.png').facts(path, Cut())
  assert told.colour == (channels == 3)


def test_pngs_of_8_bits_are_left_to_pillow():
  refuse('of 8', 'a.png', imagecodecs.png_encode(values((9, 8, 3), 'u1')))
  refuse('not a PNG', 'a.png', b'no PNG at all')


# All


def test_pictures_of_one_value_are_empty():
  known = arrays.find('a.npy')
  for array, is_empty in [
    (np.full((9, 8, 2), 3), True),
    (np.full((9, 8), np.nan), True),
    (values((9, 8)), False),
    (np.array([[np.nan, 0.0]]), False),
  ]:
    assert arrays.empty(known, npy(array), Cut()) is is_empty


def test_declared_sizes_of_jpeg_streams_are_read():
  array = np.zeros((9, 8, 3), np.uint8)
  for encode in (imagecodecs.jpeg_encode, imagecodecs.jpegls_encode):
    assert codestream.declared(encode(array)) == (8, 9, 3)
  j2k = imagecodecs.jpeg2k_encode(array, codecformat='j2k')
  assert codestream.declared(j2k) == (8, 9, 3)
  for data in (b'', b'\xff\xd8', j2k[:20], b'\xff\xd8\xff\xd9\0\0\0'):
    with pytest.raises(ValueError):
      codestream.declared(data)


def own_files():
  for module, folder, find in OWN:
    root = pathlib.Path(module.__file__).parent / folder
    for path in sorted(root.rglob('*')):
      if path.is_file() and (known := find(path.name)):
        yield pytest.param(known, path, id=path.relative_to(root).as_posix())


def wanted(known, path):
  """First picture of a file as its library reads it, or None."""
  if known.package == 'nibabel':
    array = np.asarray(nib.load(path).dataobj)
    return np.rot90(array[:, :, 0].reshape(*array.shape[:2], -1))
  made = pydicom.dcmread(path, force=True)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    try:
      array = made.pixel_array
    except Exception:
      return None
  if made.get('NumberOfFrames', 1) > 1:
    array = array[0]
  if made.PhotometricInterpretation == 'PALETTE COLOR':
    array = pydicom.pixels.apply_color_lut(array, made) >> 8
  elif made.SamplesPerPixel == 1:
    if made.PhotometricInterpretation == 'MONOCHROME1':
      array = 2**made.BitsStored - 1 - array
    array = pydicom.pixels.apply_modality_lut(array, made)
  return array.reshape(made.Rows, made.Columns, -1)


@pytest.mark.parametrize('known,path', list(own_files()))
def test_test_files_of_the_libraries_are_read_or_refused(known, path):
  try:
    told = known.facts(path, Cut())
    cut = Cut(number=0 if told.slices else None)
    array = known.read(path, cut)
  except ValueError as e:
    assert '\n' not in str(e)
    # Files that their library reads and this reader refuses.
    assert path.name in REFUSED or wanted(known, path) is None
    return
  assert path.name not in REFUSED
  assert array.shape == (*told.size[::-1], told.channels)
  assert array.dtype == told.dtype
  np.testing.assert_allclose(array, wanted(known, path), rtol=1e-6)


REFUSED = {
  'row_major.dconn.nii',  # a matrix of connections
  'GDCMJ2K_TextGBR.dcm',  # JPEG 2000 in boxes, which DICOM forbids
  'image_dfl.dcm',  # deflated as a whole
}
