"""Builder of the Method of a config: its networks, losses and weights."""

import jax.numpy as jnp

from cyclegan_jax import nets
from cyclegan_jax.common.directions import DIRECTIONS
from cyclegan_jax.common.errors import lookup
from cyclegan_jax.methods import METHODS
from cyclegan_jax.methods.base import Choices
from cyclegan_jax.methods.losses import ADVERSARIAL_LOSSES
from cyclegan_jax.nets.generators import REMATS

_DIRECTIONS = {'both': DIRECTIONS} | {d: (d,) for d in DIRECTIONS}
_DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def build_method(config, platform=None):
  """Returns the `Method` of a config, with its networks and losses.

  Args:
    config: a ConfigDict.
    platform: platform that the networks are compiled for ('cpu', 'gpu' or
      'tpu'); None for JAX's default backend.

  Raises:
    UserError: an unknown name, or options that do not fit each other.
  """
  dtype = lookup(_DTYPES, config.dtype, 'dtype')
  lookup(REMATS, config.generator.remat, 'generator.remat')
  weights = dict(config.loss)
  adversarial = lookup(
    ADVERSARIAL_LOSSES,
    weights.pop('adversarial_loss'),
    'loss.adversarial_loss',
  )
  choices = Choices(
    nets.constructor(
      nets.GENERATORS,
      what='generator',
      dtype=dtype,
      platform=platform,
      **config.generator,
    ),
    nets.constructor(
      nets.DISCRIMINATORS,
      what='discriminator',
      dtype=dtype,
      platform=platform,
      **config.discriminator,
    ),
    {'a': config.data.channels_a, 'b': config.data.channels_b},
    adversarial,
    weights,
    lookup(_DIRECTIONS, config.directions, 'directions'),
    dict(config.contrast),
  )
  return lookup(METHODS, config.method, 'method').make(choices)
