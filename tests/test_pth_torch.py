"""Tests of official files against PyTorch: equal outputs, exact round trips.

The official networks are built from `torch.nn`, nested as in the official code,
so that their weights have the official names.
"""

from functools import partial

import jax
import numpy as np
import pytest
import test_pth
from test_torch_parity import BlurDown, BlurUp  # skips without PyTorch

from cyclegan_jax import nets, pth
from cyclegan_jax.common.errors import UserError

torch = pytest.importorskip('torch')
nn = torch.nn

WIDTH = 4
# Values of the official --norm; in 2017 instance norm had averages, weights.
NORMS = {
  'instance': nn.InstanceNorm2d,
  'instance of 2017': partial(nn.InstanceNorm2d, track_running_stats=True),
  'affine': partial(nn.InstanceNorm2d, affine=True),
  'batch': nn.BatchNorm2d,
  'none': lambda features: nn.Identity(),
}
OURS = {
  'instance of 2017': 'instance',
  'affine': 'instance_affine',
}


class Block(nn.Module):
  def __init__(self, width, norm, bias, dropout):
    super().__init__()
    steps = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias)]
    steps += [norm(width), nn.ReLU(True)] + [nn.Dropout(0.5)] * dropout
    steps += [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias)]
    self.conv_block = nn.Sequential(*steps, norm(width))

  def forward(self, x):
    return x + self.conv_block(x)


class Resnet(nn.Module):
  """CycleGAN's generator; `down` and `up` enable the blurs of CUT."""

  def __init__(
    self,
    norm,
    bias,
    blocks=2,
    dropout=False,
    outputs=3,
    down=False,
    up=False,
  ):
    super().__init__()
    w = WIDTH
    steps = [nn.ReflectionPad2d(3), nn.Conv2d(3, w, 7, bias=bias), norm(w)]
    steps.append(nn.ReLU(True))
    for k in (w, 2 * w):
      conv = nn.Conv2d(k, 2 * k, 3, 1 if down else 2, 1, bias=bias)
      steps += [conv, norm(2 * k), nn.ReLU(True)] + [BlurDown(2 * k)] * down
    steps += [Block(4 * w, norm, bias, dropout) for _ in range(blocks)]
    for k in (4 * w, 2 * w):
      if up:
        steps += [BlurUp(k), nn.Conv2d(k, k // 2, 3, 1, 1, bias=bias)]
      else:
        steps.append(nn.ConvTranspose2d(k, k // 2, 3, 2, 1, 1, bias=bias))
      steps += [norm(k // 2), nn.ReLU(True)]
    steps += [nn.ReflectionPad2d(3), nn.Conv2d(w, outputs, 7), nn.Tanh()]
    self.model = nn.Sequential(*steps)

  def forward(self, x):
    return self.model(x)


class Level(nn.Module):
  def __init__(self, outer, inner, norm, bias, below=None, dropout=False):
    super().__init__()
    down = nn.Conv2d(outer, inner, 4, 2, 1, bias=bias)
    up = partial(nn.ConvTranspose2d, out_channels=outer, bias=bias)
    up = partial(up, kernel_size=4, stride=2, padding=1)
    steps = [nn.LeakyReLU(0.2, True), down]
    if below is None:
      steps += [nn.ReLU(True), up(inner), norm(outer)]
    else:
      steps += [norm(inner), below, nn.ReLU(True), up(2 * inner), norm(outer)]
      steps += [nn.Dropout(0.5)] * dropout
    self.model = nn.Sequential(*steps)

  def forward(self, x):
    return torch.cat([x, self.model(x)], 1)


class Outermost(nn.Module):
  def __init__(self, below, outputs, bias):
    super().__init__()
    down = nn.Conv2d(3, WIDTH, 4, 2, 1, bias=bias)
    up = nn.ConvTranspose2d(2 * WIDTH, outputs, 4, 2, 1)
    self.model = nn.Sequential(down, below, nn.ReLU(True), up, nn.Tanh())

  def forward(self, x):
    return self.model(x)


class Unet(nn.Module):
  def __init__(self, norm, bias, levels=5, dropout=False, outputs=3):
    super().__init__()
    w = WIDTH
    level = Level(8 * w, 8 * w, norm, bias)
    for _ in range(levels - 5):
      level = Level(8 * w, 8 * w, norm, bias, level, dropout)
    for k in (4 * w, 2 * w, w):
      level = Level(k, 2 * k, norm, bias, level)
    self.model = Outermost(level, outputs, bias)

  def forward(self, x):
    return self.model(x)


class Patch(nn.Module):
  def __init__(self, norm, bias, layers=3, down=False):
    super().__init__()
    halving = 1 if down else 2
    steps = [nn.Conv2d(3, WIDTH, 4, halving, 1), nn.LeakyReLU(0.2, True)]
    steps += [BlurDown(WIDTH)] * down
    for i in range(1, layers + 1):
      k, before = (WIDTH * min(2**j, 8) for j in (i, i - 1))
      halves = i < layers
      stride = halving if halves else 1
      conv = nn.Conv2d(before, k, 4, stride, 1, bias=bias)
      steps += [conv, norm(k), nn.LeakyReLU(0.2, True)]
      steps += [BlurDown(k)] * (down and halves)
    self.model = nn.Sequential(*steps, nn.Conv2d(k, 1, 4, 1, 1))

  def forward(self, x):
    return self.model(x)


class Pixel(nn.Module):
  def __init__(self, norm, bias):
    super().__init__()
    w = WIDTH
    steps = [nn.Conv2d(3, w, 1), nn.LeakyReLU(0.2, True)]
    steps += [nn.Conv2d(w, 2 * w, 1, bias=bias), norm(2 * w)]
    steps += [nn.LeakyReLU(0.2, True), nn.Conv2d(2 * w, 1, 1, bias=bias)]
    self.net = nn.Sequential(*steps)

  def forward(self, x):
    return self.net(x)


# name of a case -> (official class, our options, height, width)
CASES = {
  'resnet 2 blocks': (Resnet, {'name': 'resnet', 'depth': 2}, 20, 28),
  'resnet of CUT': (
    partial(Resnet, down=True, up=True),
    {'name': 'resnet', 'depth': 2} | test_pth.CUT,
    20,
    28,
  ),
  'resnet, blurs down': (
    partial(Resnet, down=True),
    {'name': 'resnet', 'depth': 2} | test_pth.BLUR,
    16,
    24,
  ),
  'resnet, blurs up': (
    partial(Resnet, up=True),
    {'name': 'resnet', 'depth': 2, 'upsampling': 'blur'},
    16,
    24,
  ),
  'resnet of CUT, dropout': (
    partial(Resnet, down=True, up=True, dropout=True),
    {'name': 'resnet', 'depth': 2} | test_pth.CUT | {'dropout': 0.5},
    16,
    16,
  ),
  'resnet 6 blocks': (
    partial(Resnet, blocks=6),
    {'name': 'resnet', 'depth': 6},
    24,
    16,
  ),
  'resnet dropout': (
    partial(Resnet, dropout=True, outputs=1),
    {'name': 'resnet', 'depth': 2, 'dropout': 0.5},
    16,
    16,
  ),
  'unet 5 levels': (Unet, {'name': 'unet', 'depth': 5}, 64, 96),
  'unet 7 levels': (
    partial(Unet, levels=7, dropout=True, outputs=1),
    {'name': 'unet', 'depth': 7},
    128,
    128,
  ),
  'patchgan': (Patch, {'name': 'patchgan', 'depth': 3}, 37, 50),
  'patchgan 1 layer': (
    partial(Patch, layers=1),
    {'name': 'patchgan', 'depth': 1},
    17,
    22,
  ),
  'patchgan 5 layers': (
    partial(Patch, layers=5),
    {'name': 'patchgan', 'depth': 5},
    128,
    160,
  ),
  'patchgan of CUT': (
    partial(Patch, down=True),
    {'name': 'patchgan', 'depth': 3} | test_pth.BLUR,
    37,
    50,
  ),
  'patchgan of CUT, 1 layer': (
    partial(Patch, down=True, layers=1),
    {'name': 'patchgan', 'depth': 1} | test_pth.BLUR,
    17,
    22,
  ),
  'pixelgan': (Pixel, {'name': 'pixelgan', 'depth': 0}, 5, 7),
}
# These cases, one per class, are tested with every norm, others with one norm.
EVERY_NORM = ('resnet 2 blocks', 'unet 5 levels', 'patchgan', 'pixelgan')
# Options that are recognised in a file unless its case has others.
FOUND = {
  'resnet': test_pth.CYCLEGAN,
  'unet': {'dropout': 0.0},
  'patchgan': test_pth.STRIDE,
  'pixelgan': {},
}
COMBINED = [
  (case, norm)
  for i, case in enumerate(CASES)
  for norm in (NORMS if case in EVERY_NORM else [list(NORMS)[i % len(NORMS)]])
]


@pytest.fixture(autouse=True, scope='module')
def one_torch_thread():
  threads = torch.get_num_threads()
  torch.set_num_threads(1)
  yield
  torch.set_num_threads(threads)


def official(case, norm, seed=0):
  """Returns an official network with random weights and averages."""
  make, options, height, width = CASES[case]
  bias = norm.startswith(('instance', 'affine'))
  torch.manual_seed(seed)
  net = make(NORMS[norm], bias)
  with torch.no_grad():
    for name, x in net.state_dict().items():
      if name.endswith('running_var'):
        x.uniform_(0.5, 2)
      elif name.endswith('num_batches_tracked'):
        x.fill_(2**24 + 1 + len(name))
      elif name.endswith('.filt'):
        continue
      elif x.ndim == 4:
        x.normal_(0, 1 / np.sqrt(x[0].numel()))
      else:
        x.normal_(float(name.endswith('weight') and x.ndim == 1), 0.2)
  return net, options, height, width


def draw(height, width):
  rng = np.random.default_rng(0)
  return rng.uniform(-1, 1, (1, height, width, 3)).astype(np.float32)


def output_of(network, images, **options):
  table, made = nets.DISCRIMINATORS, {}
  if network.kind == 'generator':
    table, made = nets.GENERATORS, {'out_channels': network.out_channels}
  options = network.options | options
  net = nets.constructor(table, what=network.kind, **options)(**made)
  run = jax.jit(partial(nets.apply, net))
  return np.asarray(run(network.params, images)).transpose(0, 3, 1, 2)


def output_of_torch(net, images):
  with torch.no_grad():
    return net(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()


def through_a_file(net, folder, **options):
  path = folder / 'net.pth'
  torch.save(net.state_dict(), path, **options)
  return pth.recognise(pth.read(path), path)


@pytest.mark.parametrize('case, norm', COMBINED)
def test_official_networks_give_equal_outputs(case, norm, tmp_path):
  net, options, height, width = official(case, norm)
  network = through_a_file(net, tmp_path)
  known = {'width': WIDTH, 'norm': OURS.get(norm, norm)}
  assert network.options == FOUND[options['name']] | known | options
  images = draw(height, width)
  # As in the official test.py without --eval, but without random dropout.
  for module in net.modules():
    module.train(not isinstance(module, nn.Dropout))
  expected = output_of_torch(net, images)
  assert expected.std() > 0.02
  output = output_of(network, images)
  assert output.shape == expected.shape
  np.testing.assert_allclose(output, expected, atol=1e-5)


def test_the_modules_of_cut_have_the_official_names():
  generator = partial(CASES['resnet of CUT'][0], blocks=9)
  blocks = [f'{i}.conv_block.{j}' for i in range(12, 21) for j in (1, 5)]
  for make, kernels, filters in (
    (generator, [1, 4, 8, *blocks, 22, 26, 30], [7, 11, 21, 25]),
    (CASES['patchgan of CUT'][0], [0, 3, 7, 11, 14], [2, 6, 10]),
  ):
    names = [f'model.{i}.{x}' for i in kernels for x in ('weight', 'bias')]
    names += [f'model.{i}.filt' for i in filters]
    assert set(make(NORMS['instance'], True).state_dict()) == set(names)


@pytest.mark.parametrize('case', EVERY_NORM)
def test_frozen_batch_norm_equals_the_official_eval(case, tmp_path):
  net, _, height, width = official(case, 'batch')
  network = through_a_file(net, tmp_path)
  images = draw(height, width)
  expected = output_of_torch(net.eval(), images)
  assert np.abs(output_of(network, images) - expected).max() > 0.01
  frozen = output_of(network, images, norm='batch_frozen')
  np.testing.assert_allclose(frozen, expected, atol=1e-5)


def test_odd_sizes_equal_official_outputs_of_padded_images(tmp_path):
  net, *_ = official('resnet 2 blocks', 'instance')
  images = draw(18, 23)
  padded = np.pad(images, ((0, 0), (1, 1), (0, 1), (0, 0)), 'reflect')
  expected = output_of_torch(net, padded)[:, :, 1:19, :23]
  output = output_of(through_a_file(net, tmp_path), images)
  np.testing.assert_allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize('new', [True, False], ids=['zip', 'old'])
@pytest.mark.parametrize(
  'case, norm', [x for x in COMBINED if x[1] != 'instance of 2017']
)
def test_import_and_export_keep_every_bit(case, norm, new, tmp_path):
  net, *_ = official(case, norm)
  network = through_a_file(net, tmp_path, _use_new_zipfile_serialization=new)
  back = tmp_path / 'back.pth'
  pth.write(back, pth.export(network.kind, network.options, network.params))
  state = torch.load(back, weights_only=True)
  assert type(state) is type(net.state_dict())
  assert list(state) == list(net.state_dict())
  for name, x in net.state_dict().items():
    assert state[name].dtype == x.dtype and state[name].is_contiguous()
    assert torch.equal(state[name], x), name
  other, *_ = official(case, norm, seed=1)
  other.load_state_dict(state, strict=True)


def without_averages(params):
  return {
    name: without_averages(x) if isinstance(x, dict) else x
    for name, x in params.items()
    if name not in ('mean', 'var', 'count')
  }


@pytest.mark.parametrize('case', EVERY_NORM)
def test_models_trained_here_are_exported_as_official_files(case, tmp_path):
  """Missing averages of batch norm are exported as PyTorch's initial values."""
  net, options, height, width = official(case, 'batch')
  network = through_a_file(net, tmp_path)
  params = without_averages(network.params)
  assert pth.has_averages(network.params) and not pth.has_averages(params)
  pth.write(
    tmp_path / 'a.pth', pth.export(network.kind, network.options, params)
  )
  other, *_ = official(case, 'batch', seed=1)
  other.load_state_dict(torch.load(tmp_path / 'a.pth'), strict=True)
  for name, x in other.state_dict().items():
    if 'running' in name or 'num_batches' in name:
      assert (x == float('var' in name)).all()
  images = draw(height, width)
  np.testing.assert_allclose(
    output_of_torch(other, images), output_of_torch(net, images), atol=1e-6
  )


def strange_tensors():
  base = torch.arange(60.0).reshape(3, 4, 5)
  return {
    'transposed': base.permute(2, 0, 1),
    'offset': base[1:, ::2, 3],
    'shared': base,
    'scalar': torch.tensor(7.5),
    'empty': torch.zeros(0, 3),
    'parameter': nn.Parameter(base[0].clone()),
    'cut': nn.Parameter(torch.arange(9.0)[2:5]),
    'broadcast to one': torch.ones(1).expand(1),
  } | {
    str(dtype): torch.tensor([0, 1, 3]).to(dtype)
    for dtype in (
      *(torch.float16, torch.bfloat16, torch.float64, torch.int64),
      *(torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    )
  }


@pytest.mark.parametrize('new', [True, False], ids=['zip', 'old'])
@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_all_kinds_of_tensors_are_read(new, protocol, tmp_path):
  tensors = strange_tensors()
  path = tmp_path / 'a.pth'
  torch.save(
    tensors,
    path,
    pickle_protocol=protocol,
    _use_new_zipfile_serialization=new,
  )
  arrays = pth.read(path)
  assert list(arrays) == list(tensors)
  for name, x in tensors.items():
    assert arrays[name].dtype.name == str(x.dtype).removeprefix('torch.')
    expected = x.detach().double().numpy()
    np.testing.assert_array_equal(arrays[name].astype(np.float64), expected)
  pth.write(tmp_path / 'b.pth', arrays)
  for name, x in torch.load(tmp_path / 'b.pth', weights_only=True).items():
    assert x.dtype == tensors[name].dtype and x.is_contiguous()
    assert torch.equal(x, tensors[name].detach()), name


@pytest.mark.parametrize('new', [True, False], ids=['zip', 'old'])
def test_the_state_dict_of_a_training_checkpoint_is_read(new, tmp_path):
  net, *_ = official('patchgan', 'batch')
  images = torch.from_numpy(draw(32, 32).transpose(0, 3, 1, 2))
  adam = torch.optim.Adam(net.parameters())
  net(images).mean().backward()
  adam.step()
  states = {f'module.{name}': x for name, x in net.state_dict().items()}
  path = tmp_path / 'a.pth'
  for wrapper in ('state_dict', 'model'):
    whole = {'epoch': 3, 'optimizer': adam.state_dict(), wrapper: states}
    torch.save(whole, path, _use_new_zipfile_serialization=new)
    arrays = pth.read(path)
    assert list(arrays) == list(net.state_dict())
    for name, x in net.state_dict().items():
      np.testing.assert_array_equal(arrays[name], x)


@pytest.mark.parametrize('new', [True, False], ids=['zip', 'old'])
def test_a_whole_module_is_refused_by_its_class(new, tmp_path):
  path = tmp_path / 'a.pth'
  torch.save(nn.Conv2d(1, 1, 1), path, _use_new_zipfile_serialization=new)
  with pytest.raises(UserError, match='asks for torch.nn.modules.conv.Conv2d'):
    pth.read(path)
