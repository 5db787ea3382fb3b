"""Tests that translation in tiles equals whole translation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import traverse_util
from variants import BLURS, VARIANTS

from cyclegan_jax import nets
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.inference import tiled
from cyclegan_jax.inference.tiled import layers, walk
from cyclegan_jax.nets.layers import NORMS


def make(name='resnet', *, channels=3, size=16, **options):
  """Returns a generator, and parameters that all have an effect."""
  net = tiny.generator(name, **options)()
  side = max(size, 2 ** min(net.depth, 8)) if 'unet' in name else size
  rng = np.random.default_rng(1)
  params = tiny.init(net, np.zeros((1, side, side, channels), np.float32))

  def draw(path, leaf):
    if path[-1].key == 'kernel':
      return rng.normal(0, leaf[..., 0].size ** -0.5, leaf.shape)
    return rng.uniform(0.5, 1.5, leaf.shape)

  params = jax.tree_util.tree_map_with_path(draw, params)
  return net, jax.tree.map(lambda x: x.astype(np.float32), params)


def picture(height, width, channels=3, seed=0):
  rng = np.random.default_rng(seed)
  return rng.uniform(-1, 1, (height, width, channels)).astype(np.float32)


def whole(net, params, image):
  run = jax.jit(lambda params, image: nets.apply(net, params, image[None])[0])
  return np.asarray(run(params, image))


def assert_exact(net, params, image, tolerance=1e-4, **options):
  expected = whole(net, params, image)
  made = tiled.apply(net, params, image, **{'tile': 32} | options)
  assert made.dtype == np.float32 and made.shape == expected.shape
  assert expected.std() > 0.05  # otherwise any output would pass
  np.testing.assert_allclose(made, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('name, options', VARIANTS)
def test_every_layer_in_tiles_equals_the_whole_layer(name, options, norm):
  net, params = make(name, norm=norm, **options)
  assert_exact(net, params, picture(70, 53))


@pytest.mark.parametrize('norm', ['batch', 'instance_affine'])
def test_batch_norm_averages_of_official_files_are_ignored(norm):
  net, params = make(norm=norm)
  flat = traverse_util.flatten_dict(params)
  for path, leaf in list(flat.items()):
    if path[-1] == 'scale':
      flat |= {(*path[:-1], x): 3 * leaf for x in ('mean', 'var')}
  params = traverse_util.unflatten_dict(flat)
  assert_exact(net, params, picture(40, 36))


@pytest.mark.parametrize('name', [n for n in nets.GENERATORS if '_' in n])
def test_every_generator_can_be_tiled(name):
  assert_exact(*make(name, width=2), picture(30, 41))


@pytest.mark.parametrize('options', [{}, BLURS], ids=['plain', 'blurs'])
@pytest.mark.parametrize('size', [(1, 6), (3, 33), (64, 32), (65, 95)])
def test_sizes_below_at_and_above_the_tile_size_work(size, options):
  assert_exact(*make(**options), picture(*size))


@pytest.mark.parametrize('options', [{}, BLURS], ids=['plain', 'blurs'])
@pytest.mark.parametrize('tile', [16, 48])
def test_any_tile_size_works(tile, options):
  assert_exact(*make(**options), picture(66, 70), tile=tile)


@pytest.mark.parametrize('channels, made', [(1, 2), (5, 2), (2, 5)])
@pytest.mark.parametrize('name', ['resnet', 'unet'])
def test_other_numbers_of_channels_work(name, channels, made):
  net, params = make(name, channels=channels, out_channels=made)
  assert_exact(net, params, picture(40, 36, channels=channels))


def test_bfloat16_works():
  net, params = make(dtype=jnp.bfloat16)
  assert_exact(net, params, picture(40, 36), tolerance=0.1)


@pytest.mark.parametrize('norm', ['instance', 'instance_affine', 'batch'])
def test_near_constant_images_are_exact(norm):
  """Statistics of large, nearly equal values are compared with float64."""
  net, params = make(norm=norm)
  params['first']['kernel'] = params['first']['kernel'] + 0.1
  rng = np.random.default_rng(0)
  image = (0.9 + 1e-2 * rng.normal(size=(70, 53, 3))).astype(np.float32)
  with jax.enable_x64(True):
    double = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    exact = whole(net.clone(dtype=jnp.float64), double, image.astype(float))
  np.testing.assert_allclose(
    tiled.apply(net, params, image, tile=32), exact, rtol=0, atol=5e-3
  )


def test_statistics_of_tiles_are_exact():
  one = 1000 + 0.01 * picture(256, 240, channels=2)
  other = one[:32, :16] + 1
  counted = np.arange(256) < 200, np.arange(240) < 240
  of = jax.jit(layers._moments)
  mean, variance = walk._merge(
    [of(one, layers._grid(*counted)), of(other, np.full((32, 16, 1), True))]
  )
  both = [x.reshape(-1, 2).astype(np.float64) for x in (one[:200], other)]
  both = np.concatenate(both)
  np.testing.assert_allclose(mean, both.mean(0), rtol=1e-7)
  np.testing.assert_allclose(variance, both.var(0), rtol=1e-3)


@pytest.mark.parametrize('options', [{}, BLURS], ids=['plain', 'blurs'])
def test_a_new_size_compiles_nothing(options):
  net, params = make(depth=2, **options)
  tiled.apply(net, params, picture(40, 36), tile=32)
  count = layers._convolve._cache_size(), layers._add._cache_size()
  tiled.apply(net, params, picture(97, 50), tile=32)
  assert count == (layers._convolve._cache_size(), layers._add._cache_size())


@pytest.fixture
def all_in_scratch(monkeypatch):
  """Keeps even small activations in files; returns the list of these files."""
  made = []
  true = np.memmap

  def memmap(file, *args, **options):
    made.append(file)
    return true(file, *args, **options)

  monkeypatch.setattr(walk, 'SMALL', 0)
  monkeypatch.setattr(np, 'memmap', memmap)
  return made


@pytest.mark.parametrize(
  'options, count',
  # One file per activation below full resolution. Activations of full
  # resolution are not stored: the outputs of the first layer and of the last
  # norm, and with blurs the input of the first and the output of the last blur.
  [({}, 6), (BLURS, 8)],
  ids=['plain', 'blurs'],
)
def test_scratch_files_are_used_and_deleted(
  options, count, tmp_path, all_in_scratch
):
  assert_exact(*make(**options), picture(70, 53), scratch=tmp_path)
  assert len(all_in_scratch) == count
  assert not list(tmp_path.iterdir())


def test_scratch_files_are_deleted_after_an_exception(tmp_path, all_in_scratch):
  def stop(fraction):
    assert fraction < 0.5, 'stopped'

  with pytest.raises(AssertionError, match='stopped'):
    tiled.apply(
      *make(), picture(70, 53), tile=32, scratch=tmp_path, progress=stop
    )
  assert all_in_scratch
  assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line(tmp_path, all_in_scratch, monkeypatch):
  def full(*args):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(walk.os, 'posix_fallocate', full, raising=False)
  with pytest.raises(UserError, match='No space left') as e:
    tiled.apply(*make(), picture(20, 20), scratch=tmp_path)
  assert str(tmp_path) in str(e.value)


@pytest.mark.parametrize('name, options', VARIANTS)
def test_progress_goes_up_to_one(name, options):
  seen, made = [], make(name, **options)
  tiled.apply(*made, picture(70, 53), tile=32, progress=seen.append)
  assert seen == sorted(seen) and seen[0] > 0 and seen[-1] == 1
  assert len(seen) > 20


# (options of a ResNet, {side of a picture: peak GiB of a separate process}), as
# in performance.md.
MEASURED = [
  ({}, {1024: 1.45, 2048: 5.42, 1448: 2.21}),
  ({'upsampling': 'blur'}, {1024: 1.32, 1448: 2.13}),
  (BLURS, {1024: 1.64, 1448: 2.68}),
  ({'downsampling': 'blur'}, {1024: 2.14, 1448: 3.73}),
  (BLURS | {'upsampling': 'resize'}, {1024: 1.72, 1448: 2.75}),
]


@pytest.mark.parametrize('options, measured', MEASURED)
def test_memory_of_whole_images_is_estimated(options, measured):
  net = nets.GENERATORS['resnet_9blocks'](**options)
  for side, gib in measured.items():
    estimate = tiled.whole_bytes(net, side, side) / 2**30
    assert gib <= estimate < 1.5 * gib


def test_the_memory_estimate_uses_padded_size_and_dtype():
  net = nets.GENERATORS['resnet_9blocks']()
  assert tiled.whole_bytes(net, 61, 62) == tiled.whole_bytes(net, 64, 64)
  half = net.clone(dtype=jnp.bfloat16)
  assert tiled.whole_bytes(half, 64, 64) * 2 == tiled.whole_bytes(net, 64, 64)


def test_user_errors_are_named(tmp_path):
  net, params = make()
  image = picture(20, 20)
  with pytest.raises(UserError, match='PatchGAN'):
    tiled.apply(tiny.discriminator()(), params, image)
  with pytest.raises(UserError, match='tile=40'):
    tiled.apply(net, params, image, tile=40)
  with pytest.raises(UserError, match='tile=0'):
    tiled.apply(net, params, image, tile=0)
  with pytest.raises(UserError, match='nowhere'):
    tiled.apply(net, params, image, scratch=tmp_path / 'nowhere')
  with pytest.raises(UserError, match='1 channels'):
    tiled.apply(net, params, image[..., :1])
