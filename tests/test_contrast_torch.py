"""Tests of CUT, FastCUT and DCLGAN against twins of them in PyTorch.

The twins follow the papers and the known behaviour of their code. The networks
are the twins of test_torch_parity.py, in float64. Both sides get equal weights
and use the positions that this package draws.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_torch_parity as parity
import tiny
from test_torch_parity import one_torch_thread  # noqa: F401, is used by itself

from cyclegan_jax.methods import METHODS, contrast, losses
from cyclegan_jax.nets import heads
from cyclegan_jax.training import step as train_step

torch = parity.torch
nn, functional = torch.nn, torch.nn.functional

TOLERANCE = 1e-5
# Distance of float32 from float64 after some thirty layers: 5e-5 for gradients
# of this package, 7e-5 for gradients of PyTorch in float32.
GRADIENTS = 2e-4
KEY = jax.random.PRNGKey(0)
WIDTH, DEPTH, FEATURES, PLACES = 4, 5, 8, 8
# Layers of the twin, as the official code numbers them.
TAPS = {0: 'padded', 4: 'down_1', 8: 'down_2', 12: 'block_0', 16: 'block_4'}
OPTIONS = {
  'stride': {},
  'blur': {'downsampling': 'blur', 'upsampling': 'blur'},
}
# Weights of loss.*, as in the papers.
WEIGHTS = {
  'cut': {'nce': 0.5, 'nce_identity': 0.5},
  'fastcut': {'nce': 10.0},
  'dclgan': {
    'adversarial': 0.5,
    'nce': 1.0,
    'identity_a': 0.5,
    'identity_b': 0.5,
  },
}


def make(name, halving):
  """Returns a method with narrow networks."""
  both = name == 'dclgan'
  downsampling = {'downsampling': halving}
  choices = tiny.choices(
    make_generator=tiny.generator(width=WIDTH, depth=DEPTH, **OPTIONS[halving]),
    make_discriminator=tiny.discriminator(width=WIDTH, **downsampling),
    directions=('a2b', 'b2a') if both else ('a2b',),
    **WEIGHTS[name],
  )
  options = {'patches': PLACES, 'features': FEATURES}
  return METHODS[name].make(
    choices._replace(contrast=choices.contrast | options)
  )


def draw_batch():
  rng = np.random.default_rng(0)
  pictures = rng.uniform(-1, 1, (2, 2, 16, 24, 3)).astype(np.float32)
  return dict(zip('ab', pictures))


def draw_params(method, batch):
  """Draws random values for all parameters, including biases."""
  rng = np.random.default_rng(1)

  def draw(path, leaf):
    noise = rng.normal(size=leaf.shape).astype(np.float32)
    layer, kind = path[2].key, path[-1].key
    if kind == 'bias':
      return 0.2 * noise
    # As in test_torch_parity.py, activations keep their scale.
    gain = 0.5 if layer.startswith(('block', 'last')) else 2
    return noise * np.float32(np.sqrt(gain / np.prod(leaf.shape[:-1])))

  shapes = jax.eval_shape(method.init, KEY, batch)
  return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture
def drawn(monkeypatch):
  """List of the positions that each call of `draw_places` returned."""
  made, draw = [], heads.draw_places

  def spy(*args):
    made.append(draw(*args))
    return made[-1]

  monkeypatch.setattr(heads, 'draw_places', spy)
  return made


@pytest.fixture
def coin(monkeypatch):
  """List whose last entry decides if FastCUT mirrors its images."""
  shown = []
  monkeypatch.setattr(jax.random, 'bernoulli', lambda key: shown[-1])
  return shown


class Head(nn.Sequential):
  """Projection head for vectors [batch, positions, channels]."""

  def __init__(self, params):
    first, second = (params[f'linear_{i}'] for i in (1, 2))
    super().__init__(
      nn.Linear(*first['kernel'].shape),
      nn.ReLU(),
      nn.Linear(*second['kernel'].shape),
    )
    self.load_state_dict(values_of_head(params))

  def forward(self, x):
    x = super().forward(x)
    return x / (x.pow(2).sum(-1, keepdim=True).sqrt() + 1e-7)


def values_of_head(params):
  return {
    f'{i}.{name}': torch.from_numpy(np.array(x).T.copy())
    for i, layer in ((0, 'linear_1'), (2, 'linear_2'))
    for name, x in (
      ('weight', params[layer]['kernel']),
      ('bias', params[layer]['bias']),
    )
  }


class Twin:
  """All networks of a method, in PyTorch.

  Attributes:
    gen: {direction: generator}.
    disc: {domain: discriminator}.
    heads: {name: {tap: `Head`}}.
    layers: {'gen', 'disc': {name: {layer: module}}}.
  """

  def __init__(self, params, halving):
    self.layers = {'gen': {}, 'disc': {}}
    up = OPTIONS[halving].get('upsampling', 'transpose')

    def generator(layers):
      return parity.resnet(layers, 3, 3, WIDTH, DEPTH, up, halving)

    def discriminator(layers):
      return parity.patchgan(layers, 3, WIDTH, 1, halving)

    def networks(group, build):
      made = {}
      for name, values in params[group].items():
        layers = self.layers[group][name] = parity.Layers('instance')
        made[name] = build(layers)
        parity.load(layers, values)
        made[name].double()
      return made

    self.gen = networks('gen', generator)
    self.disc = networks('disc', discriminator)
    self.heads = {
      name: {tap: Head(x).double() for tap, x in taps.items()}
      for name, taps in params['heads'].items()
    }

  def parameters(self, group):
    networks = getattr(self, group).values()
    if group == 'heads':
      networks = (head for taps in networks for head in taps.values())
    return [x for net in networks for x in net.parameters()]

  def modules(self, params):
    """Yields (name, module, JAX values in its layout) of parametric modules.

    Args:
      params: parameters or their gradients, {group: {name: ...}}.
    """
    for group, networks in params.items():
      for net, values in networks.items():
        if group == 'heads':
          modules, convert = self.heads[net], lambda _, x: values_of_head(x)
        else:
          modules, convert = self.layers[group][net], parity.layer_values
          values = parity.by_layer(values)
        for name, x in values.items():
          found = convert(modules[name], x)
          found = {key: value.double() for key, value in found.items()}
          yield f'{group} {net} {name}', modules[name], found


def encode(net, x):
  """Returns {tap: features} of the twin of a generator."""
  found = {}
  for i, layer in enumerate(net):
    x = layer(x)
    if i in TAPS:
      found[TAPS[i]] = x
  return found


def torch_patch_nce(query, key):
  key = key.detach()
  found = []
  for q, k in zip(query, key):
    own = (q * k).sum(-1, keepdim=True)
    others = (q @ k.T).masked_fill(torch.eye(len(q), dtype=torch.bool), -10)
    logits = torch.cat([own, others], 1) / 0.07
    first = torch.zeros(len(q), dtype=torch.long)
    found.append(functional.cross_entropy(logits, first, reduction='none'))
  return torch.cat(found).mean()


def nce(query, query_heads, source, source_heads, places):
  """Returns the mean PatchNCE loss over all taps.

  Args:
    query: {tap: features} of the output.
    query_heads: {tap: `Head`} for `query`.
    source: {tap: features} of the input.
    source_heads: {tap: `Head`} for `source`.
    places: iterator over the positions of each tap.
  """
  found = []
  for tap in filter(query_heads.get, TAPS.values()):
    at = torch.from_numpy(np.array(next(places)))
    q, k = (
      head(x[tap].flatten(2)[:, :, at].transpose(1, 2))
      for head, x in ((query_heads[tap], query), (source_heads[tap], source))
    )
    found.append(torch_patch_nce(q, k))
  return sum(found) / len(found)


def lsgan(scores, target):
  return (scores - target).square().mean()


def cut_loss(twin, fake, a, b, places, mirrored=False, identity=True):
  net, projection = twin.gen['a2b'], twin.heads['a2b']
  query = encode(net, fake)
  if mirrored:
    query = {tap: x.flip(3) for tap, x in query.items()}
  weights = WEIGHTS['cut' if identity else 'fastcut']
  loss = lsgan(twin.disc['b'](fake), 1) + weights['nce'] * nce(
    query, projection, encode(net, a), projection, places
  )
  if identity:
    query, source = encode(net, net(b)), encode(net, b)
    loss = loss + weights['nce_identity'] * nce(
      query, projection, source, projection, places
    )
  return loss


def dclgan_loss(twin, a, b, places):
  """Loss of DCLGAN; its F_1 projects features of a, its F_2 features of b."""
  g_a, g_b = twin.gen['a2b'], twin.gen['b2a']
  f_1, f_2 = twin.heads['a'], twin.heads['b']
  fake_b, fake_a = g_a(a), g_b(b)
  adversarial = lsgan(twin.disc['b'](fake_b), 1)
  adversarial = adversarial + lsgan(twin.disc['a'](fake_a), 1)
  contrasts = 2 * nce(encode(g_b, fake_b), f_2, encode(g_a, a), f_1, places)
  contrasts = contrasts + 2 * nce(
    encode(g_a, fake_a), f_1, encode(g_b, b), f_2, places
  )
  identity = (g_a(b) - b).abs().mean() + (g_b(a) - a).abs().mean()
  return 0.5 * (adversarial + contrasts + identity)


def to_torch(batch):
  return [parity.to_torch(batch[d]).double() for d in 'ab']


@pytest.mark.parametrize('halving', OPTIONS)
def test_features_equal_torch(halving):
  method, batch = make('cut', halving), draw_batch()
  params = draw_params(method, batch)
  net, twin = method.generators['a2b'], Twin(params, halving)
  taps = tuple(TAPS.values())
  (found,) = jax.jit(
    lambda x: contrast.encode(net, params['gen']['a2b'], [x], taps, KEY, None)
  )(batch['a'])
  with torch.no_grad():
    expected = encode(twin.gen['a2b'], to_torch(batch)[0])
  assert set(found) == set(expected)
  for tap, x in expected.items():
    assert x.std() > 0.1
    parity.assert_close(
      parity.to_torch(found[tap]).double(), x, TOLERANCE * x.abs().max()
    )


def test_heads_and_patch_nce_equal_torch():
  rng = np.random.default_rng(0)
  features = rng.normal(size=(2, 2, 12, 3)).astype(np.float32)
  head = heads.ProjectionHead(FEATURES)
  params = head.init(KEY, features[0])['params']
  # With the initial gain the vectors are tiny, so that the added 1e-7 matters.
  query, key = (head.apply({'params': params}, x) for x in features)
  with torch.no_grad():
    expected = [Head(params)(torch.from_numpy(x)) for x in features]
  for ours, theirs in zip((query, key), expected):
    parity.assert_close(torch.from_numpy(np.array(ours)), theirs, TOLERANCE)
  loss = losses.patch_nce(query, key, 0.07)
  assert float(loss) == pytest.approx(
    float(torch_patch_nce(*expected)), abs=TOLERANCE
  )


def assert_gradients_equal(twin, grads):
  names = set()
  for name, module, actual in twin.modules(grads):
    # One scale per layer: instance norm cancels the bias of the layer before,
    # so that the gradient of this bias is only rounding.
    expected = {key: p.grad for key, p in module.named_parameters()}
    scale = max(x.abs().max() for x in expected.values())
    assert scale > 1e-4, name
    parity.assert_close(actual, expected, GRADIENTS * scale)
    names.add(name.split()[0])
  assert names == {'gen', 'heads'}


def gradients(method, drawn, coin):
  """Returns a compiled (params, batch, coin) -> (loss, places), gradients."""

  def of_learners(learners, params, batch):
    drawn.clear()
    loss, _ = method.generator_loss(params | learners, batch, KEY)
    return loss, tuple(drawn)

  @jax.jit
  def found(params, batch, mirrored):
    coin.append(mirrored)
    learners = {group: params[group] for group in train_step.LEARNERS}
    return jax.value_and_grad(of_learners, has_aux=True)(
      learners, params, batch
    )

  return found


# The steps of plain gradient descent below compare CUT's gradients with stride.
def test_gradients_of_cut_equal_torch(drawn, coin):
  method, batch = make('cut', 'blur'), draw_batch()
  params = draw_params(method, batch)
  (loss, places), grads = gradients(method, drawn, coin)(params, batch, False)
  assert len(places) == 2 * len(TAPS)
  twin, (a, b) = Twin(params, 'blur'), to_torch(batch)
  expected = cut_loss(twin, twin.gen['a2b'](a), a, b, iter(places))
  assert float(loss) == pytest.approx(expected.item(), rel=TOLERANCE)
  expected.backward()
  assert_gradients_equal(twin, grads)


def test_gradients_of_fastcut_equal_torch(drawn, coin):
  method, batch = make('fastcut', 'blur'), draw_batch()
  params = draw_params(method, batch)
  found, values = gradients(method, drawn, coin), []
  for mirrored in (False, True):
    (loss, places), grads = found(params, batch, mirrored)
    assert len(places) == len(TAPS)
    twin, (a, b) = Twin(params, 'blur'), to_torch(batch)
    fake = twin.gen['a2b'](a.flip(3) if mirrored else a)
    expected = cut_loss(twin, fake, a, b, iter(places), mirrored, False)
    assert float(loss) == pytest.approx(expected.item(), rel=TOLERANCE)
    expected.backward()
    assert_gradients_equal(twin, grads)
    values.append(float(loss))
  assert abs(values[0] - values[1]) > 1e-3


def test_gradients_of_dclgan_equal_torch(drawn, coin):
  method, batch = make('dclgan', 'blur'), draw_batch()
  params = draw_params(method, batch)
  (loss, places), grads = gradients(method, drawn, coin)(params, batch, False)
  assert len(places) == 2 * (len(TAPS) - 1)
  twin = Twin(params, 'blur')
  expected = dclgan_loss(twin, *to_torch(batch), iter(places))
  assert float(loss) == pytest.approx(expected.item(), rel=TOLERANCE)
  expected.backward()
  assert_gradients_equal(twin, grads)


GROUPS = ('disc', 'gen', 'heads')
# name -> (learning rate, constructor of PyTorch's optimizer). The rate of plain
# gradient descent is large, so that the discriminator's update shows in the
# generator's.
TORCH_OPTIMIZERS = {
  'sgd': (1e-2, lambda params: torch.optim.SGD(params, 1e-2)),
  'adam': (2e-4, lambda params: torch.optim.Adam(params, 2e-4, (0.5, 0.999))),
}


def torch_step(twin, optimizers, a, b, places):
  """Updates the discriminator, then the other networks with its new weights."""
  fake = twin.gen['a2b'](a)
  judge = twin.disc['b']
  loss = 0.5 * (lsgan(judge(b), 1) + lsgan(judge(fake.detach()), 0))
  optimizers['disc'].zero_grad()
  loss.backward()
  optimizers['disc'].step()
  learners = [optimizers[group] for group in train_step.LEARNERS]
  for x in learners:
    x.zero_grad()
  cut_loss(twin, fake, a, b, places).backward()
  for x in learners:
    x.step()


def is_dead(layer, key):
  """Returns True if a norm undoes a parameter before any tap sees it."""
  return key == 'bias' and not layer.endswith(
    ('conv_0', 'down_1', 'down_2', 'last')
  )


@pytest.mark.parametrize('name', tiny.plain_first(TORCH_OPTIMIZERS, 'sgd'))
def test_steps_of_cut_equal_torch(name, drawn):
  method, batch = make('cut', 'stride'), draw_batch()
  rate, torch_optimizer = TORCH_OPTIMIZERS[name]
  opts = tiny.optimizers(name, rate)
  params = draw_params(method, batch)
  state = tiny.create(method, opts, pool_size=0, like=batch)
  state = state.replace(params=jax.tree.map(jnp.asarray, params))
  step = train_step.make_step(method, opts, ema_decay=0.9)
  twin = Twin(params, 'stride')
  optimizers = {x: torch_optimizer(twin.parameters(x)) for x in GROUPS}

  @jax.jit
  def run(state, batch):
    drawn.clear()
    return step(state, batch)[0], tuple(drawn)

  for count in (1, 2):
    state, places = run(state, batch)
    torch_step(twin, optimizers, *to_torch(batch), iter(places))
    errors, dead = [], []
    for layer, module, actual in twin.modules(state.params):
      for key, x in module.state_dict().items():
        error = (actual[key] - x).abs().flatten()
        (dead if is_dead(layer, key) else errors).append(error)
    errors, dead = torch.cat(errors), torch.cat(dead)
    assert len(errors) > 50 * len(dead) > 0
    if name == 'sgd':
      assert max(errors.max(), dead.max()) < 1e-5
      continue
    # Some gradients are only rounding: for biases before instance norm, and for
    # the few weights without an effect on the loss. Adam makes full steps of
    # them, and no two programs agree on their signs.
    assert (errors > 0.02 * rate).double().mean() < 5e-4
    assert max(errors.max(), dead.max()) < 2.01 * rate * count
