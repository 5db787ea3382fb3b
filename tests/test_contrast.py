"""Tests of PatchNCE and its methods: features, heads, positions, the loss."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.extend.core import jaxprs_in_params
from jax.sharding import PartitionSpec as P

from cyclegan_jax import load_model, nets, pth
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags
from cyclegan_jax.config.run import build_run
from cyclegan_jax.inference import saved
from cyclegan_jax.inference.model import Model
from cyclegan_jax.methods import METHODS, contrast
from cyclegan_jax.methods.losses import patch_nce
from cyclegan_jax.nets import heads
from cyclegan_jax.training import parallel
from cyclegan_jax.training import step as train_step
from cyclegan_jax.training.checkpoint import Checkpoints
from cyclegan_jax.training.trainer import train
from cyclegan_jax.training.workdir import Workdir

KEY = jax.random.PRNGKey(0)
CONTRASTED = [
  name for name, entry in METHODS.items() if 'contrast.taps' in entry.options
]
# With these weights a method has no identity term.
NO_IDENTITY = dict.fromkeys(('identity_a', 'identity_b', 'nce_identity'), 0.0)
PAPER = {'taps': '', 'patches': 256, 'features': 256, 'temperature': 0.07}


def options(**contrast_options):
  """`Choices` with options of contrast.*, and a generator of 6 blocks."""
  choices = tiny.choices(make_generator=tiny.generator(depth=6))
  return choices._replace(contrast=tiny.CONTRAST | contrast_options)


def made(choices, *, with_input=True):
  net = choices.generator(out_channels=3)
  return net, contrast.contrast(choices, net, with_input=with_input)


# The loss


def test_patch_nce_of_uninformative_features_is_a_logarithm():
  query, key = np.zeros((2, 2, 256, 4), np.float32)
  query[..., 0], key[..., 1] = 1, 1  # nothing in common: all logits are 0
  loss = patch_nce(query, key, 0.07)
  assert float(loss) == pytest.approx(math.log(256), abs=1e-5)
  # The loss is low at the right position and high at a wrong one.
  own = jnp.eye(256)[None]
  assert patch_nce(own, own, 0.07) < 1e-3
  assert patch_nce(own, own[:, ::-1], 0.07) > 10


def test_patch_nce_of_two_positions_equals_a_count_by_hand():
  query = jnp.array([[[1.0, 0.0], [0.0, 1.0]]])
  key = jnp.array([[[0.6, 0.8], [1.0, 0.0]]])
  # Logits: own position, other position, and -10 for the own position among the
  # others, at a temperature at which this -10 still matters.
  logits = [(0.6, 1.0, -10), (0.0, 0.8, -10)]
  expected = np.mean(
    [np.log(sum(np.exp(x / 10 - row[0] / 10) for x in row)) for row in logits]
  )
  assert float(patch_nce(query, key, 10.0)) == pytest.approx(expected, 1e-5)
  # Positions of other images of the batch are not used as negatives.
  swapped = patch_nce(query, key[:, ::-1], 10.0)
  pair = jnp.concatenate([query] * 2), jnp.concatenate([key, key[:, ::-1]])
  assert float(patch_nce(*pair, 10.0)) == pytest.approx(
    (expected + float(swapped)) / 2, 1e-5
  )


def test_keys_have_no_gradient(rng):
  vectors = rng.normal(size=(2, 1, 5, 3)).astype(np.float32)
  by_query, by_key = jax.grad(patch_nce, (0, 1))(*vectors, 0.07)
  assert jnp.abs(by_query).min() > 0 and not by_key.any()


# Heads and places


def test_heads_of_the_papers_generator_have_the_right_size():
  choices = tiny.choices(
    make_generator=nets.constructor(nets.GENERATORS, 'resnet', 'generator')
  )._replace(contrast=PAPER)
  net, nce = made(choices)
  batch = jax.ShapeDtypeStruct((1, 256, 256, 3), np.float32)
  shapes = jax.eval_shape(lambda key: nce.init(key, net, batch), KEY)
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 560_384
  channels = {
    tap: params['linear_1']['kernel'].shape[0] for tap, params in shapes.items()
  }
  taps = ('padded', 'down_1', 'down_2', 'block_0', 'block_4')
  assert channels == dict(zip(taps, (3, 128, 256, 256, 256)))


@pytest.mark.parametrize('channels', [3, 128, 256])
def test_heads_are_initialised_as_in_the_paper(channels):
  head = heads.ProjectionHead()
  params = head.init(KEY, jnp.zeros((1, 1, channels)))['params']
  for layer in params.values():
    expected = 0.02 * math.sqrt(2 / sum(layer['kernel'].shape))
    assert float(layer['kernel'].std()) == pytest.approx(expected, rel=0.1)
    assert abs(float(layer['kernel'].mean())) < 0.1 * expected
    assert not layer['bias'].any()


def test_positions_are_distinct_and_shared_by_a_batch(rng):
  shape = (2, 5, 7, 3)
  for count, expected in ((8, 8), (35, 35), (256, 35)):
    places = np.asarray(heads.draw_places(KEY, shape, count))
    assert len(set(places.tolist())) == len(places) == expected
    assert places.min() >= 0 and places.max() < 35
  others = heads.draw_places(jax.random.PRNGKey(1), shape, 256)
  assert (others != places).any()
  features = jnp.asarray(rng.normal(size=shape))
  picked = heads.at_places(features, np.array([0, 9, 34]))
  for i, (row, column) in enumerate([(0, 0), (1, 2), (4, 6)]):
    np.testing.assert_array_equal(picked[:, i], features[:, row, column])


def test_devices_that_share_a_batch_use_the_same_positions(rng):
  """The mean loss over four devices equals the loss on one device."""
  net, nce = made(options(taps='down_1'))
  params = nce.init(KEY, net, tiny.batch()['a'])
  features = jnp.asarray(rng.normal(size=(2, 4, 8, 8, 8)), jnp.float32)
  params = jax.tree.map(lambda x: 30 * x, params)

  def loss(query, source, axis=None):
    query, source = {'down_1': query}, {'down_1': source}
    return parallel.mean(nce.loss(query, params, source, params, KEY), axis)

  four = jax.shard_map(
    partial(loss, axis=parallel.AXIS),
    mesh=parallel.make_mesh(4),
    in_specs=(P(parallel.AXIS), P(parallel.AXIS)),
    out_specs=P(),
  )
  one = float(loss(*features))
  assert float(jax.jit(four)(*features)) == pytest.approx(one, rel=1e-5)
  other = nce._replace(patches=4)  # now the loss depends on the positions
  query, source = ({'down_1': x} for x in features)
  assert abs(float(other.loss(query, params, source, params, KEY)) - one) > 0.01


# Features


def test_the_papers_features_are_the_default():
  assert made(options())[1].taps == (
    'padded',
    'down_1',
    'down_2',
    'block_0',
    'block_4',
  )
  assert made(options(), with_input=False)[1].taps == (
    'down_1',
    'down_2',
    'block_0',
    'block_4',
  )
  for depth, blocks in ((1, ['block_0']), (3, ['block_0', 'block_2'])):
    choices = tiny.choices(make_generator=tiny.generator(depth=depth))
    assert list(made(choices)[1].taps[3:]) == blocks
  assert made(options(taps='block_1,padded'))[1].taps == ('block_1', 'padded')


def count(jaxpr, name):
  """Counts equations of a primitive, including those of inner programs."""
  return sum(
    (equation.primitive.name == name)
    + sum(count(x, name) for x in jaxprs_in_params(equation.params))
    for equation in jaxpr.eqns
  )


def test_no_layer_after_the_last_feature_runs():
  net, nce = made(options())
  images = tiny.batch(size=1)['a']
  params = tiny.init(net, images)

  def whole(images):
    return nets.apply(net, params, images, taps=nce.taps)

  def features(images):
    return contrast.encode(net, params, [images], nce.taps, KEY, None)[0]

  convolutions = [
    count(jax.make_jaxpr(f)(images).jaxpr, 'conv_general_dilated')
    for f in (whole, features)
  ]
  # block_4 is the fifth of six; a transposed convolution counts as four.
  assert convolutions == [4 + 2 * 4 + 2 * 6, 3 + 2 * 5]
  output, expected = whole(images)
  tiny.assert_close(features(images), expected, 1e-6)
  tiny.assert_close(output, nets.apply(net, params, images), 1e-6)
  assert {x.shape[1:] for x in expected.values()} == {
    (22, 22, 3),
    (8, 8, 8),
    (4, 4, 16),
  }


def test_generators_without_features_are_refused():
  unet = tiny.choices(make_generator=tiny.generator('unet'))
  with pytest.raises(UserError, match='PatchNCE: use generator.name=resnet$'):
    made(unet)
  with pytest.raises(UserError, match="taps: .* no 'block_6': choose from pad"):
    made(options(taps='down_1,block_6'))


@pytest.mark.parametrize('name', CONTRASTED)
def test_every_method_refuses_generators_without_features(name):
  with pytest.raises(UserError, match='generator.name=resnet') as e:
    tiny.method(name, make_generator=tiny.generator('unet'))
  assert '\n' not in str(e.value)


def configured(pictures, **overrides):
  config, _ = flags.parse(
    tiny.command('folder', 'x', pictures, **overrides), ''
  )
  return config


def test_a_temperature_of_0_is_refused(pictures):
  config = configured(pictures, method='cut', contrast__temperature=0.0)
  with pytest.raises(UserError, match='contrast.temperature=0.0 must be above'):
    build_run(config)


# Methods


def one_way(name):
  """Options for the smallest number of directions that a method can train."""
  takes_one = 'directions' in METHODS[name].options
  return {'directions': ('a2b',)} if takes_one else {}


def convolutions(name, **weights):
  """Number of convolutions in a method's compiled generator loss."""
  method, batch = tiny.method(name, **one_way(name), **weights), tiny.batch()
  params = jax.eval_shape(method.init, KEY, batch)
  program = jax.jit(lambda p: method.generator_loss(p, batch, KEY)[0])
  text = program.lower(params).compile().as_text()
  return text.count(' convolution(') + text.count('__onednn$convolution')


# Convolutions of a generator with one block: all, and those up to the block. On
# a CPU a transposed convolution is four, one per phase of its output.
WHOLE, ENCODER = 6 + 2 * 4, 5
COSTS = {  # convolutions that a term alone needs
  ('cut', 'nce'): ENCODER,
  ('cut', 'nce_identity'): WHOLE + ENCODER,
  ('fastcut', 'nce'): 2 * ENCODER,  # the input is encoded once more
  ('dclgan', 'nce'): 2 * ENCODER,  # in two directions
}


@pytest.mark.parametrize('name,weight', COSTS)
def test_a_zero_weight_costs_no_compute(name, weight):
  without = convolutions(name, **{weight: 0.0})
  assert convolutions(name) - without == COSTS[name, weight]


def test_every_contrastive_method_is_in_the_table_of_costs():
  assert {name for name, _ in COSTS} == set(CONTRASTED)


@pytest.mark.parametrize('name', CONTRASTED)
def test_without_adversarial_loss_no_discriminator_learns(name):
  method = tiny.method(name, adversarial=0.0, **one_way(name))
  opts, batch = tiny.optimizers(), tiny.batch()
  state = jax.eval_shape(lambda: tiny.create(method, opts))
  assert not state.pool
  step = train_step.make_step(method, opts, ema_decay=0.9)
  _, metrics = jax.eval_shape(step, state, batch)
  assert not [x for x in metrics if x.startswith(('disc', 'score'))]


@pytest.mark.parametrize('name', CONTRASTED)
def test_only_dclgan_accepts_domains_of_different_channels(name):
  """CUT encodes translations with the generator, whose input is domain A."""
  make = partial(tiny.method, name, channels={'a': 1, 'b': 3}, **NO_IDENTITY)
  if name != 'dclgan':
    with pytest.raises(
      UserError, match='loss.nce=0.5 needs equal data.channels'
    ):
      make()
    return
  method, batch = make(), tiny.batch(channels={'a': 1, 'b': 3})
  params = jax.eval_shape(method.init, KEY, batch)
  loss, _ = jax.eval_shape(method.generator_loss, params, batch, KEY)
  assert loss.shape == ()


def test_fastcut_mirrors_whole_batches_in_half_of_the_steps():
  method, batch = tiny.method('fastcut', directions=('a2b',)), tiny.batch()
  params = jax.tree.map(lambda x: 10 * x, method.init(KEY, batch))
  plain, mirrored = (
    method.translate(params, x, 'a2b')
    for x in (batch['a'], batch['a'][:, :, ::-1])
  )

  @jax.jit
  def samples(key):
    return method.generate(params, batch, key)['samples']['b']

  fell = []
  for key in jax.random.split(KEY, 32):
    fake = samples(key)
    errors = [float(jnp.abs(fake - x).max()) for x in (plain, mirrored)]
    assert min(errors) < 1e-5 and max(errors) > 1e-3
    fell.append(errors[1] < errors[0])
  assert 6 < sum(fell) < 26


@pytest.mark.parametrize('name', tiny.plain_first(CONTRASTED, 'cut'))
def test_bfloat16_keeps_losses_and_heads_in_float32(name):
  def values(dtype):
    choices = tiny.choices(
      make_generator=tiny.generator(
        dtype=dtype, init_type='xavier', init_gain=1.0
      ),
      make_discriminator=tiny.discriminator(dtype=dtype),
      **one_way(name),
    )
    method = METHODS[name].make(choices._replace(contrast=PAPER))
    batch = tiny.batch(size=2)
    params = method.init(KEY, batch)

    @jax.jit
    def found(params):
      loss, (samples, terms) = method.generator_loss(params, batch, KEY)
      _, (_, scores) = method.discriminator_loss(params, batch, samples, KEY)
      return terms | scores | {'loss': loss}

    return found(params)

  exact, rounded = values(jnp.float32), values(jnp.bfloat16)
  assert {x.dtype for x in rounded.values()} == {jnp.dtype(jnp.float32)}
  assert float(rounded['loss']) == pytest.approx(float(exact['loss']), rel=0.02)
  assert any(float(x) != float(exact[term]) for term, x in rounded.items())


def test_heads_of_bfloat16_features_are_float32(rng):
  features = jnp.asarray(rng.normal(size=(1, 4, 3)), jnp.bfloat16)
  head = heads.ProjectionHead(8)
  params = head.init(KEY, features)
  assert head.apply(params, features).dtype == jnp.float32
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype('float32')}


# Runs


@pytest.fixture(scope='module')
def ran(pictures, tmp_path_factory):
  """Run folder, run and result of CUT, trained for two steps."""
  folder = tmp_path_factory.mktemp('ran')
  config = configured(
    pictures,
    method='cut',
    directions='a2b',
    loss__nce_identity=0.0,
    contrast__features=8,
    train__ema_decay=0.9,
    train__batch_size=2,
    schedule__constant=1,
    schedule__decay=1,
    log__checkpoint_every=1,
  )
  saved.save(folder / 'model', config, {'gen': {}, 'disc': {}})
  (folder / 'model' / saved.CONFIG).rename(folder / saved.CONFIG)
  run = build_run(config)
  return folder, run, train(run, folder, say=lambda line: None)


def test_heads_are_trained_and_not_averaged(ran):
  _, run, result = ran
  state, method = result.state, run.method
  assert set(state.params) == {'gen', 'disc', 'heads'} == set(state.opt_state)
  assert jax.tree.structure(state.ema) == jax.tree.structure(
    state.params['gen']
  )
  assert state.translation_params() == {'gen': state.ema}
  start = tiny.create(method, run.optimizers, seed=run.seed).params['heads']
  moved = jax.tree.map(
    lambda x, y: float(jnp.abs(x - y).max()), state.params['heads'], start
  )
  assert min(jax.tree.leaves(moved)) > 0


def test_heads_are_restored_from_a_checkpoint(ran):
  folder, run, result = ran
  fresh = tiny.create(run.method, run.optimizers, seed=5)
  fresh = parallel.replicate(fresh, parallel.make_mesh(1))
  checkpoints = Checkpoints(Workdir(folder).checkpoints)
  state = checkpoints.restore(fresh, lambda line: None)
  checkpoints.close()
  tiny.assert_same(jax.device_get(state), jax.device_get(result.state))


def test_heads_are_not_part_of_a_model(ran, tmp_path):
  folder, _, result = ran
  model = load_model(folder)
  assert set(model.params) == {'gen', 'disc'}
  tiny.assert_same(model.params['gen'], jax.device_get(result.state.ema))
  params = jax.device_get(result.state.params)
  with_heads = model.params | {'heads': params['heads']}
  assert Model(model.config, with_heads).checksum() == model.checksum()
  saved.save(tmp_path, model.config, model.params)
  again = load_model(tmp_path)
  assert again.checksum() == model.checksum()
  assert set(again.params) == {'gen', 'disc'}
  states = pth.states(model.config.to_dict(), with_heads)
  assert sorted(name[0] for name in states) == ['D', 'G']  # no net_F
