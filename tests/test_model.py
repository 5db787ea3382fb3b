"""Tests of loading models and translating arrays."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from test_checkpoint import flip_bit

import cyclegan_jax
from cyclegan_jax import main, nets, pth
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.inference import saved
from cyclegan_jax.training import checkpoint


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tiny.save_model(tmp_path_factory.mktemp('model'))


@pytest.fixture(scope='module')
def workdir(tmp_path_factory, pictures):
  """Run folder of four steps with a moving average; checkpoints at 2 and 4."""
  path = tmp_path_factory.mktemp('run')
  argv = tiny.command(
    'folder', path, pictures, train__ema_decay=0.5, log__checkpoint_every=2
  )
  assert program.run(main.main, argv) == 0
  return path


@pytest.fixture
def image(rng):
  return rng.uniform(-1, 1, (19, 22, 3)).astype(np.float32)


def test_a_saved_model_is_loaded(folder, image):
  loaded = cyclegan_jax.load_model(folder)
  assert loaded.directions == ('a2b', 'b2a')
  params = jax.tree.map(np.asarray, loaded.params)
  expected = loaded.method.translate(params, image[None], 'a2b')[0]
  fake = loaded.translate(image, 'a2b')
  assert fake.dtype == np.float32 and fake.shape == image.shape
  np.testing.assert_allclose(fake, expected, atol=1e-5)
  assert np.abs(fake - image).max() > 0.1


def test_uint8_images_give_uint8_images(folder, image):
  loaded = saved.load(folder)
  pixels = np.round((image + 1) * 127.5).astype(np.uint8)
  fake = loaded.translate(pixels, 'b2a')
  exact = loaded.translate(pixels / np.float32(127.5) - 1, 'b2a')
  assert fake.dtype == np.uint8
  np.testing.assert_array_equal(fake, np.round((exact + 1) * 127.5))


@pytest.mark.parametrize('norm', ['instance', 'batch'])
def test_images_of_a_batch_are_translated_independently(norm, image, tmp_path):
  loaded = saved.load(tiny.save_model(tmp_path, generator__norm=norm))
  batch = np.stack([image, image[::-1], 0.5 * image])
  fakes = loaded.translate(batch, 'a2b')
  for one, fake in zip(batch, fakes):
    np.testing.assert_allclose(loaded.translate(one, 'a2b'), fake, atol=1e-5)


def test_translation_in_tiles_equals_whole_translation(folder, image):
  loaded = saved.load(folder)
  seen = []
  by_tiles = loaded.translate(image, 'a2b', tile=True, progress=seen.append)
  np.testing.assert_allclose(
    by_tiles, loaded.translate(image, 'a2b'), atol=1e-4
  )
  assert seen[-1] == 1


@pytest.mark.parametrize(
  ('images', 'words'),
  [
    (np.zeros((16, 16)), 'shape'),
    (np.zeros((16, 16, 1)), r'\[height, width, 3\]'),
    (np.zeros((2, 3, 16, 16, 3)), 'shape'),
    (np.zeros((0, 16, 3)), 'is empty'),
    (np.zeros((16, 16, 3), int), 'int64'),
    (np.zeros((16, 16, 3), np.uint16), 'uint16'),
    (np.full((16, 16, 3), 255.0), r'from 255 to 255: .* \[-1, 1\]'),
    (np.full((2, 16, 16, 3), 128, np.float16), r'127.5'),
    (np.full((16, 16, 3), -2.0), 'from -2 to -2'),
    (np.full((16, 16, 3), np.nan), 'NaN'),
    (np.full((16, 16, 3), -np.inf, np.float32), 'infinity'),
    (np.full((16, 16, 3), 200, jnp.bfloat16), 'from 200'),
    (np.zeros((16, 16, 3), complex), 'complex128'),
  ],
)
def test_invalid_arrays_are_refused(folder, images, words):
  with pytest.raises(UserError, match=words):
    saved.load(folder).translate(images, 'a2b')


NO_IDENTITY = {'loss__identity_a': 0.0, 'loss__identity_b': 0.0}


def test_images_of_any_channels_are_translated(rng, tmp_path):
  folder = tiny.save_model(
    tmp_path, data__channels_a=5, data__channels_b=2, **NO_IDENTITY
  )
  loaded = cyclegan_jax.load_model(folder)
  image = rng.uniform(-1, 1, (19, 22, 5)).astype(np.float32)
  fake = loaded.translate(image, 'a2b')
  assert fake.shape == (19, 22, 2)
  assert loaded.translate(fake[None], 'b2a').shape == (1, 19, 22, 5)
  tiled = loaded.translate(image, 'a2b', tile=True)
  np.testing.assert_allclose(tiled, fake, atol=1e-3)
  pixels = loaded.translate(np.zeros((19, 22, 5), np.uint8), 'a2b')
  assert pixels.dtype == np.uint8 and pixels.shape == (19, 22, 2)
  with pytest.raises(UserError, match=r'\[height, width, 5\]'):
    loaded.translate(image[..., :3], 'a2b')


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
  """Model from five bands of a sensor to a temperature and a plain band."""
  return saved.load(
    tiny.save_model(
      tmp_path_factory.mktemp('measured'),
      data__channels_a=5,
      data__channels_b=2,
      data__range_a='percentile:1,99=uint16:0,4000',
      data__range_b='250,350;-1,1',
      **NO_IDENTITY,
    )
  )


def test_translate_values_maps_between_value_ranges(measured, rng):
  image = rng.uniform(-1, 1, (2, 16, 12, 5)).astype(np.float32)
  values = np.round((image + 1) * 2000)
  exact = measured.translate((values / 2000 - 1).astype(np.float32), 'a2b')
  made = measured.translate_values(values.astype(np.uint16), 'a2b')
  assert made.dtype == np.float32 and made.shape == (2, 16, 12, 2)
  np.testing.assert_allclose(made[..., 0], 300 + 50 * exact[..., 0], atol=0.01)
  np.testing.assert_allclose(made[..., 1], exact[..., 1], atol=2e-4)
  back = measured.translate_values(made[0], 'b2a')
  assert back.dtype == np.uint16 and back.shape == (16, 12, 5)
  again = measured.translate(exact[0], 'b2a')
  np.testing.assert_allclose(back, (again + 1) * 2000, atol=2)


def test_values_outside_of_the_range_are_clipped(measured):
  values = np.full((8, 8, 5), 4000.0)
  expected = measured.translate_values(values, 'a2b')
  for outside in (values + 1000, values + np.inf):
    made = measured.translate_values(outside, 'a2b')
    np.testing.assert_array_equal(made, expected)
  lowest = measured.translate_values(0 * values, 'a2b')
  assert not np.array_equal(lowest, expected)
  unknown = measured.translate_values(values * np.nan, 'a2b')
  np.testing.assert_array_equal(unknown, lowest)


def test_values_without_a_range_use_the_range_of_their_type(folder, image):
  loaded = saved.load(folder)
  for dtype in (np.uint8, np.uint16):
    top = np.iinfo(dtype).max
    values = np.round((image + 1) * (top / 2)).astype(dtype)
    made = loaded.translate_values(values, 'a2b')
    exact = loaded.translate(values / np.float32(top / 2) - 1, 'a2b')
    assert made.dtype == dtype
    np.testing.assert_allclose(
      made, (exact + 1) * (top / 2), atol=top / 1e4 + 1
    )
  with pytest.raises(UserError, match='float32 need a range: .*data.range_a'):
    loaded.translate_values(image, 'a2b')


@pytest.mark.parametrize(
  ('array', 'words'),
  [
    (np.zeros((8, 8, 3)), r'\[height, width, 5\]'),
    (np.zeros((8, 5)), 'shape'),
    (np.zeros((8, 0, 5)), 'is empty'),
    (np.zeros((8, 8, 5), complex), 'complex128: .* real numbers'),
    (np.zeros((8, 8, 5), 'U1'), 'real numbers'),
  ],
)
def test_invalid_arrays_of_values_are_refused(measured, array, words):
  with pytest.raises(UserError, match=words):
    measured.translate_values(array, 'a2b')


def test_uint8_images_are_refused_for_other_value_ranges(measured):
  with pytest.raises(UserError, match=r'translate_values.*range_a .*4000'):
    measured.translate(np.zeros((8, 8, 5), np.uint8), 'a2b')


def test_a_model_keeps_its_shown_channels(tmp_path):
  folder = tiny.save_model(tmp_path, data__show_b='3,2,1')
  assert saved.load(folder).show == {'a': None, 'b': (3, 2, 1)}


@pytest.mark.parametrize('tile', [False, True])
def test_floats_of_every_precision_are_translated(folder, image, tile):
  loaded = saved.load(folder)
  for dtype in (np.float16, np.float64, jnp.bfloat16):
    given = image.astype(dtype)
    fake = loaded.translate(given, 'a2b', tile=tile)
    assert fake.dtype == np.float32
    exact = loaded.translate(given.astype(np.float32), 'a2b', tile=tile)
    np.testing.assert_array_equal(fake, exact)
  fake = loaded.translate(jnp.asarray(image, jnp.bfloat16), 'a2b', tile=tile)
  assert fake.dtype == np.float32 and isinstance(fake, np.ndarray)


def test_images_may_exceed_the_value_range(folder, image):
  assert np.isfinite(saved.load(folder).translate(1.2 * image, 'a2b')).all()


def write_epochs(folder, *names):
  """Writes official files, a model per epoch; returns {epoch: model}."""
  models = {}
  for seed, epoch in enumerate(names):
    model = saved.load(tiny.save_model(folder / 'made' / epoch, seed=seed))
    states = pth.states(model.config.to_dict(), model.params)
    for name, state in states.items():
      pth.write(folder / f'{epoch}_net_{name}.pth', state)
    models[epoch] = model
  shutil.rmtree(folder / 'made')
  return models


def test_an_epoch_of_official_files_can_be_chosen(tmp_path, capsys):
  models = write_epochs(tmp_path, '5', '10', 'iter_700', 'latest')
  for step, epoch in ((5, '5'), (10, '10'), (700, 'iter_700')):
    loaded = saved.load(tmp_path, step=step)
    assert loaded.step == step and capsys.readouterr().err == ''
    assert loaded.checksum() == models[epoch].checksum()
  newest = saved.load(tmp_path)
  assert newest.step is None
  assert newest.checksum() == models['latest'].checksum()
  line = f'{tmp_path}: uses latest_net_*.pth of the epochs iter_700, 5, 10'
  assert capsys.readouterr().err == f'{line}, latest\n'
  with pytest.raises(UserError, match='no 7_net_.* epochs iter_700, 5, 10, la'):
    saved.load(tmp_path, step=7)
  one = tmp_path / '10_net_G_B.pth'
  assert saved.load(one, step=10).directions == saved.load(one).directions
  with pytest.raises(UserError, match=r'is not of epoch 5: leave out the step'):
    saved.load(one, step=5)
  for path in tmp_path.glob('latest*'):
    path.unlink()
  assert saved.load(tmp_path).step == 10
  assert 'uses 10_net_*.pth' in capsys.readouterr().err


def test_the_folder_above_official_files_is_refused_with_advice(tmp_path):
  (tmp_path / 'maps').mkdir()
  (tmp_path / 'maps' / 'latest_net_G_A.pth').touch()
  with pytest.raises(UserError, match='give a folder below it, such as .*maps'):
    saved.load(tmp_path)


def test_a_missing_direction_is_refused(tmp_path, image):
  loaded = saved.load(tiny.save_model(tmp_path, names=('b2a',)))
  assert loaded.directions == ('b2a',)
  assert loaded.translate(image, 'b2a').shape == image.shape
  with pytest.raises(UserError, match="'a2b': it translates b2a"):
    loaded.translate(image, 'a2b')


def test_official_files_support_both_modes_of_batch_norm(tmp_path, image):
  ours = saved.load(tiny.save_model(tmp_path / 'm', generator__norm='batch'))
  for name, state in pth.states(ours.config.to_dict(), ours.params).items():
    pth.write(tmp_path / f'latest_net_{name}.pth', state)
  official = saved.load(tmp_path)
  assert official.directions == ('a2b', 'b2a')
  expected = ours.translate(image, 'b2a')
  np.testing.assert_array_equal(official.translate(image, 'b2a'), expected)
  average = saved.load(tmp_path, batch_norm='average')
  net, params = average.network('b2a')
  assert net.norm == 'batch_frozen'
  frozen = average.translate(image, 'b2a')
  padded = np.pad(image, ((0, 1), (1, 1), (0, 0)), 'reflect')
  by_hand = nets.apply(net, params, padded[None])[0, :-1, 1:-1]
  np.testing.assert_allclose(frozen, by_hand, atol=1e-5)
  assert np.abs(frozen - expected).max() > 0.1


def test_a_run_translates_with_its_moving_average(workdir, image):
  loaded = saved.load(workdir)
  steps = [checkpoint.read_params(workdir / 'checkpoints', s) for s in (2, 4)]
  assert loaded.step == 4 and saved.load(workdir, step=2).step == 2
  tiny.assert_same(loaded.params, steps[1][1])
  raw = checkpoint._read_raw(workdir / 'checkpoints' / '4')
  tiny.assert_same(loaded.params['gen'], raw['ema'])
  with pytest.raises(AssertionError):
    tiny.assert_same(raw['ema'], raw['params']['gen'])


@pytest.mark.parametrize('method', tiny.EVERY_METHOD)
def test_a_run_of_every_method_translates_and_reports(
  method, pairs, tmp_path, monkeypatch
):
  tiny.stand_in(monkeypatch, method)
  argv = tiny.command(
    'folder',
    tmp_path,
    pairs,
    method=method,
    schedule__constant=1,
    schedule__decay=0,
    data__load_size=tiny.SIZE,
    log__report=True,
    log__sample_every=1,
  )
  assert program.run(main.main, argv) == 0
  page = (tmp_path / 'report' / 'index.html').read_text()
  assert 'adv_a2b' in page or 'adv_a' in page
  loaded = saved.load(tmp_path)
  assert loaded.directions == ('a2b', 'b2a')
  images = np.zeros((2, tiny.SIZE, tiny.SIZE, 3), np.uint8)
  for direction in loaded.directions:
    fakes = loaded.translate(images, direction)
    assert fakes.shape == images.shape and fakes.dtype == np.uint8


def test_loading_does_not_change_a_run_folder(workdir):
  unfinished = workdir / 'checkpoints' / '6.orbax-checkpoint-tmp'
  unfinished.mkdir()
  before = sorted(workdir.rglob('*'))
  saved.load(workdir)
  assert sorted(workdir.rglob('*')) == before
  unfinished.rmdir()


def test_a_damaged_checkpoint_is_skipped(workdir, tmp_path):
  copy = tmp_path / 'run'
  shutil.copytree(workdir, copy)
  flip_bit(copy / 'checkpoints' / '4')
  assert saved.load(copy).step == 2
  with pytest.raises(UserError, match='no checkpoint in .* can be read'):
    saved.load(copy, step=4)


def test_an_older_config_gets_the_defaults(folder, tmp_path):
  config = json.loads((folder / 'config.json').read_text())
  del config['generator']['upsampling'], config['optim']
  (tmp_path / 'config.json').write_text(json.dumps(config))
  (tmp_path / saved.WEIGHTS).write_bytes((folder / saved.WEIGHTS).read_bytes())
  assert saved.load(tmp_path).config.generator.upsampling == 'transpose'


def old_weights(content):
  """Returns a function that replaces the weights by a file of version 0.1.0."""

  def spoil(folder):
    (folder / saved.WEIGHTS).unlink()
    (folder / 'weights.msgpack').write_bytes(content)

  return spoil


@pytest.mark.parametrize(
  ('spoil', 'words'),
  [
    (lambda p: (p / 'config.json').unlink(), 'config.json cannot be read'),
    (lambda p: (p / 'config.json').write_text('{'), 'is not the config'),
    (lambda p: (p / 'config.json').write_text('[]'), 'is not the config'),
    (lambda p: (p / saved.WEIGHTS).write_text('x'), 'as weights'),
    (lambda p: (p / saved.WEIGHTS).write_bytes(b''), 'as weights'),
    (lambda p: (p / saved.WEIGHTS).unlink(), 'holds no model'),
    (old_weights(b'x'), 'weights.msgpack cannot be read as weights'),
    (old_weights(b'\x90'), 'weights.msgpack cannot be read as weights'),
  ],
)
def test_a_broken_model_folder_is_refused(spoil, words, folder, tmp_path):
  for name in (saved.CONFIG, saved.WEIGHTS):
    (tmp_path / name).write_bytes((folder / name).read_bytes())
  spoil(tmp_path)
  with pytest.raises(UserError, match=words):
    saved.load(tmp_path)


def test_paths_without_a_model_are_refused(folder, tmp_path):
  (tmp_path / 'text.txt').write_text('hello')
  for path, words in (
    (tmp_path / 'nowhere', 'no file or folder'),
    (tmp_path, 'holds no model'),
    (tmp_path / 'text.txt', 'is not a model'),
  ):
    with pytest.raises(UserError, match=words):
      saved.load(path)
  with pytest.raises(UserError, match='leave out the step'):
    saved.load(folder, step=3)
  with pytest.raises(UserError, match='no running averages'):
    saved.load(folder, batch_norm='average')
  with pytest.raises(UserError, match='batch_norm'):
    saved.load(folder, batch_norm='best')


def test_training_starts_from_a_model(folder, pictures, tmp_path):
  argv = tiny.command(
    'folder',
    tmp_path / 'run',
    pictures,
    init_from=folder,
    optim__lr=0.0,
    optim__lr_discriminator=0.0,
    train__ema_decay=0.5,
  )
  assert program.run(main.main, argv) == 0
  _, params = checkpoint.read_params(tmp_path / 'run' / 'checkpoints')
  tiny.assert_same(params, saved.load(folder).params)


def test_training_initialises_networks_that_a_model_lacks(
  pictures, tmp_path, capsys
):
  one = tiny.save_model(tmp_path / 'model', names=('b2a',))
  argv = tiny.command(
    'folder', tmp_path / 'run', pictures, init_from=one, optim__lr=0.0
  )
  assert program.run(main.main, argv) == 0
  assert (
    'init_from: took disc/a, disc/b, gen/b2a; random weights: gen/a2b\n'
  ) in capsys.readouterr().out
  _, params = checkpoint.read_params(tmp_path / 'run' / 'checkpoints')
  tiny.assert_same(params['gen']['b2a'], saved.load(one).params['gen']['b2a'])
  assert set(params['gen']) == {'a2b', 'b2a'}


@pytest.mark.parametrize(
  ('overrides', 'words'),
  [
    ({'init_from': 'nowhere'}, 'no file or folder nowhere'),
    ({'generator__width': 5}, 'gen/a2b/'),
  ],
)
def test_incompatible_initial_weights_are_refused(
  overrides, words, folder, pictures, tmp_path, capsys
):
  options = {'init_from': folder} | overrides
  argv = tiny.command('folder', tmp_path / 'run', pictures, **options)
  assert program.run(main.main, argv) == program.USER_ERROR
  assert words in capsys.readouterr().err
