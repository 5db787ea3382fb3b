"""Tests of the pretrained networks against twins of them in PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cyclegan_jax import pth
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.pretrained import networks, weights

TRUNKS = {'vgg16': networks.VGG16, 'alexnet': networks.ALEXNET}
NETWORKS = {'vgg16': networks.vgg16, 'alexnet': networks.alexnet}
EMBEDDINGS = {
  'vgg16': (networks.embed_vgg16, 512),
  'alexnet': (networks.embed_alexnet, 256),
}
# (outputs, kernel) of each convolution.
SIZES = {
  'vgg16': [
    *((64, 3), (64, 3), (128, 3), (128, 3), (256, 3), (256, 3), (256, 3)),
    *((512, 3), (512, 3), (512, 3), (512, 3), (512, 3), (512, 3)),
  ],
  'alexnet': [(64, 11), (192, 5), (384, 3), (256, 3), (256, 3)],
}


def draw_images(height, width, channels=3, batch=2):
  rng = np.random.default_rng(2)
  size = batch, height, width, channels
  return rng.uniform(-1, 1, size).astype(np.float32)


@functools.lru_cache
def draw_params(name):
  """Draws random weights that keep the scale of activations."""
  rng, inputs, params = np.random.default_rng(1), 3, {}
  for layer, (outputs, kernel) in zip(TRUNKS[name].convs, SIZES[name]):
    shape = kernel, kernel, inputs, outputs
    gain = np.sqrt(2 / np.prod(shape[:-1]))
    params[layer] = {
      'kernel': (rng.normal(size=shape) * gain).astype(np.float32),
      'bias': (rng.normal(size=outputs) * 0.1).astype(np.float32),
    }
    inputs = outputs
  return params


def torch_trunk(name, params):
  """Returns torchvision's `features`, and {name: index} of the ReLUs."""
  nn = pytest.importorskip('torch').nn
  vgg, pooled = name == 'vgg16', ('conv2', 'conv3')
  steps, places = [], {}
  for layer, values in params.items():
    outputs, inputs, kernel = (values['kernel'].shape[i] for i in (3, 2, 0))
    if layer in pooled or layer.endswith('_1') and layer != 'conv1_1':
      steps.append(nn.MaxPool2d(2, 2) if vgg else nn.MaxPool2d(3, 2))
    stride = 4 if kernel == 11 else 1
    padding = {11: 2, 5: 2, 3: 1}[kernel]
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding)
    set_conv(conv, values)
    steps += [conv, nn.ReLU()]
    places[layer.replace('conv', 'relu')] = len(steps) - 1
  return nn.Sequential(*steps), places


def set_conv(conv, values):
  import torch

  kernel = np.array(values['kernel'].transpose(3, 2, 0, 1), order='C')
  conv.weight.data = torch.from_numpy(kernel)
  conv.bias.data = torch.from_numpy(np.array(values['bias']))


def torch_outputs(name, params, images):
  """Returns {output: [b, h, w, channels]} of images in [-1, 1]."""
  import torch

  layers, places = torch_trunk(name, params)
  x = (to_torch(images) + 1) / 2
  mean = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
  deviation = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
  x, outputs = (x - mean) / deviation, {}
  names = {place: output for output, place in places.items()}
  with torch.no_grad():
    for i, layer in enumerate(layers):
      x = layer(x)
      if i in names:
        outputs[names[i]] = x.numpy().transpose(0, 2, 3, 1)
  return outputs


def to_torch(images):
  import torch

  return torch.from_numpy(np.array(images.transpose(0, 3, 1, 2), order='C'))


@pytest.mark.parametrize(
  'name,size', [('vgg16', (33, 50)), ('alexnet', (64, 83))]
)
def test_trunks_equal_torch(name, size):
  pytest.importorskip('torch')
  params, images = draw_params(name), draw_images(*size)
  expected = torch_outputs(name, params, images)
  actual = jax.jit(NETWORKS[name])(params, images)
  assert set(actual) == set(TRUNKS[name].outputs)
  for output, x in actual.items():
    scale = np.abs(expected[output]).max()
    assert 0.1 < scale < 100
    np.testing.assert_allclose(x, expected[output], rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize('name', EMBEDDINGS)
def test_embeddings_are_means_of_the_last_output(name):
  embed, size = EMBEDDINGS[name]
  params, images = draw_params(name), draw_images(48, 40)

  @jax.jit
  def both(params, images):
    return embed(params, images), NETWORKS[name](params, images)

  embedded, outputs = both(params, images)
  last = outputs[TRUNKS[name].outputs[-1]]
  assert embedded.shape == (2, size)
  expected = np.asarray(last, np.float64).mean((1, 2))
  np.testing.assert_allclose(embedded, expected, rtol=1e-4, atol=1e-6)


def test_no_layer_after_the_last_output_runs():
  whole, images = draw_params('vgg16'), draw_images(16, 16)
  cut = networks.until(whole, 'relu4_2')
  assert list(cut) == list(whole)[:9]

  def loss(x):
    outputs = networks.vgg16(cut, x, until='relu4_2')
    return outputs['relu4_2'].mean(), outputs

  slope = jax.jit(jax.value_and_grad(loss, has_aux=True))
  (_, outputs), gradient = slope(images)
  assert set(outputs) == {'relu1_2', 'relu2_2', 'relu3_3', 'relu4_2'}
  expected = jax.jit(networks.vgg16)(whole, images)['relu4_2']
  np.testing.assert_allclose(outputs['relu4_2'], expected, rtol=0, atol=1e-5)
  length = float(jnp.linalg.norm(gradient))
  step = 1e-2 * gradient / length
  (above, _), _ = slope(images + step)
  (below, _), _ = slope(images - step)
  assert float(above - below) / 2 == pytest.approx(1e-2 * length, rel=0.05)


def test_gray_images_are_repeated_to_three_channels():
  params, gray = draw_params('alexnet'), draw_images(40, 40, channels=1)
  expected = networks.alexnet(params, gray.repeat(3, axis=-1))['relu5']
  actual = networks.alexnet(params, gray)['relu5']
  np.testing.assert_array_equal(actual, expected)


def test_bfloat16_images_give_bfloat16_features():
  params, images = draw_params('alexnet'), draw_images(40, 40)
  half = networks.alexnet(params, jnp.asarray(images, jnp.bfloat16), 'relu2')
  full = networks.alexnet(params, images, 'relu2')['relu2']
  assert half['relu2'].dtype == jnp.bfloat16
  assert float(jnp.abs(half['relu2'] - full).max()) < 0.05 * float(full.max())


@pytest.mark.parametrize('name,least', [('vgg16', 16), ('alexnet', 31)])
def test_unsuitable_images_are_refused(name, least):
  network, params = NETWORKS[name], draw_params(name)
  jax.eval_shape(network, params, draw_images(least, least))
  for size in ((least - 1, 64), (64, least - 1)):
    with pytest.raises(UserError, match=f'{size[0]}x{size[1]} pixels are too'):
      jax.eval_shape(network, params, draw_images(*size))
  with pytest.raises(UserError, match='4 channels'):
    network(params, draw_images(64, 64, channels=4))
  with pytest.raises(UserError, match='until=.*did you mean'):
    network(params, draw_images(64, 64), until='relu9')


@pytest.mark.parametrize('size', [(64, 48), (301, 299), (640, 700)])
def test_clean_resizing_equals_pillow(size):
  images = draw_images(*size, batch=1)
  images[:, : size[0] // 2] = np.sign(
    images[:, : size[0] // 2]
  )  # makes bicubic resizing overshoot

  def channel(x):
    picture = Image.fromarray((x + 1) * 127.5)
    assert picture.mode == 'F'
    resized = picture.resize((299, 299), Image.Resampling.BICUBIC)
    return np.asarray(resized).clip(0, 255) / 127.5 - 1

  expected = np.stack([channel(images[0, ..., i]) for i in range(3)], -1)
  actual = networks.resize_clean(images)[0]
  # float32 weights change results by a hundredth of an 8-bit level.
  np.testing.assert_allclose(actual, expected, rtol=0, atol=8e-5)


@pytest.mark.parametrize('size', [(64, 48), (640, 700)])
def test_resizing_of_pytorch_fid_equals_pytorch(size):
  functional = pytest.importorskip('torch').nn.functional
  images = draw_images(*size, batch=1)
  expected = functional.interpolate(
    to_torch(images), (299, 299), mode='bilinear', align_corners=False
  )
  actual = np.asarray(networks.resize_pytorch_fid(images))
  expected = expected.numpy().transpose(0, 2, 3, 1)
  np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


# FID's Inception in PyTorch, with the names of PyTorch-FID's file. A branch is
# a list of layers (name, outputs, kernel, stride), padded unless strided.


def mixed_a(pooled):
  return [
    [('branch1x1', 64, 1, 1)],
    [('branch5x5_1', 48, 1, 1), ('branch5x5_2', 64, 5, 1)],
    [
      ('branch3x3dbl_1', 64, 1, 1),
      ('branch3x3dbl_2', 96, 3, 1),
      ('branch3x3dbl_3', 96, 3, 1),
    ],
    ['average', ('branch_pool', pooled, 1, 1)],
  ]


def mixed_b():
  return [
    [('branch3x3', 384, 3, 2)],
    [
      ('branch3x3dbl_1', 64, 1, 1),
      ('branch3x3dbl_2', 96, 3, 1),
      ('branch3x3dbl_3', 96, 3, 2),
    ],
    ['halve'],
  ]


def mixed_c(width):
  return [
    [('branch1x1', 192, 1, 1)],
    [
      ('branch7x7_1', width, 1, 1),
      ('branch7x7_2', width, (1, 7), 1),
      ('branch7x7_3', 192, (7, 1), 1),
    ],
    [
      ('branch7x7dbl_1', width, 1, 1),
      ('branch7x7dbl_2', width, (7, 1), 1),
      ('branch7x7dbl_3', width, (1, 7), 1),
      ('branch7x7dbl_4', width, (7, 1), 1),
      ('branch7x7dbl_5', 192, (1, 7), 1),
    ],
    ['average', ('branch_pool', 192, 1, 1)],
  ]


def mixed_d():
  return [
    [('branch3x3_1', 192, 1, 1), ('branch3x3_2', 320, 3, 2)],
    [
      ('branch7x7x3_1', 192, 1, 1),
      ('branch7x7x3_2', 192, (1, 7), 1),
      ('branch7x7x3_3', 192, (7, 1), 1),
      ('branch7x7x3_4', 192, 3, 2),
    ],
    ['halve'],
  ]


def mixed_e(pool):
  doubled = [('branch3x3dbl_1', 448, 1, 1), ('branch3x3dbl_2', 384, 3, 1)]
  return [
    [('branch1x1', 320, 1, 1)],
    [('branch3x3_1', 384, 1, 1), ('branch3x3_2a', 384, (1, 3), 1)],
    [('branch3x3_1', 384, 1, 1), ('branch3x3_2b', 384, (3, 1), 1)],
    [*doubled, ('branch3x3dbl_3a', 384, (1, 3), 1)],
    [*doubled, ('branch3x3dbl_3b', 384, (3, 1), 1)],
    [pool, ('branch_pool', 192, 1, 1)],
  ]


MIXED = {
  'Mixed_5b': mixed_a(32),
  'Mixed_5c': mixed_a(64),
  'Mixed_5d': mixed_a(64),
  'Mixed_6a': mixed_b(),
  'Mixed_6b': mixed_c(128),
  'Mixed_6c': mixed_c(160),
  'Mixed_6d': mixed_c(160),
  'Mixed_6e': mixed_c(192),
  'Mixed_7a': mixed_d(),
  'Mixed_7b': mixed_e('average'),
  'Mixed_7c': mixed_e('largest'),
}
# name, inputs, outputs, kernel, stride, padding, True if pooling follows
STEM = [
  ('Conv2d_1a_3x3', 3, 32, 3, 2, 0, False),
  ('Conv2d_2a_3x3', 32, 32, 3, 1, 0, False),
  ('Conv2d_2b_3x3', 32, 64, 3, 1, 1, True),
  ('Conv2d_3b_1x1', 64, 80, 1, 1, 0, False),
  ('Conv2d_4a_3x3', 80, 192, 3, 1, 0, True),
]


class Twin:
  """FID's Inception in PyTorch, with random weights and layers by name."""

  def __init__(self):
    self.torch = pytest.importorskip('torch')
    self.generator = self.torch.Generator().manual_seed(0)
    nn, self.layers = self.torch.nn, {}
    functional = nn.functional
    self.pools = {
      'average': lambda x: functional.avg_pool2d(
        x, 3, 1, 1, count_include_pad=False
      ),
      'largest': lambda x: functional.max_pool2d(x, 3, 1, 1),
      'halve': lambda x: functional.max_pool2d(x, 3, 2),
    }
    # Makes the layers.
    self(self.torch.zeros(1, 3, 75, 75))

  def __call__(self, x):
    """Returns features [b, 2048] of x [b, 3, h, w] in [-1, 1]."""
    with self.torch.no_grad():
      for name, *_, kernel, stride, padding, pooled in STEM:
        outputs = next(y[2] for y in STEM if y[0] == name)
        x = self.layer(x, name, outputs, kernel, stride, padding)
        x = self.pools['halve'](x) if pooled else x
      for block, branches in MIXED.items():
        x = self.torch.cat([self.branch(x, block, b) for b in branches], 1)
      return x.mean((2, 3))

  def branch(self, x, block, steps):
    for step in steps:
      if isinstance(step, str):
        x = self.pools[step](x)
        continue
      name, outputs, kernel, stride = step
      kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
      padding = [k // 2 if stride == 1 else 0 for k in kernel]
      x = self.layer(x, f'{block}.{name}', outputs, kernel, stride, padding)
    return x

  def layer(self, x, name, outputs, kernel, stride, padding):
    if name not in self.layers:
      self.layers[name] = self.make(
        x.shape[1], outputs, kernel, stride, padding
      )
    conv, norm = self.layers[name]
    return self.torch.relu(norm(conv(x)))

  def make(self, inputs, outputs, *window):
    nn, of = self.torch.nn, {'generator': self.generator}
    conv = nn.Conv2d(inputs, outputs, *window, bias=False)
    gain = (2 / conv.weight[0].numel()) ** 0.5
    conv.weight.data.normal_(0, gain, **of)
    norm = nn.BatchNorm2d(outputs, eps=1e-3).eval()
    for x in (norm.weight.data, norm.running_var):
      x.uniform_(0.5, 1.5, **of)
    for x in (norm.bias.data, norm.running_mean):
      x.normal_(0, 0.1, **of)
    return conv, norm

  def state_dict(self):
    """Returns a state_dict like PyTorch-FID's file, with the classifier."""
    state = {}
    for name, (conv, norm) in self.layers.items():
      state[f'{name}.conv.weight'] = conv.weight.data
      state |= {f'{name}.bn.{key}': x for key, x in norm.state_dict().items()}
    state['fc.weight'] = self.torch.zeros(1008, 2048)
    state['fc.bias'] = self.torch.zeros(1008)
    return state


@pytest.fixture(scope='module')
def twin():
  return Twin()


@pytest.fixture(scope='module')
def inception_file(twin, tmp_path_factory):
  path = tmp_path_factory.mktemp('inception') / 'inception.pth'
  twin.torch.save(twin.state_dict(), path)
  return path


@pytest.fixture(scope='module')
def inception(inception_file):
  """Function that maps images of 299 pixels to features."""
  net = functools.partial(networks.inception, resize='pytorch-fid')
  return functools.partial(jax.jit(net), weights.inception(inception_file))


@pytest.fixture(scope='module')
def picture():
  return draw_images(90, 120, batch=1)


def assert_features(actual, expected):
  assert actual.shape == expected.shape == (1, 2048)
  scale = np.abs(expected).max()
  assert 0.1 < scale < 100 and expected.std() > 0.05
  np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


def test_inception_equals_torch(inception, twin, picture):
  actual = inception(picture)
  resized = networks.resize_pytorch_fid(picture)
  assert_features(actual, twin(to_torch(np.asarray(resized))).numpy())


def test_inception_equals_pytorch_fid(inception, twin, picture, monkeypatch):
  pytest.importorskip('torchvision')
  module = pytest.importorskip('pytorch_fid.inception')
  state = twin.state_dict()
  monkeypatch.setattr(
    module, 'load_state_dict_from_url', lambda *_, **__: state
  )
  net = module.InceptionV3().eval()
  with twin.torch.no_grad():
    expected = net((to_torch(picture) + 1) / 2)[0][..., 0, 0].numpy()
  assert_features(inception(picture), expected)


def test_inception_uses_clean_resizing_by_default(inception_file, picture):
  with pytest.raises(UserError, match='resize='):
    networks.inception({}, picture, resize='fast')
  params = weights.inception(inception_file)
  params = weights.inception(inception_file)

  def cuts(**resize):
    """Returns True if values are clipped, as only clean resizing does."""
    features = functools.partial(networks.inception, **resize)
    return 'clip' in str(jax.make_jaxpr(features)(params, picture))

  assert cuts() and cuts(resize='clean')
  assert not cuts(resize='pytorch-fid')


def test_unsuitable_inception_weights_are_refused(twin, tmp_path):
  state, path = twin.state_dict(), tmp_path / 'x.pth'
  with pytest.raises(UserError, match='--inception='):
    weights.inception('')
  with pytest.raises(UserError, match='x.pth cannot be read'):
    weights.inception(path)
  path.write_bytes(b'\x80\x02}.')
  with pytest.raises(UserError, match='x.pth'):
    weights.inception(path)
  name = 'Mixed_6b.branch7x7_2'
  narrow = {f'{name}.conv.weight': state[f'{name}.conv.weight'][:, :3]}
  imagenet = {'fc.weight': twin.torch.zeros(1000, 2048)}
  for change, word in (
    (imagenet, 'number of classes'),
    (narrow, 'x.pth'),
    ({f'{name}.conv.weight': None}, name),
    ({f'{name}.bn.running_var': None}, 'running_var'),
  ):
    changed = {k: x for k, x in (state | change).items() if x is not None}
    pth.write(path, {k: x.numpy() for k, x in changed.items()})
    weights.inception.cache_clear()
    with pytest.raises(UserError, match='does not hold') as error:
      weights.inception(path)
    assert word in str(error.value) and '\n' not in str(error.value)
