"""Tests of the training step of every method.

Device counts are compared with SGD: Adam turns the rounding noise of zero
gradients (a bias before instance norm) into steps of full size.
"""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from jax.sharding import PartitionSpec as P

from cyclegan_jax import nets
from cyclegan_jax.common import hosts
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.methods import METHODS
from cyclegan_jax.methods.losses import ADVERSARIAL_LOSSES
from cyclegan_jax.nets import layers
from cyclegan_jax.nets.layers import NORMS
from cyclegan_jax.training import image_pool, parallel, share
from cyclegan_jax.training import step as train_step

# A method of one generator and one discriminator, which is traced quickly.
_small = partial(tiny.method, 'simgan', directions=('a2b',))

# {name: constructor of a method}, with every entry of the tables once.
VARIANTS = (
  {f'method {m}': partial(tiny.method, m) for m in METHODS}
  | {f'loss {x}': partial(_small, loss=x) for x in ADVERSARIAL_LOSSES}
  | {
    f'generator {g}': partial(
      _small, make_generator=tiny.generator(g, width=1, dropout=0.5)
    )
    for g in nets.GENERATORS
  }
  | {
    f'discriminator {d}': partial(
      _small,
      make_discriminator=tiny.discriminator(d, depth=int(d == 'patchgan')),
    )
    for d in nets.DISCRIMINATORS
  }
  | {
    'dtype bfloat16': partial(
      tiny.method,
      make_generator=tiny.generator(dtype=jnp.bfloat16),
      make_discriminator=tiny.discriminator(dtype=jnp.bfloat16),
    )
  }
  | {
    f'norm {n}': partial(
      _small,
      make_generator=tiny.generator(norm=n),
      make_discriminator=tiny.discriminator(norm=n),
    )
    for n in NORMS
  }
)


@pytest.mark.parametrize('variant', VARIANTS)
def test_every_output_is_averaged(variant):
  """The check of shard_map rejects values that differ between devices."""
  method, opts = VARIANTS[variant](), tiny.optimizers()
  state = jax.eval_shape(partial(tiny.create, method, opts))
  step = train_step.make_step(method, opts, ema_decay=0.9)
  mapped = jax.shard_map(
    partial(step, axis=parallel.AXIS),
    mesh=parallel.make_mesh(4),
    in_specs=(P(), P(parallel.AXIS)),
    out_specs=P(),
  )
  after, metrics = jax.eval_shape(mapped, state, tiny.batch())
  assert jax.tree.structure(after) == jax.tree.structure(state)
  assert all(x.shape == () for x in metrics.values())


def test_the_check_of_averages_fails_if_an_average_is_missing(monkeypatch):
  monkeypatch.setattr(parallel, 'mean', lambda tree, axis: tree)
  with pytest.raises(ValueError, match='varying'):
    test_every_output_is_averaged('method cyclegan')


# One run for each part that differs between devices: dropout, batch statistics,
# the mix of the gradient penalty. The method compiles quickly.
_plain = partial(tiny.method, 'simgan')
COMPARED = {
  'dropout': partial(_plain, make_generator=tiny.generator(dropout=0.5)),
  'batch norm': partial(
    _plain,
    make_generator=tiny.generator(norm='batch'),
    make_discriminator=tiny.discriminator(norm='batch'),
  ),
  'wgangp': partial(_plain, loss='wgangp'),
}


@pytest.mark.parametrize('variant', tiny.plain_first(COMPARED, 'batch norm'))
def test_the_device_count_is_invisible(variant):
  method = COMPARED[variant]()
  one, metrics_one = tiny.run(method, devices=1)
  four, metrics_four = tiny.run(method, devices=4)
  tiny.assert_close(metrics_four, metrics_one, 1e-4)
  tiny.assert_close(four, one, 1e-5)


def rounding(state, tolerance):
  """Returns the tolerance of a comparison after three steps.

  The first gradients of projection heads are in the hundreds, because their
  vectors are tiny before they are normalised: rounding changes parameters by
  1e-5 after a step, and by 7e-5 after three.
  """
  return 2e-4 if 'heads' in state.params else tolerance


def small(name):
  """Returns a method of U-Nets, which compile quickly, unless it has PatchNCE.

  PatchNCE compares features of a ResNet.
  """
  if 'contrast.taps' in METHODS[name].options:
    return tiny.method(name)
  return tiny.method(name, make_generator=tiny.generator('unet'))


@functools.cache
def plain_run(name, devices):
  """Returns `tiny.run` of a small method; runs once for all tests."""
  return tiny.run(small(name), devices=devices)


@pytest.mark.parametrize('name', tiny.plain_first(sorted(METHODS), 'cyclegan'))
def test_the_device_count_is_invisible_to_every_method(name):
  one, metrics_one = plain_run(name, devices=1)
  four, metrics_four = plain_run(name, devices=4)
  tolerance = rounding(one, 1e-5)
  tiny.assert_close(metrics_four, metrics_one, max(tolerance, 1e-4))
  tiny.assert_close(four, one, tolerance)


@pytest.mark.parametrize('name', tiny.EVERY_METHOD)
def test_pmap_equals_shard_map(name):
  shard_map, _ = plain_run(name, devices=4)
  pmap, _ = tiny.run(small(name), devices=4, how='pmap')
  tiny.assert_close(pmap, shard_map, 1e-6)


@pytest.mark.parametrize('name', tiny.EVERY_METHOD)
def test_a_batch_in_parts_gives_an_equal_update(name, monkeypatch):
  drawn = []

  # Random numbers are drawn per part, so the test makes all of them equal.
  def same(key, count, axis):
    drawn.append(count)
    return jnp.zeros((count, 2), jnp.uint32)

  def shared(key, parts):
    return jnp.tile(key, (parts, 1))

  monkeypatch.setattr(layers, 'example_keys', same)
  monkeypatch.setattr(share, 'part_keys', shared)
  halves = tiny.run(small(name), devices=2, accumulate=2)
  # Without randomness the number of devices makes no difference.
  whole = (
    tiny.run(small(name), devices=2) if drawn else plain_run(name, devices=4)
  )
  tiny.assert_close(halves[0], whole[0], 1e-5)
  tiny.assert_close(halves[1], whole[1], 1e-4)


@pytest.mark.parametrize('how', tiny.plain_first(parallel.MAPS, 'shard_map'))
def test_several_steps_in_one_call_equal_single_steps(how):
  method = tiny.method('simgan')
  singly = tiny.run(method, steps=4, devices=2, how=how)
  several = tiny.run(method, steps=2, several=2, devices=2, how=how)
  tiny.assert_close(several, singly, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('name', tiny.EVERY_METHOD)
def test_batches_joined_in_one_pass_give_an_equal_update(name):
  method = tiny.method(
    name,
    make_generator=tiny.generator(platform='tpu'),
    make_discriminator=tiny.discriminator(platform='tpu'),
  )
  ours, plains = tiny.run(method), tiny.run(tiny.method(name))
  tiny.assert_close(ours, plains, rounding(plains[0], 3e-5))


def test_batches_are_joined_only_if_results_stay_equal():
  def joins(net, size=64, **options):
    return net(platform='tpu', **options)().joins((1, size, size, 3))

  generator = partial(tiny.generator, 'resnet')
  assert joins(generator) and joins(tiny.discriminator)
  for net in (generator, tiny.discriminator):
    assert not joins(net, norm='batch')
    assert not net(platform='cpu')().joins((1, 64, 64, 3))
  assert not joins(generator, dropout=0.5)


@pytest.mark.slow  # test_train.py tests this for a complete run
@pytest.mark.parametrize('name', tiny.EVERY_METHOD)
def test_equal_seeds_give_bit_identical_steps(name):
  first, metrics_first = plain_run(name, devices=1)
  method = small(name)
  step = tiny.mapped_step(method)
  second, metrics_second = tiny.run(method, step=step)
  tiny.assert_same(second, first)
  tiny.assert_same(metrics_second, metrics_first)
  other, _ = tiny.run(method, step=step, seed=1)
  for group in ('gen', 'disc'):
    leaves = jax.tree.leaves(
      jax.tree.map(
        lambda x, y: np.abs(x - y).max(),
        other.params[group],
        first.params[group],
      )
    )
    assert max(leaves) > 0


def test_a_step_follows_the_official_order():
  """Updates G with the old D, then D with pooled fakes of the old G."""
  method, opts = tiny.method(), tiny.optimizers(lr=0.01)
  state = tiny.create(method, opts, pool_size=2)
  batch = tiny.batch(size=1)
  step = jax.jit(train_step.make_step(method, opts, ema_decay=0.75))
  after, metrics = step(state, batch)
  key = jax.random.PRNGKey(9)  # without dropout the key changes nothing

  def generator_loss(gen):
    return method.generator_loss(state.params | {'gen': gen}, batch, key)

  grads, (samples, terms) = jax.jit(jax.grad(generator_loss, has_aux=True))(
    state.params['gen']
  )
  gen = optax.apply_updates(
    state.params['gen'], jax.tree.map(lambda g: -0.01 * g, grads)
  )
  tiny.assert_close(after.params['gen'], gen, 1e-6)
  tiny.assert_close({k: metrics[k] for k in terms}, terms, 1e-5)

  def discriminator_loss(disc):
    params = {'gen': gen, 'disc': disc}
    return method.discriminator_loss(params, batch, samples, key)[0]

  grads = jax.jit(jax.grad(discriminator_loss))(state.params['disc'])
  disc = optax.apply_updates(
    state.params['disc'], jax.tree.map(lambda g: -0.01 * g, grads)
  )
  tiny.assert_close(after.params['disc'], disc, 1e-6)
  for domain in ('a', 'b'):
    np.testing.assert_allclose(
      after.pool[domain].images[0], samples[domain][0], atol=1e-6
    )
  ema = jax.tree.map(
    lambda old, new: 0.75 * old + 0.25 * new, state.params['gen'], gen
  )
  tiny.assert_close(after.ema, ema, 1e-6)
  assert int(after.step) == 1
  np.testing.assert_array_equal(after.key, state.key)


def test_discriminators_are_trained_on_images_of_the_pool(monkeypatch):
  seen = []

  def spy(pool, images, key):
    seen.append(images.shape)
    return pool, jnp.zeros_like(images)

  method, opts = tiny.method(), tiny.optimizers()
  state = tiny.create(method, opts)
  zeros = {d: jnp.zeros((2, 16, 16, 3)) for d in ('a', 'b')}
  batch = tiny.batch(size=2)
  _, (_, scores) = jax.jit(method.discriminator_loss)(
    state.params, batch, zeros, state.key
  )
  monkeypatch.setattr(image_pool, 'exchange', spy)
  _, metrics = jax.jit(train_step.make_step(method, opts))(state, batch)
  assert seen == [(2, 16, 16, 3)] * 2
  assert float(metrics['score_fake_a']) == pytest.approx(
    float(scores['score_fake_a']), abs=1e-6
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  'weights',
  [
    {'adversarial': 0.0},
    {'cycle_a': 0.0, 'cycle_b': 0.0, 'identity_a': 0.0, 'identity_b': 0.0},
    {'cycle_b': 0.0, 'identity_a': 0.0, 'identity_b': 0.0},
  ],
  ids=['cycle alone', 'GAN alone', 'GAN and forward cycle'],
)
def test_ablations_of_the_paper_train(weights):
  method, opts = tiny.method(**weights), tiny.optimizers('adam')
  state = tiny.create(method, opts)
  after, metrics = jax.jit(train_step.make_step(method, opts))(
    state, tiny.batch(size=1)
  )
  moved = jax.tree.map(
    lambda x, y: float(jnp.abs(x - y).max()), after.params, state.params
  )
  assert max(jax.tree.leaves(moved['gen'])) > 0
  judged = bool(weights.get('adversarial', 1.0))
  assert (max(jax.tree.leaves(moved['disc'])) > 0) == judged
  assert ('disc_a' in metrics) == judged
  assert all(np.isfinite(float(x)) for x in metrics.values())


def test_bfloat16_trains_float32_parameters():
  method, opts = VARIANTS['dtype bfloat16'](), tiny.optimizers('adam')
  state = tiny.create(method, opts)
  after, metrics = jax.jit(train_step.make_step(method, opts, ema_decay=0.9))(
    state, tiny.batch(size=1)
  )
  assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(
    lambda x: x.dtype, state
  )
  full = tiny.method()
  _, (_, exact) = jax.jit(full.generator_loss)(
    state.params, tiny.batch(size=1), state.key
  )
  for name, value in exact.items():
    assert float(metrics[name]) == pytest.approx(float(value), rel=0.05)
    assert metrics[name].dtype == jnp.float32


def test_the_step_is_compiled_once_and_its_state_is_donated():
  method, opts = tiny.method(), tiny.optimizers()
  mesh = parallel.make_mesh(1)
  state = parallel.replicate(tiny.create(method, opts), mesh)
  step = parallel.map_step(train_step.make_step(method, opts), mesh)
  after, _ = step(state, tiny.batch())
  assert all(x.is_deleted() for x in jax.tree.leaves(state.params))
  with jax.no_tracing():  # the second step reuses the program of the first
    jax.block_until_ready(step(after, tiny.batch(1)))


def test_invalid_device_counts_and_batch_sizes_are_refused():
  with pytest.raises(UserError, match='parallel.devices=9: .* 4 cpu'):
    parallel.make_mesh(9)
  with pytest.raises(UserError, match='batch_size=6 is not divisible by the 4'):
    parallel.local_batch_size(6, parallel.make_mesh(4))
  assert parallel.local_batch_size(8, parallel.make_mesh(4)) == 8
  with pytest.raises(UserError, match="mean 'pmap'"):
    parallel.map_step(lambda s, b: s, parallel.make_mesh(1), 'pmapp')


def test_pmap_is_refused_in_several_processes(monkeypatch):
  monkeypatch.setattr(hosts, 'processes', lambda: 2)
  with pytest.raises(UserError, match='shard_map'):
    parallel.map_step(lambda s, b: s, parallel.make_mesh(1), 'pmap')
