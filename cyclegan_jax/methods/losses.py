"""Adversarial losses and L1: arrays in, scalars out, no weights inside.

Scores are discriminator outputs [batch, h, w, 1] before any sigmoid.
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
  """What generator and discriminator minimise.

  Attributes:
    generator: scores of fakes -> scalar.
    generator_fake: the same for a generator that wants its pictures to be
      called fake (BiGAN).
    discriminator: (scores of reals, scores of fakes) -> scalar.
    penalized: whether the discriminator needs the gradient penalty.
    won: (mean score of reals, mean score of fakes), numbers -> whether the
      discriminator tells them apart with next to no loss.
  """

  generator: Callable[[Scores], Float[Array, '']]
  generator_fake: Callable[[Scores], Float[Array, '']]
  discriminator: Callable[[Scores, Scores], Float[Array, '']]
  penalized: bool = False
  won: Callable[[float, float], bool] = lambda real, fake: False


def l1(
  x: Float[Array, '*shape'], y: Float[Array, '*shape']
) -> Float[Array, '']:
  """Mean absolute difference (paper, Eq. 2)."""
  return jnp.mean(jnp.abs(x - y))


# The logit of a place with itself among the others, before the temperature.
_ITSELF = -10.0


def patch_nce(
  query: Float[Array, 'batch places features'],
  key: Float[Array, 'batch places features'],
  temperature: float,
) -> Float[Array, '']:
  """PatchNCE: finds a place of one picture among places of another.

  (Park et al. 2020, Eq. 3 and 4.) The place's own vector in `key` is to be more
  like the query than those of the other places of the same picture are. Vectors
  that tell nothing of their place cost the logarithm of the number of places.

  Args:
    query: unit vectors of a translation.
    key: those of the picture it was made from, no gradient is taken by them.
    temperature: that similarities are divided by, 0.07 in the paper.

  Returns:
    The cross-entropy, mean over places and pictures.
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
  """WGAN-GP's penalty (Gulrajani et al. 2017, Eq. 3), without its weight 10.

  The critic's value of a picture is the mean of its scores, which is what the
  loss averages; its gradient's norm is pulled to 1 between real and fake.

  Args:
    critic: images [b, h, w, c] -> scores.
    real: [b, h, w, c].
    fake: [b, h, w, c].
    mix: [b] in [0, 1], the share of the real picture.

  Returns:
    Mean over the batch of (|gradient| - 1)^2.
  """
  mix = mix[:, None, None, None]
  between = mix * real + (1 - mix) * fake

  def total(images):
    scores = critic(images)
    return jnp.mean(scores, axis=(1, 2, 3)).sum()

  squares = jnp.sum(jax.grad(total)(between) ** 2, axis=(1, 2, 3))
  # The root's slope is infinite at 0: a flat critic must not give NaN.
  return jnp.mean((jnp.sqrt(squares + 1e-16) - 1) ** 2)


def _halves(generator, real, fake, swap=jnp.negative, **options):
  return AdversarialLoss(
    generator=lambda scores: jnp.mean(generator(scores)),
    generator_fake=lambda scores: jnp.mean(generator(swap(scores))),
    discriminator=lambda on_real, on_fake: (
      jnp.mean(real(on_real)) + jnp.mean(fake(on_fake))
    ),
    **options,
  )


def _beyond(least_real, most_fake):
  return lambda real, fake: real > least_real and fake < most_fake


ADVERSARIAL_LOSSES = {
  # Mao et al. 2017, with the paper's targets 1 and 0 (Sec. 4).
  'lsgan': _halves(
    generator=lambda s: (s - 1) ** 2,
    real=lambda s: (s - 1) ** 2,
    fake=lambda s: s**2,
    swap=lambda s: 1 - s,
    won=_beyond(0.95, 0.05),
  ),
  # Goodfellow et al. 2014 on logits; the generator's non-saturating form.
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
  # Gulrajani et al. 2017. A critic's scores have no end: it never wins.
  'wgangp': _halves(
    generator=lambda s: -s,
    real=lambda s: -s,
    fake=lambda s: s,
    penalized=True,
  ),
}
