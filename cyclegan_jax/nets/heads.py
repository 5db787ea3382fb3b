"""Projection heads: features at some places to unit vectors (Park et al. 2020).

Everything is float32 at the highest precision: outputs are tiny at first, and
are divided by their length.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from cyclegan_jax.common.errors import lookup
from cyclegan_jax.nets.layers import INITS

_TINY = 1e-7  # beside the length that vectors are divided by


class ProjectionHead(nn.Module):
  """Features [batch, places, any] -> unit vectors [batch, places, features].

  Linear, ReLU, linear, then divided by the Euclidean length.

  Attributes:
    features: of both layers.
    init_type: a name of `layers.INITS`; biases start at 0.
    init_gain: standard deviation or gain of the init.
  """

  features: int = 256
  init_type: str = 'xavier'
  init_gain: float = 0.02

  @nn.compact
  def __call__(self, x):
    x = x.astype(jnp.float32)
    x = nn.relu(self._linear('linear_1')(x))
    x = self._linear('linear_2')(x)
    # The root's slope is infinite at 0.
    length = jnp.sqrt(jnp.sum(x**2, -1, keepdims=True) + _TINY**2)
    return x / (length + _TINY)

  def _linear(self, name):
    init = lookup(INITS, self.init_type, 'init_type')(self.init_gain)
    return nn.Dense(
      self.features,
      kernel_init=init,
      precision=lax.Precision.HIGHEST,
      name=name,
    )


def at_places(features, places):
  """The features at some places, the same of every picture.

  Args:
    features: [batch, height, width, channels].
    places: [places], different indices of pixels, row by row.

  Returns:
    [batch, places, channels].
  """
  flat = features.reshape(len(features), -1, features.shape[-1])
  # Each once: the gradient is laid down, where it would have to be added up.
  return flat.at[:, places].get(unique_indices=True, mode='promise_in_bounds')


def mirrored_places(places, shape):
  """The same places of features that are mirrored from left to right.

  Args:
    places: [places], as `draw_places` returns them.
    shape: of the features, [batch, height, width, channels].
  """
  width = shape[2]
  row, column = jnp.divmod(places, width)
  return row * width + (width - 1 - column)


def draw_places(key, shape, count):
  """Different pixels at random: min(count, height x width) of them.

  Args:
    key: a random key that all devices share.
    shape: of the features, [batch, height, width, channels].
    count: of pixels to draw.

  Returns:
    [places], for `at_places`.
  """
  size = shape[1] * shape[2]
  # The largest of as many random numbers: faster than a permutation of all.
  numbers = jax.random.bits(key, (size,))
  return lax.top_k(numbers, min(count, size))[1]
