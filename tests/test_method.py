"""Every method: its terms, what costs nothing, what it translates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from cyclegan_jax import nets
from cyclegan_jax.errors import UserError
from cyclegan_jax.losses import ADVERSARIAL_LOSSES
from cyclegan_jax.methods import METHODS

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
def test_translate_gives_pictures_of_the_other_domain(name):
  channels = {'a': 1, 'b': 3}
  method = tiny.method(name, channels=channels, identity_a=0.0, identity_b=0.0)
  batch = tiny.batch(channels=channels)
  params = method.init(KEY, batch)
  for direction in method.directions:
    source, target = direction.split('2')
    output = method.translate(params, batch[source], direction)
    assert output.shape == (4, 16, 16, channels[target])
    assert float(jnp.abs(output).max()) <= 1


def cyclegan_by_hand():
  """The paper's Eq. 1-3 and Sec. 5.2 written out, with LSGAN."""
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


def test_cyclegan_generator_terms_are_the_papers():
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


def test_cyclegan_discriminator_terms_are_the_papers():
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
  """How many convolutions the compiled generator loss still has."""
  params = jax.eval_shape(method.init, KEY, batch)

  def loss(p):
    return method.generator_loss(p, batch, KEY)[0]

  text = jax.jit(loss).lower(params).compile().as_text()
  return text.count(' convolution(') + text.count('__onednn$convolution')


def test_a_zero_weight_costs_no_compute():
  batch = tiny.batch(size=1)
  one_block = 8  # convolutions of a generator with one residual block
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
def test_each_weight_scales_its_terms_alone(name):
  batch = tiny.batch(size=1)
  once, twice = tiny.method(), tiny.method(**{name: 2 * tiny.WEIGHTS[name]})
  params = once.init(KEY, batch)
  terms = [m.generator_loss(params, batch, KEY)[1][1] for m in (once, twice)]
  for term, value in terms[0].items():
    mine = term == name or (name == 'adversarial' and term.startswith('adv_'))
    factor = 2 if mine else 1
    assert float(terms[1][term]) == pytest.approx(factor * float(value), 1e-6)


def test_the_discriminator_factor_and_the_penalty_have_weights():
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
  with pytest.raises(UserError, match='identity_a.*set it to 0'):
    tiny.method(channels={'a': 1, 'b': 3})
