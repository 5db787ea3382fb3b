"""CUT's projection heads: map features of pixels to unit vectors.

See Park et al. 2020. The heads compute in float32 with the highest precision,
because at first their outputs are tiny and are divided by their length.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from cyclegan_jax.common.errors import lookup
from cyclegan_jax.nets.layers import INITS

_TINY = 1e-7  # added to the length of a vector before the division


class ProjectionHead(nn.Module):
  """Two-layer network that maps features of pixels to unit vectors.

  Maps [batch, pixels, channels] to float32 [batch, pixels, features] by a
  linear layer, ReLU and a linear layer, then divides each vector by its
  Euclidean length.

  Attributes:
    features: number of outputs of each layer.
    init_type: a key of `layers.INITS`, for the weights; biases start at 0.
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
    # The derivative of the root is infinite at 0.
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
  """Selects the features of some pixels, the same pixels for each image.

  Args:
    features: [batch, height, width, channels].
    places: pixel indices `row * width + column`, integers [pixels], without
      repetitions.

  Returns:
    [batch, pixels, channels].
  """
  flat = features.reshape(len(features), -1, features.shape[-1])
  # With unique indices the gradient is a plain scatter, without sums.
  return flat.at[:, places].get(unique_indices=True, mode='promise_in_bounds')


def mirrored_places(places, shape):
  """Returns where some pixels are after mirroring from left to right.

  Args:
    places: pixel indices `row * width + column`, integers [pixels].
    shape: shape of the features, (batch, height, width, channels).

  Returns:
    The indices of the same pixels in the mirrored features, [pixels].
  """
  width = shape[2]
  row, column = jnp.divmod(places, width)
  return row * width + (width - 1 - column)


def draw_places(key, shape, count):
  """Draws random pixels without repetition.

  Args:
    key: a random key, the same on all devices.
    shape: shape of the features, (batch, height, width, channels).
    count: number of pixels to draw; at most height x width are drawn.

  Returns:
    Pixel indices `row * width + column` for `at_places`, [min(count, height x
    width)].
  """
  size = shape[1] * shape[2]
  # The positions of the largest random numbers: faster than a permutation.
  numbers = jax.random.bits(key, (size,))
  return lax.top_k(numbers, min(count, size))[1]
