"""Tests of every array format in all programs, from folder to volume."""

import numpy as np
import pytest
import tiny

from cyclegan_jax import check_data, evaluate, translate
from cyclegan_jax.config import program
from cyclegan_jax.config.run import build_run
from cyclegan_jax.data import arrays
from cyclegan_jax.defaults import get_config

SIDE = tiny.SIZE
ENDINGS = [x for form in arrays.ARRAY_FORMATS for x in form.endings]


def write(path, array, number):
  """Writes a uint16 array [height, width, channels]; volumes get two slices."""
  ending = '.nii' if '.nii' in path.name else path.suffix
  if ending in ('.tif', '.tiff'):
    import tifffile

    tifffile.imwrite(path, array)
  elif ending == '.png':
    import imagecodecs

    path.write_bytes(imagecodecs.png_encode(array))
  elif ending == '.npy':
    np.save(path, array)
  elif ending == '.npz':
    np.savez(path, array)
  elif ending == '.nii':
    import nibabel

    volume = np.concatenate([array, array[::-1]], axis=-1)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1, 1, 2, 1])), path)
  elif ending in ('.dcm', '.dicom', '.ima'):
    path.write_bytes(dicom(array[..., 0], number))
  else:
    pytest.fail(f'no {ending} files are tried: add a writer')


def dicom(array, number):
  """DICOM file of a slice of a CT series."""
  import io

  import pydicom
  from pydicom import dataset, uid

  made = dataset.Dataset()
  made.file_meta = dataset.FileMetaDataset()
  made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
  made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = uid.CTImageStorage
  instance = f'1.2.3.{number + 1}'
  made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = instance
  made.SeriesInstanceUID = '1.2.4'
  made.Rows, made.Columns = array.shape
  made.SamplesPerPixel, made.PhotometricInterpretation = 1, 'MONOCHROME2'
  made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
  made.PixelRepresentation = 0
  made.PixelData = array.tobytes()
  made['PixelData'].VR = 'OW'
  made.ImagePositionPatient = [0, 0, -3.0 * number]  # the last slice is lowest
  made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
  made.PixelSpacing, made.SliceThickness = [2, 1], 3
  file = io.BytesIO()
  pydicom.dcmwrite(file, made, enforce_file_format=True)
  return file.getvalue()


@pytest.fixture(scope='module')
def models(tmp_path_factory):
  """Returns {channels: model folder}."""
  return {
    channels: tiny.save_model(
      tmp_path_factory.mktemp(f'model{channels}'),
      data__channels_a=channels,
      data__channels_b=channels,
      data__range_a='0,4095',
      data__range_b='0,2000=int16:0,2000',
      data__preprocess='crop',
      data__crop_size=SIDE,
    )
    for channels in (1, 3)
  }


def run(main, *argv):
  return program.run(main, ['program', *argv])


@pytest.mark.parametrize('ending', ENDINGS)
def test_every_array_format_works_in_all_programs(
  ending, models, tmp_path, capsys
):
  channels = 3 if ending == '.png' else 1
  random = np.random.default_rng(0)
  for part in ('trainA', 'trainB', 'testA', 'testB'):
    (tmp_path / 'data' / part).mkdir(parents=True)
    for i in range(3):
      array = random.integers(0, 4096, (SIDE, SIDE + 4, channels))
      path = tmp_path / 'data' / part / f'{i}{ending}'
      write(path, array.astype(np.uint16), i)
  model = models[channels]
  config = get_config()
  config.data.update(
    source='folder',
    root=str(tmp_path / 'data'),
    preprocess='crop',
    crop_size=SIDE,
    channels_a=channels,
    channels_b=channels,
    range_a='0,4095',
    range_b='percentile:0,100',
  )
  config.loss.identity_a = config.loss.identity_b = 0.0
  data = build_run(config).data
  batch = data.example_batch()
  assert batch['b'].shape == (1, SIDE, SIDE, channels)
  assert -1 <= batch['b'].min() < -0.9 and 0.9 < batch['b'].max() <= 1
  assert config.data.range_b.startswith('percentile:0,100=')

  options = [
    f'--config.data.{key}={config.data[key]}'
    for key in ('root', 'preprocess', 'crop_size', 'channels_a', 'channels_b')
  ]
  options += ['--config.data.range_a=0,4095', '--config.data.range_b=0,4095']
  card = f'--config={tiny.CONFIGS / "folder.py"}'
  output = f'--output={tmp_path / "check"}'
  assert run(check_data.main, card, *options, output) == 0
  assert f'{channels} channel' in capsys.readouterr().out

  code = run(
    evaluate.main,
    f'--model={model}',
    card,
    f'--config.data.root={tmp_path / "data"}',
    '--config.data.preprocess=crop',
    f'--config.data.crop_size={SIDE}',
    '--metrics=l1',
  )
  assert code == 0
  assert 'translated' in capsys.readouterr().out

  code = run(
    translate.main,
    f'--model={model}',
    '--direction=a2b',
    f'--input={tmp_path / "data" / "testA"}',
    f'--output={tmp_path / "out"}',
  )
  assert code == 0
  made = [x for x in (tmp_path / 'out').iterdir() if x.suffix != '.json']
  is_series = ending in ('.dcm', '.dicom', '.ima')
  assert len(made) == (1 if is_series else 3)
  if is_series:
    import nibabel

    volume = nibabel.load(made[0])
    assert volume.shape == (SIDE + 4, SIDE, 3)
    assert volume.get_data_dtype() == np.int16
    # Sorted by position, from -6 mm up; RAS axes invert x and y.
    assert volume.affine[:, 2].tolist() == [0, 0, 3, 0]
    assert volume.affine[2, 3] == -6
    np.testing.assert_allclose(np.abs(volume.header.get_zooms()), [1, 2, 3])
