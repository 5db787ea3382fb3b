"""Loss functions, which take arrays and return unweighted scalars.

Scores are the outputs of a discriminator [batch, height, width, 1], without a
sigmoid.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

Scores = Float[Array, 'batch height width 1']

_LOGIT_95 = math.log(0.95 / 0.05)  # the logit of the probability 0.95


class AdversarialLoss(NamedTuple):
  """The losses that generator and discriminator minimise (paper, Eq. 1).

  Attributes:
    generator: scores of translations -> loss of a generator whose images should
      be judged as real, a scalar.
    generator_fake: scores of translations -> loss of a generator whose images
      should be judged as fake (BiGAN), a scalar.
    discriminator: (scores of real images, scores of translations) -> loss of
      the discriminator, a scalar.
    penalized: whether the discriminator needs the gradient penalty.
    won: (mean score of real images, mean score of translations), both numbers
      -> True if the discriminator tells them apart almost without loss.
  """

  generator: Callable[[Scores], Float[Array, '']]
  generator_fake: Callable[[Scores], Float[Array, '']]
  discriminator: Callable[[Scores, Scores], Float[Array, '']]
  penalized: bool = False
  won: Callable[[float, float], bool] = lambda real, fake: False


def l1(
  x: Float[Array, '*shape'], y: Float[Array, '*shape']
) -> Float[Array, '']:
  """Mean absolute difference of two arrays (paper, Eq. 2)."""
  return jnp.mean(jnp.abs(x - y))


# The logit of a position with itself among the negatives, before the division
# by the temperature: it removes the position from the negatives.
_ITSELF = -10.0


def patch_nce(
  query: Float[Array, 'batch places features'],
  key: Float[Array, 'batch places features'],
  temperature: float,
) -> Float[Array, '']:
  """PatchNCE, a contrastive loss (Park et al. 2020, Eq. 3 and 4).

  The vector of each position in `query` should be more similar to the vector of
  the same position in `key` than to those of other positions of the same image.
  Vectors without information on their position give a loss of the logarithm of
  the number of positions.

  Args:
    query: unit vectors of some positions of translations, [batch, places,
      features].
    key: unit vectors of the same positions of the inputs of the translations.
      No gradient is computed with respect to `key`.
    temperature: divisor of the similarities, 0.07 in the paper.

  Returns:
    The cross-entropy, averaged over positions and images, a scalar.
  """
  key = lax.stop_gradient(key)
  highest = lax.Precision.HIGHEST
  alike = jnp.einsum('bqf,bkf->bqk', query, key, precision=highest)
  own = jnp.einsum('bqf,bqf->bq', query, key, precision=highest)[..., None]
  itself = jnp.eye(query.shape[1], dtype=bool)[None]
  others = jnp.where(itself, _ITSELF, alike)
  logits = jnp.concatenate([own, others], axis=-1) / temperature
  return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[..., 0])


def gradient_penalty(
  critic: Callable[[Float[Array, 'batch height width channels']], Scores],
  real: Float[Array, 'batch height width channels'],
  fake: Float[Array, 'batch height width channels'],
  mix: Float[Array, ' batch'],
) -> Float[Array, '']:
  """Gradient penalty of WGAN-GP (Gulrajani et al. 2017, Eq. 3).

  The gradient is that of the critic's mean score of an image, taken at random
  mixtures of real images and translations. Its norm should be 1. The result
  does not include the paper's weight 10.

  Args:
    critic: images [batch, height, width, channels] -> scores.
    real: real images [batch, height, width, channels].
    fake: translations [batch, height, width, channels].
    mix: share of the real image in each mixture, [batch] in [0, 1].

  Returns:
    The squared difference between the gradient's norm and 1, averaged over the
    batch, a scalar.
  """
  mix = mix[:, None, None, None]
  between = mix * real + (1 - mix) * fake

  def total(images):
    scores = critic(images)
    return jnp.mean(scores, axis=(1, 2, 3)).sum()

  squares = jnp.sum(jax.grad(total)(between) ** 2, axis=(1, 2, 3))
  # The root's slope is infinite at 0, so a constant critic would give NaN.
  return jnp.mean((jnp.sqrt(squares + 1e-16) - 1) ** 2)


def _halves(generator, real, fake, swap=jnp.negative, **options):
  """Makes an `AdversarialLoss` from functions of single scores.

  Args:
    generator: score -> loss of a generator that should be judged as real.
    real: score -> loss of the discriminator for a real image.
    fake: score -> loss of the discriminator for a translation.
    swap: score -> score with the meanings of real and fake exchanged.
    **options: other fields of `AdversarialLoss`.
  """
  return AdversarialLoss(
    generator=lambda scores: jnp.mean(generator(scores)),
    generator_fake=lambda scores: jnp.mean(generator(swap(scores))),
    discriminator=lambda on_real, on_fake: (
      jnp.mean(real(on_real)) + jnp.mean(fake(on_fake))
    ),
    **options,
  )


def _beyond(least_real, most_fake):
  """Returns an `AdversarialLoss.won` with bounds for the two mean scores."""
  return lambda real, fake: real > least_real and fake < most_fake


ADVERSARIAL_LOSSES = {
  # Mao et al. 2017, with the targets 1 and 0 of the CycleGAN paper (Sec. 4).
  'lsgan': _halves(
    generator=lambda s: (s - 1) ** 2,
    real=lambda s: (s - 1) ** 2,
    fake=lambda s: s**2,
    swap=lambda s: 1 - s,
    won=_beyond(0.95, 0.05),
  ),
  # Goodfellow et al. 2014 on logits, with the non-saturating generator loss.
  'vanilla': _halves(
    generator=lambda s: jax.nn.softplus(-s),
    real=lambda s: jax.nn.softplus(-s),
    fake=jax.nn.softplus,
    won=_beyond(_LOGIT_95, -_LOGIT_95),
  ),
  # Lim and Ye 2017.
  'hinge': _halves(
    generator=lambda s: -s,
    real=lambda s: jax.nn.relu(1 - s),
    fake=lambda s: jax.nn.relu(1 + s),
    won=_beyond(1, -1),
  ),
  # Gulrajani et al. 2017. A critic's scores are unbounded, so it never wins.
  'wgangp': _halves(
    generator=lambda s: -s,
    real=lambda s: -s,
    fake=lambda s: s,
    penalized=True,
  ),
}
