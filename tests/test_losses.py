"""Tests of losses against numbers computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cyclegan_jax.methods.losses import ADVERSARIAL_LOSSES, gradient_penalty, l1

REAL = jnp.array([0.5, 2.0]).reshape(1, 1, 2, 1)
FAKE = jnp.array([-1.0, 1.5]).reshape(1, 1, 2, 1)


def softplus(x):
  return np.log1p(np.exp(x))


EXPECTED = {
  # ((-1 - 1)^2 + (1.5 - 1)^2) / 2; (0.25 + 1) / 2 + (1 + 2.25) / 2
  'lsgan': (2.125, 2.25),
  'vanilla': (
    (softplus(1) + softplus(-1.5)) / 2,
    (softplus(-0.5) + softplus(-2) + softplus(-1) + softplus(1.5)) / 2,
  ),
  # -mean(fake); (0.5 + 0) / 2 + (0 + 2.5) / 2
  'hinge': (-0.25, 1.5),
  # -mean(fake); mean(fake) - mean(real)
  'wgangp': (-0.25, -1.0),
}


@pytest.mark.parametrize('name', sorted(ADVERSARIAL_LOSSES))
def test_adversarial_losses_equal_a_count_by_hand(name):
  loss = ADVERSARIAL_LOSSES[name]
  generator, discriminator = EXPECTED[name]
  assert float(loss.generator(FAKE)) == pytest.approx(generator)
  assert float(loss.discriminator(REAL, FAKE)) == pytest.approx(discriminator)


@pytest.mark.parametrize('name', sorted(ADVERSARIAL_LOSSES))
def test_adversarial_gradients_have_the_right_sign(name):
  loss = ADVERSARIAL_LOSSES[name]
  zero = jnp.zeros((1, 1, 1, 1))
  assert float(jax.grad(loss.generator)(zero).sum()) < 0
  on_real, on_fake = jax.grad(loss.discriminator, (0, 1))(zero, zero)
  assert float(on_real.sum()) < 0 <= float(on_fake.sum())


def test_vanilla_is_finite_for_extreme_logits():
  loss = ADVERSARIAL_LOSSES['vanilla']
  scores = jnp.full((1, 1, 1, 1), -1e4)
  assert float(loss.generator(scores)) == 1e4
  assert float(loss.discriminator(-scores, scores)) == 0


def test_only_wgangp_has_a_gradient_penalty():
  assert [n for n, x in ADVERSARIAL_LOSSES.items() if x.penalized] == ['wgangp']


@pytest.mark.parametrize(
  'name, real, fake',
  # Scores of 0.95 and 0.05 of the loss's targets; a sigmoid of 3 is 0.953.
  [('lsgan', 0.96, 0.04), ('vanilla', 3.0, -3.0), ('hinge', 1.1, -1.1)],
)
def test_a_discriminator_wins_if_sure_of_real_and_fake(name, real, fake):
  won = ADVERSARIAL_LOSSES[name].won
  assert won(real, fake)
  middle = (real + fake) / 2
  assert not won(real, middle) and not won(middle, fake)
  assert not won(fake, real) and not won(np.nan, np.nan)


def test_a_critic_never_wins():
  assert not ADVERSARIAL_LOSSES['wgangp'].won(1e3, -1e3)


def test_l1_is_the_mean():
  x = jnp.array([[0.0, 1.0], [2.0, -1.0]])
  assert float(l1(x, jnp.zeros((2, 2)))) == 1.0


def test_gradient_penalty_of_a_linear_critic_equals_a_count_by_hand():
  # The mean of two scores 3x and 5x of a pixel has the gradient 4.
  def critic(x):
    return jnp.concatenate([3 * x, 5 * x], axis=2)

  real, fake = jnp.ones((2, 1, 1, 1)), jnp.zeros((2, 1, 1, 1))
  penalty = gradient_penalty(critic, real, fake, jnp.array([0.0, 1.0]))
  assert float(penalty) == pytest.approx((4 - 1) ** 2)


def test_gradient_penalty_interpolates_by_the_given_share():
  # Critic x^2: the gradient at the mix m * 1 + (1 - m) * 3 is 2 (3 - 2 m).
  real, fake = jnp.ones((1, 1, 1, 1)), jnp.full((1, 1, 1, 1), 3.0)
  for mix, expected in ((0.0, 25.0), (0.5, 9.0), (1.0, 1.0)):
    penalty = gradient_penalty(lambda x: x**2, real, fake, jnp.array([mix]))
    assert float(penalty) == pytest.approx(expected)


def test_gradient_penalty_of_a_flat_critic_has_a_finite_gradient():
  images = jnp.ones((1, 2, 2, 1))

  def penalty(weight):
    return gradient_penalty(
      lambda x: weight * x, images, images, jnp.array([0.5])
    )

  assert float(penalty(0.0)) == pytest.approx(1.0)
  assert jnp.isfinite(jax.grad(penalty)(0.0))
