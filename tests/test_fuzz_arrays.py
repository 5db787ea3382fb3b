"""Tests that broken array files give an array or an exception, never a crash.

The mutations are those of tests/test_fuzz_decode.py. To see the results:
python tests/test_fuzz_arrays.py
"""

import gzip
import importlib.util
import io
import json
import os
import pathlib
import resource
import struct
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
import test_fuzz_decode as fuzz
from test_fuzz_decode import png, strip, tiff, tile, zeros

for _package in ('tifffile', 'imagecodecs', 'nibabel', 'pydicom'):
  pytest.importorskip(_package)

MUTANTS = 150  # of each valid file
MEGABYTES = 200  # memory that a bomb may add to the process
RLE, JPEG_2000 = '1.2.840.10008.1.2.5', '1.2.840.10008.1.2.4.90'


# Without this plugin, pydicom cannot read JPEG-LS.
HAS_JPEG_LS = importlib.util.find_spec('libjpeg') is not None


def pixels(*shape, kind=np.uint16):
  array = np.random.RandomState(0).randint(0, 4096, shape).astype(kind)
  return array // 2


def saved(save, *args, **options):
  file = io.BytesIO()
  save(file, *args, **options)
  return file.getvalue()


def tif(array, **options):
  import tifffile

  return saved(tifffile.imwrite, array, **options)


def nii(array, scale=None):
  import nibabel as nib

  image = nib.Nifti1Image(array, np.eye(4), dtype=array.dtype)
  image.header.set_slope_inter(scale, scale and 0)
  return image.to_bytes()


def dcm(array, compress=None, **tags):
  import pydicom
  from pydicom import dataset, uid

  made = dataset.Dataset()
  made.file_meta = dataset.FileMetaDataset()
  made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
  made.SOPClassUID = uid.CTImageStorage
  made.SOPInstanceUID = '1.2.3'
  made.file_meta.MediaStorageSOPClassUID = uid.CTImageStorage
  made.file_meta.MediaStorageSOPInstanceUID = '1.2.3'
  made.ImagePositionPatient = [1, 2, 3]
  made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
  made.PixelSpacing = [1, 2]
  made.Rows, made.Columns = array.shape[-2:]
  if array.ndim == 3:
    made.NumberOfFrames = len(array)
  made.SamplesPerPixel = 1
  made.PhotometricInterpretation = 'MONOCHROME2'
  made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
  made.PixelRepresentation = 0
  made.RescaleSlope, made.RescaleIntercept = 1, -1024
  made.PixelData = array.tobytes()
  made['PixelData'].VR = 'OW'
  for name, value in tags.items():
    setattr(made, name, value)
  if compress:
    made.compress(compress)
  return saved(pydicom.dcmwrite, made, enforce_file_format=True)


def own(name):
  """Returns a small file of pydicom's own tests."""
  import pydicom

  root = pathlib.Path(pydicom.__file__).parent
  return (root / 'data/test_files' / name).read_bytes()


def valid_files():
  """Returns {name: bytes} of small files of many kinds."""
  import imagecodecs

  bands = pixels(24, 31, 5)
  flat, cube = pixels(24, 31), pixels(12, 11, 10, kind=np.int16)
  gray = {'photometric': 'minisblack'}
  contig = gray | {'planarconfig': 'contig'}
  rgb = {'photometric': 'rgb'}
  bytes_ = (bands[..., :3] // 16).astype(np.uint8)
  return {
    'raw.tif': tif(bands, **contig),
    'planar.tif': tif(
      bands.transpose(2, 0, 1), **gray, planarconfig='separate'
    ),
    'lzw.tif': tif(bands, compression='lzw', **contig),
    'deflate.tif': tif(bands, compression='deflate', predictor=True, **contig),
    'zstd.tif': tif(flat, compression='zstd', **gray),
    'lzma.tif': tif(flat, compression='lzma', **gray),
    'packbits.tif': tif(flat, compression='packbits', **gray),
    'tiles.tiff': tif(bands, tile=(16, 16), compression='lzw', **contig),
    'float.tif': tif(
      flat.astype(np.float32), compression='deflate', predictor=True, **gray
    ),
    'jpeg.tif': tif(bytes_, compression='jpeg', **rgb),
    'palette.tif': tif(
      bytes_[..., 0],
      photometric='palette',
      colormap=pixels(3, 256),
    ),
    'pages.tif': tif(pixels(4, 16, 17), metadata=None, **gray),
    'big.tif': tif(flat, bigtiff=True, byteorder='>', photometric='miniswhite'),
    'rgb.png': imagecodecs.png_encode(bands[..., :3].copy()),
    'rgba.png': imagecodecs.png_encode(bands[..., :4].copy()),
    'flat.npy': saved(np.save, flat),
    'fortran.npy': saved(np.save, np.asfortranarray(bands.astype(np.float64))),
    'one.npz': saved(np.savez_compressed, bands),
    'stored.npz': saved(np.savez, bands),
    'cube.nii': nii(cube, 0.5),
    'channels.nii': nii(pixels(12, 11, 10, 3, kind=np.float32)),
    'cube.nii.gz': gzip.compress(nii(cube)),
    'flat.dcm': dcm(flat[:, :30]),
    'frames.dcm': dcm(pixels(3, 16, 18)),
    'rle.dicom': dcm(flat[:, :30], RLE),
    'jpeg 2000.dcm': dcm(pixels(40, 48), JPEG_2000),
    **(
      {'jpeg ls.dcm': own('JPEGLSNearLossless_08.dcm')} if HAS_JPEG_LS else {}
    ),
    'jpeg.dcm': own('SC_rgb_small_odd_jpeg.dcm'),
    'implicit.ima': own('MR_small_implicit.dcm'),
    'big endian.dcm': own('SC_rgb_small_odd_big_endian.dcm'),
  }


def mutant(name, data, seed):
  """Returns a broken file; compressed files may be broken inside."""
  if name.endswith('.gz') and seed % 2:
    return gzip.compress(fuzz.mutant(gzip.decompress(data), seed), 1)
  return fuzz.mutant(data, seed)


def deep_png(width, height):
  size = struct.pack('>IIBBBBB', width, height, 16, 2, 0, 0, 0)
  return bytes(png([(b'IHDR', size), (b'IDAT', zeros(1)), (b'IEND', b'')]))


def header_of_npy(shape, kind):
  file = io.BytesIO()
  told = {'descr': kind, 'fortran_order': False, 'shape': shape}
  np.lib.format.write_array_header_1_0(file, told)
  return file.getvalue() + bytes(100)


def zipped(data, megabytes=0):
  """Returns an .npz of one file, with megabytes of zeros after its data."""
  file = io.BytesIO()
  with (
    zipfile.ZipFile(
      file, 'w', zipfile.ZIP_DEFLATED, compresslevel=1
    ) as archive,
    archive.open('arr_0.npy', 'w') as member,
  ):
    member.write(data)
    for _ in range(megabytes):
      member.write(bytes(2**20))
  return file.getvalue()


def gzipped(data, megabytes):
  """Returns a .gz of data followed by megabytes of zeros."""
  file = io.BytesIO()
  with gzip.open(file, 'wb', 1) as stream:
    stream.write(data)
    for _ in range(megabytes):
      stream.write(bytes(2**20))
  return file.getvalue()


def declared_nii(shape, offset=352.0):
  header = bytearray(nii(pixels(8, 8, 8))[:352])
  struct.pack_into(
    '<8h', header, 40, len(shape), *shape, *[1] * (7 - len(shape))
  )
  struct.pack_into('<f', header, 108, offset)
  return bytes(header)


def bombs():
  """Returns {name: bytes} of small files that would fill the memory."""
  import imagecodecs

  packed, size = zeros(600), {'Rows': 60000, 'Columns': 60000}
  half = {'Rows': 9000, 'Columns': 9000}
  bands = (277, 3, 1, 60000)
  tiny = b'\0' * 100
  jpeg = imagecodecs.jpeg_encode(np.zeros((64, 64), np.uint8))
  jpeg = fuzz.resized_header(
    jpeg, jpeg.index(b'\xff\xc0') + 5, '>HH', 65000, 65000
  )
  as_jpeg = (259, 3, 1, 7)
  flat = pixels(24, 30)
  j2k = bytearray(dcm(pixels(40, 48), JPEG_2000))
  struct.pack_into('>II', j2k, j2k.index(b'\xff\x4f\xff\x51') + 8, 60000, 60000)
  meta, deflated = dcm(flat), b'1.2.840.10008.1.2.1.99'
  meta = meta.replace(
    b'\x14\x00' + b'1.2.840.10008.1.2.1\0', b'\x16\x00' + deflated
  )
  loop = tiff(64, 64, *strip(tiny), data=tiny)
  return {
    'size.tif': tiff(60000, 60000, *strip(packed), data=packed),
    'few bytes.tif': tiff(9000, 9000, *strip(tiny), data=tiny),
    'strip.tif': tiff(9000, 70, bands, *strip(packed), data=packed),
    'tile.tif': tiff(64, 64, *tile(24000, packed), data=packed),
    'small tiles.tif': tiff(9000, 9000, *tile(1, packed), data=packed),
    'jpeg.tif': tiff(64, 64, *strip(jpeg), data=jpeg).replace(
      struct.pack('<HHII', 259, 3, 1, 8), struct.pack('<HHII', *as_jpeg)
    ),
    'loop.tif': loop[:-4] + struct.pack('<I', 8 + len(tiny)),
    'size.png': deep_png(60000, 60000),
    'few bytes.png': deep_png(9000, 9000),
    'size.npy': header_of_npy((60000, 60000), '<f8'),
    'few bytes.npy': header_of_npy((9000, 9000, 4), '<f8'),
    'object.npy': header_of_npy((9000, 9000), '|O'),
    'behind.npz': zipped(header_of_npy((8, 8), '<u1'), 600),
    'size.npz': zipped(header_of_npy((9000, 9000, 4), '<f8')),
    'size.nii': declared_nii((30000, 30000, 9000)),
    'few bytes.nii': declared_nii((9000, 9000, 9)),
    'size.nii.gz': gzip.compress(declared_nii((30000, 30000, 9000))),
    'few bytes.nii.gz': gzip.compress(declared_nii((9000, 9000, 9))),
    'before.nii.gz': gzipped(declared_nii((8, 8, 8), 5e8), 600),
    'size.dcm': dcm(flat, **size),
    'few bytes.dcm': dcm(flat, **half),
    'frames.dcm': dcm(flat, NumberOfFrames=2**31 - 1),
    'rle.dcm': resized(dcm(flat, RLE), 9000),
    'jpeg 2000.dcm': bytes(j2k),
    'deflated.dcm': meta + zeros(600)[2:],
  }


def resized(data, side):
  """Returns a DICOM file that declares other rows and columns."""
  for tag, old in ((b'\x28\0\x10\0US\2\0', 24), (b'\x28\0\x11\0US\2\0', 30)):
    before = tag + struct.pack('<H', old)
    assert before in data
    data = data.replace(before, tag + struct.pack('<H', side))
  return data


def main():
  if sys.platform == 'linux':
    resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
  import cyclegan_jax

  # The package's own __init__ may take seconds.
  package = types.ModuleType('cyclegan_jax.data')
  package.__path__ = [str(pathlib.Path(cyclegan_jax.__file__).parent / 'data')]
  sys.modules['cyclegan_jax.data'] = package
  from cyclegan_jax.data import arrays
  from cyclegan_jax.data.arrays import dicom
  from cyclegan_jax.data.picture import Cut

  def use(name, data, seed):
    known = arrays.find(name)
    pages = ('first', 'channels', 'slices')[seed % 3]
    cut = Cut(seed % 3, None, pages)
    try:
      if known.package == 'pydicom':
        dicom.position(data)
        dicom.geometry([data] * 2)
    except MemoryError:
      raise
    except Exception:
      pass
    try:
      told = known.facts(data, cut)
      if told.slices is not None:
        cut = cut._replace(number=seed % told.slices)
        told = known.facts(data, cut)
      array = known.read(data, cut)
    except MemoryError:
      raise
    except Exception:
      return 'refused'
    assert array.shape == (*told.size[::-1], told.channels), array.shape
    assert array.dtype == told.dtype, array.dtype
    return 'arrays'

  valid, bombed = valid_files(), bombs()
  whole = [(name, (data, 0)) for name, data in valid.items()]
  for name, (
    data,
    seed,
  ) in whole:  # so that lazily loaded libraries are not counted
    use(name, data, seed)
  mutants = (
    (name, (mutant(name, data, seed), seed))
    for name, data in valid.items()
    for seed in range(MUTANTS)
  )
  results = {
    'valid': fuzz.decode_all(whole, use),
    'bombs': fuzz.decode_all([(x, (y, 0)) for x, y in bombed.items()], use),
    'mutants': fuzz.decode_all(mutants, use),
  }
  print(json.dumps(results))


@pytest.fixture(scope='module')
def results():
  done = subprocess.run(
    [sys.executable, '-W', 'ignore', __file__],
    env=os.environ | {'OPENBLAS_NUM_THREADS': '1'},
    capture_output=True,
    text=True,
    timeout=600,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


def test_every_array_format_is_fuzzed():
  """Every format in the table has files to break, and a bomb."""
  from cyclegan_jax.data import arrays

  for files in (valid_files(), bombs()):
    found = {arrays.find(name).name for name in files}
    assert found == {known.name for known in arrays.ARRAY_FORMATS}


def test_the_unbroken_files_are_valid(results):
  valid = results['valid']
  assert valid['wrong'] == [] and valid['arrays'] == len(valid_files())


def test_broken_files_give_an_array_or_an_exception(results):
  mutants = results['mutants']
  assert mutants['wrong'] == mutants['slow'] == []
  # Some mutations are harmless, others are not.
  assert mutants['arrays'] > 300 and mutants['refused'] > 300
  assert mutants['megabytes'] < 2 * MEGABYTES


def test_bombs_are_refused_in_little_memory(results):
  ended = results['bombs']
  assert ended['wrong'] == ended['slow'] == []
  assert ended['arrays'] == 0
  assert ended['megabytes'] < MEGABYTES


if __name__ == '__main__':
  main()
