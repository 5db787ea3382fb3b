"""Tests of networks, optimizer and schedule against twins in PyTorch.

Each network of the package has a twin here, built from `torch.nn` as the
official code describes the network. Both get equal weights and must agree.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cyclegan_jax import nets
from cyclegan_jax.nets.layers import NORMS
from cyclegan_jax.training import optim

torch = pytest.importorskip('torch')
nn = torch.nn
functional = nn.functional

TOLERANCE = 1e-5
BATCH, INPUTS, OUTPUTS, WIDTH = 2, 3, 2, 8

TORCH_NORMS = {
  'instance': nn.InstanceNorm2d,
  'instance_affine': partial(nn.InstanceNorm2d, affine=True),
  'batch': partial(nn.BatchNorm2d, track_running_stats=False),
  'batch_frozen': lambda features: nn.BatchNorm2d(features).eval(),
  'none': lambda features: nn.Identity(),
}
TORCH_PADS = {'reflect': nn.ReflectionPad2d, 'replicate': nn.ReplicationPad2d}
# {name of a Flax parameter: name of the PyTorch parameter}
TORCH_NAMES = {
  'kernel': 'weight',
  'scale': 'weight',
  'bias': 'bias',
  'mean': 'running_mean',
  'var': 'running_var',
}


class Blur(nn.Module):
  """Applies a fixed filter to each channel."""

  def __init__(self, channels, taps, total):
    super().__init__()
    taps = torch.tensor(taps, dtype=torch.float32)
    filt = torch.outer(taps, taps) / total
    self.register_buffer('filt', filt.repeat(channels, 1, 1, 1))


class BlurDown(Blur):
  def __init__(self, channels):
    super().__init__(channels, [1, 2, 1], 16)

  def forward(self, x):
    x = functional.pad(x, (1, 1, 1, 1), 'reflect')
    return functional.conv2d(x, self.filt, stride=2, groups=x.shape[1])


class BlurUp(Blur):
  def __init__(self, channels):
    super().__init__(channels, [1, 3, 3, 1], 64 / 4)

  def forward(self, x):
    x = functional.pad(x, (1, 1, 1, 1), 'replicate')
    x = functional.conv_transpose2d(
      x, self.filt, stride=2, padding=2, groups=x.shape[1]
    )
    return x[:, :, 1:-1, 1:-1]


class Layers(dict):
  """Layers of a twin by their Flax names, collected when they are made."""

  def __init__(self, norm):
    super().__init__()
    self._norm = norm

  def conv(self, name, *args, make=nn.Conv2d, bias=None, **options):
    bias = self._norm.startswith('instance') if bias is None else bias
    self[name] = make(*args, bias=bias, **options)
    return self[name]

  def norm(self, name, features):
    self[name] = TORCH_NORMS[self._norm](features)
    return self[name]

  def up(self, how, name, inputs, outputs, kernel, bias=None):
    if how == 'resize':
      conv = self.conv(name, inputs, outputs, 3, bias=bias)
      return nn.Sequential(nn.Upsample(None, 2), nn.ReflectionPad2d(1), conv)
    if how == 'blur':
      conv = self.conv(name, inputs, outputs, 3, padding=1, bias=bias)
      return nn.Sequential(BlurUp(inputs), conv)
    return self.conv(
      name,
      inputs,
      outputs,
      kernel,
      stride=2,
      padding=1,
      output_padding=kernel % 2,
      make=nn.ConvTranspose2d,
      bias=bias,
    )


class Residual(nn.Sequential):
  def forward(self, x):
    return x + super().forward(x)


class Skip(nn.Sequential):
  def forward(self, x):
    return torch.cat([x, super().forward(x)], 1)


def resnet(
  layers,
  inputs,
  outputs,
  width,
  depth,
  up='transpose',
  downsampling='stride',
  padding='reflect',
):
  w1, w2, w4 = width, 2 * width, 4 * width
  stride = {'stride': 2, 'blur': 1}[downsampling]
  blur = BlurDown if downsampling == 'blur' else nn.Identity
  pad = TORCH_PADS[padding]

  def block(name):
    return Residual(
      pad(1),
      layers.conv(f'{name}_conv_1', w4, w4, 3),
      layers.norm(f'{name}_norm_1', w4),
      nn.ReLU(),
      pad(1),
      layers.conv(f'{name}_conv_2', w4, w4, 3),
      layers.norm(f'{name}_norm_2', w4),
    )

  return nn.Sequential(
    nn.ReflectionPad2d(3),
    layers.conv('first', inputs, w1, 7),
    layers.norm('first_norm', w1),
    nn.ReLU(),
    layers.conv('down_1', w1, w2, 3, stride=stride, padding=1),
    layers.norm('down_1_norm', w2),
    nn.ReLU(),
    blur(w2),
    layers.conv('down_2', w2, w4, 3, stride=stride, padding=1),
    layers.norm('down_2_norm', w4),
    nn.ReLU(),
    blur(w4),
    *(block(f'block_{i}') for i in range(depth)),
    layers.up(up, 'up_1', w4, w2, 3),
    layers.norm('up_1_norm', w2),
    nn.ReLU(),
    layers.up(up, 'up_2', w2, w1, 3),
    layers.norm('up_2_norm', w1),
    nn.ReLU(),
    nn.ReflectionPad2d(3),
    layers.conv('last', w1, outputs, 7, bias=True),
    nn.Tanh(),
  )


def unet(layers, inputs, outputs, width, depth, up='transpose'):
  widths = [width, width * 2, width * 4] + [width * 8] * (depth - 3)

  def level(i):
    outer, inner = widths[i - 1], widths[i]
    innermost = i == depth - 1
    # In place, as in the official code: the skip connection carries the output
    # of the leaky ReLU. The next ReLU gives the same for input and output.
    down = [
      nn.LeakyReLU(0.2, inplace=True),
      layers.conv(f'down_{i}', outer, inner, 4, stride=2, padding=1),
    ]
    if not innermost:
      down += [layers.norm(f'down_{i}_norm', inner), level(i + 1)]
    return Skip(
      *down,
      nn.ReLU(inplace=True),
      layers.up(up, f'up_{i}', inner if innermost else 2 * inner, outer, 4),
      layers.norm(f'up_{i}_norm', outer),
    )

  return nn.Sequential(
    layers.conv('down_0', inputs, width, 4, stride=2, padding=1),
    level(1),
    nn.ReLU(inplace=True),
    layers.up(up, 'up_0', 2 * width, outputs, 4, bias=True),
    nn.Tanh(),
  )


def patchgan(layers, inputs, width, depth=3, downsampling='stride'):
  widths = [width * factor for factor in (1, 2, 4, 8, 8)[: depth + 1]]
  halving = {'stride': 2, 'blur': 1}[downsampling]
  blur = BlurDown if downsampling == 'blur' else nn.Identity
  steps = [layers.conv('conv_0', inputs, width, 4, halving, 1, bias=True)]
  for i in range(1, depth + 1):
    stride = 1 if i == depth else halving
    steps += [
      nn.LeakyReLU(0.2),
      blur(widths[i - 1]),
      layers.conv(f'conv_{i}', widths[i - 1], widths[i], 4, stride, 1),
      layers.norm(f'norm_{i}', widths[i]),
    ]
  last = layers.conv('last', widths[-1], 1, 4, 1, 1, bias=True)
  return nn.Sequential(*steps, nn.LeakyReLU(0.2), last)


def pixelgan(layers, inputs, width):
  return nn.Sequential(
    layers.conv('conv_0', inputs, width, 1, bias=True),
    nn.LeakyReLU(0.2),
    layers.conv('conv_1', width, 2 * width, 1),
    layers.norm('norm_1', 2 * width),
    nn.LeakyReLU(0.2),
    layers.conv('last', 2 * width, 1, 1),
  )


# name -> (twin, [(depth, or None for the default, height, width)])
GENERATOR_TWINS = {
  'resnet': (resnet, [(2, 24, 40)]),
  'resnet_6blocks': (partial(resnet, depth=6), [(None, 24, 40)]),
  'resnet_9blocks': (partial(resnet, depth=9), [(None, 40, 24)]),
  'unet': (unet, [(3, 24, 40), (5, 64, 32)]),
  'unet_128': (partial(unet, depth=7), [(None, 128, 128)]),
  'unet_256': (partial(unet, depth=8), [(None, 256, 256)]),
}
DISCRIMINATOR_TWINS = {
  'patchgan': (
    patchgan,
    [(1, 24, 40), (2, 24, 40), (None, 31, 41), (4, 56, 72)],
  ),
  'pixelgan': (pixelgan, [(None, 9, 14)]),
}


# As in CUT: a blur in every downsampling or upsampling.
BLUR = {'downsampling': 'blur'}
BLURS = BLUR | {'up': 'blur'}


@pytest.fixture(autouse=True, scope='module')
def one_torch_thread():
  # With small networks, PyTorch's threads mostly wait for one another.
  threads = torch.get_num_threads()
  torch.set_num_threads(1)
  yield
  torch.set_num_threads(threads)


def cases(table, twins):
  # A name without a twin is kept, so that its test fails.
  return [
    pytest.param(name, *case, id='-'.join(map(str, (name, *case))))
    for name in table
    for case in twins.get(name, (None, [(None, 16, 16)]))[1]
  ]


def draw_params(net, images):
  """Draws random values for all parameters, including biases and scales."""
  rng = np.random.default_rng(1)

  def draw(path, leaf):
    noise = rng.normal(size=leaf.shape).astype(np.float32)
    layer, kind = path[0].key, path[-1].key
    if kind == 'kernel':
      # 2 keeps the scale of activations without a norm; sums of residuals and
      # the input of tanh must stay small.
      gain = 0.5 if layer.startswith(('block', 'last')) else 2
      return noise * np.float32(np.sqrt(gain / np.prod(leaf.shape[:-1])))
    if kind == 'var':
      return 1 + np.abs(noise)
    return 0.2 * noise + (1 if kind == 'scale' else 0)

  shapes = jax.eval_shape(net.init, jax.random.key(0), images)['params']
  return jax.tree_util.tree_map_with_path(draw, shapes)


def draw_images(height, width):
  rng = np.random.default_rng(2)
  size = BATCH, height, width, INPUTS
  return rng.uniform(-1, 1, size).astype(np.float32)


def to_torch(images):
  return torch.from_numpy(np.array(images).transpose(0, 3, 1, 2))


def layer_values(layer, values):
  """Returns the values of a Flax layer in the layout of the PyTorch layer."""
  result = {}
  for name, value in values.items():
    value = np.asarray(value)
    if name == 'kernel' and isinstance(layer, nn.ConvTranspose2d):
      # PyTorch defines this layer as the gradient of a convolution: a flip.
      value = value[::-1, ::-1].transpose(2, 3, 0, 1)
    elif name == 'kernel':
      value = value.transpose(3, 2, 0, 1)
    result[TORCH_NAMES[name]] = torch.from_numpy(value.copy())
  if 'running_mean' in result:
    result['num_batches_tracked'] = torch.tensor(0)
  return result


def by_layer(params):
  """Returns {layer: values}; layers of blocks are named 'block_0_conv_1'."""
  layers = {}
  for name, values in params.items():
    if name.startswith('block_'):
      layers |= {f'{name}_{layer}': x for layer, x in values.items()}
    else:
      layers[name] = values
  return layers


def load(layers, params):
  params = by_layer(params)
  assert {n for n, x in layers.items() if x.state_dict()} == set(params)
  for name, values in params.items():
    layers[name].load_state_dict(layer_values(layers[name], values))


def assert_close(actual, expected, tolerance):
  torch.testing.assert_close(actual, expected, rtol=0, atol=float(tolerance))


def assert_parity(net, twin, layers, height, width, spread=0.05):
  images = draw_images(height, width)
  params = draw_params(net, images)
  load(layers, params)
  with torch.no_grad():
    expected = twin(to_torch(images))
  output = jax.jit(partial(nets.apply, net))(params, images)
  # Nearly constant outputs, or outputs of saturated tanh, would always agree.
  assert expected.std() > spread
  assert not isinstance(twin[-1], nn.Tanh) or expected.abs().median() < 0.8
  assert_close(to_torch(output), expected, TOLERANCE)


def build_generator(name, norm, depth, up='transpose', **more):
  """Returns a network, its twin and {Flax name: layer} of the twin."""
  assert name in GENERATOR_TWINS, f'{name} has no twin in PyTorch here'
  layers = Layers(norm)
  options = more | ({'depth': depth} if depth else {})
  twin = GENERATOR_TWINS[name][0](
    layers, INPUTS, OUTPUTS, WIDTH, up=up, **options
  )
  net = nets.constructor(
    nets.GENERATORS, name, 'generator', width=WIDTH, norm=norm, **options
  )(out_channels=OUTPUTS, upsampling=up)
  return net, twin, layers


def build_discriminator(name, norm, depth, **more):
  assert name in DISCRIMINATOR_TWINS, f'{name} has no twin in PyTorch here'
  layers = Layers(norm)
  options = more | ({'depth': depth} if depth else {})
  twin = DISCRIMINATOR_TWINS[name][0](layers, INPUTS, WIDTH, **options)
  net = nets.constructor(
    nets.DISCRIMINATORS,
    name,
    'discriminator',
    width=WIDTH,
    norm=norm,
    **options,
  )()
  return net, twin, layers


@pytest.mark.parametrize(
  'name,channels,options,expected',
  [
    ('resnet_6blocks', (3, 3), {}, 7_837_699),
    ('resnet_9blocks', (3, 3), {}, 11_378_179),
    ('resnet_9blocks', (3, 3), BLURS, 11_378_179),
    ('patchgan', (3,), {}, 2_764_737),
    ('patchgan', (3,), BLUR, 2_764_737),
    ('patchgan', (6,), {}, 2_767_809),
  ],
)
def test_twin_has_the_published_parameter_count(
  name, channels, options, expected
):
  make = (GENERATOR_TWINS | DISCRIMINATOR_TWINS)[name][0]
  with torch.device('meta'):
    twin = make(Layers('instance'), *channels, 64, **options)
  assert sum(p.numel() for p in twin.parameters()) == expected


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize(
  'name,depth,height,width', cases(nets.GENERATORS, GENERATOR_TWINS)
)
def test_generator_equals_its_torch_twin(name, depth, height, width, norm):
  assert_parity(*build_generator(name, norm, depth), height, width)


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('name,depth', [('resnet', 1), ('unet', 3)])
def test_resize_upsampling_equals_its_torch_twin(name, depth, norm):
  assert_parity(*build_generator(name, norm, depth, 'resize'), 24, 40)


@pytest.mark.parametrize('norm', NORMS)
def test_blurred_generator_equals_its_torch_twin(norm):
  assert_parity(*build_generator('resnet', norm, 2, **BLURS), 24, 40)


@pytest.mark.parametrize('size', [(24, 40), (8, 12)])
@pytest.mark.parametrize('options', [{}, BLUR, {'up': 'blur'}, BLURS])
@pytest.mark.parametrize('padding', TORCH_PADS)
def test_blurs_and_paddings_equal_their_torch_twins(padding, options, size):
  options = options | {'padding': padding}
  assert_parity(*build_generator('resnet', 'none', 1, **options), *size)


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize(
  'depth,height,width', DISCRIMINATOR_TWINS['patchgan'][1]
)
def test_blurred_patchgan_equals_its_torch_twin(depth, height, width, norm):
  made = build_discriminator('patchgan', norm, depth, **BLUR)
  # Without a norm, blurs make the spread small.
  assert_parity(*made, height, width, spread=100 * TOLERANCE)


@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize(
  'name,depth,height,width', cases(nets.DISCRIMINATORS, DISCRIMINATOR_TWINS)
)
def test_discriminator_equals_its_torch_twin(name, depth, height, width, norm):
  assert_parity(*build_discriminator(name, norm, depth), height, width)


@pytest.mark.parametrize(
  'name, norm, options',
  [
    ('resnet', 'instance', {}),
    ('resnet', 'batch', {}),
    ('resnet', 'instance', BLURS),
    ('resnet', 'instance', {'padding': 'replicate'}),
    ('patchgan', 'instance', BLUR),
  ],
)
def test_gradients_equal_torch(name, norm, options):
  generates = name in nets.GENERATORS
  make = build_generator if generates else build_discriminator
  net, twin, layers = make(name, norm, 2, **options)
  images = draw_images(16, 24)
  params = draw_params(net, images)
  load(layers, params)
  inputs = to_torch(images).requires_grad_()
  twin(inputs).square().mean().backward()

  def loss(params, images):
    return jnp.mean(nets.apply(net, params, images) ** 2)

  by_params, by_images = jax.jit(jax.grad(loss, (0, 1)))(params, images)
  assert_close(
    to_torch(by_images), inputs.grad, TOLERANCE * inputs.grad.abs().max()
  )
  assert set(by_params) == set(params)
  for name, grads in by_layer(by_params).items():
    # One scale per layer: instance norm cancels the bias of the layer before,
    # so that the gradient of this bias is only rounding.
    expected = {key: p.grad for key, p in layers[name].named_parameters()}
    scale = max(grad.abs().max() for grad in expected.values())
    assert scale > 1e-3
    assert_close(layer_values(layers[name], grads), expected, TOLERANCE * scale)


def test_adam_equals_torch():
  rng = np.random.default_rng(3)
  start, goal, root = rng.uniform(-1, 1, (3, 4, 5)).astype(np.float32)
  # The rate is small because the difference grows with the rate: optax computes
  # 1 - beta2**step in float32, PyTorch in float64.
  rate, beta1, beta2 = 0.005, 0.5, 0.999

  def loss(x, goal, root):
    return ((root * (x - goal)) ** 2).sum()

  expected = torch.tensor(start, requires_grad=True)
  adam = torch.optim.Adam([expected], lr=rate, betas=(beta1, beta2))
  actual = jnp.array(start)
  ours = optim.optimizer('adam', rate, beta1, beta2, lambda step: 1.0)
  state = ours.init(actual)
  for _ in range(5):
    adam.zero_grad()
    loss(expected, torch.tensor(goal), torch.tensor(root)).backward()
    adam.step()
    updates, state = ours.update(jax.grad(loss)(actual, goal, root), state)
    actual = optax.apply_updates(actual, updates)
    np.testing.assert_allclose(actual, expected.detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize('constant,decay', [(3, 4), (0, 5), (100, 100)])
def test_linear_schedule_equals_torch(constant, decay):
  steps_per_epoch = 3
  schedule = optim.schedule(
    'linear', 'epochs', constant, decay, steps_per_epoch
  )
  sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
  scheduler = torch.optim.lr_scheduler.LambdaLR(
    sgd, lambda epoch: 1 - max(0, epoch + 1 - constant) / (decay + 1)
  )
  expected = []
  for _ in range(constant + decay):
    expected += scheduler.get_last_lr() * steps_per_epoch
    sgd.step()
    scheduler.step()
  assert schedule.steps == len(expected)
  actual = jax.vmap(schedule.factor)(jnp.arange(schedule.steps))
  np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)
