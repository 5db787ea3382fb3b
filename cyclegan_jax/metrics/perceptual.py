"""LPIPS: how different two pictures look (Zhang et al. 2018), version 0.1."""

import jax
import jax.numpy as jnp
import numpy as np

from cyclegan_jax.common.errors import lookup
from cyclegan_jax.pretrained import networks, weights

# name -> (its weights, the network)
NETWORKS = {
  'alexnet': (weights.alexnet, networks.alexnet),
  'vgg16': (weights.vgg16, networks.vgg16),
}


class LPIPS:
  """The distance of pictures by the features of a pretrained network.

  Args:
    net: 'alexnet', which people agree with best, or 'vgg16'.

  Raises:
    UserError: another network, or its weights can't be had.
  """

  def __init__(self, net='alexnet'):
    load, network = lookup(NETWORKS, net, 'net')
    loaded = jax.tree.map(jnp.asarray, load())
    self._trunk, self._channels = loaded['trunk'], loaded['lpips']

    def features(trunk, images):
      outputs = network(trunk, images)
      return {name: normalised(outputs[name]) for name in loaded['lpips']}

    def distances(trunk, channels, x, y):
      return distance(channels, features(trunk, x), features(trunk, y))

    self._features = jax.jit(features)
    self._distance = jax.jit(distance)
    self._distances = jax.jit(distances)

  def __call__(self, x, y):
    """Distances of pairs; 0 for equal pictures, seldom above 1.

    Args:
      x: images [b, h, w, 3 or 1] in [-1, 1].
      y: images of the same shape.

    Returns:
      [b], float32.

    Raises:
      UserError: pictures too small for the network, or neither gray nor RGB.
      ValueError: x and y are of different shapes.
    """
    if np.shape(x) != np.shape(y):
      raise ValueError(f'pictures of {np.shape(x)} and {np.shape(y)}')
    x, y = _float(x), _float(y)
    return np.asarray(self._distances(self._trunk, self._channels, x, y))

  def features(self, images):
    """`normalised` features {output: [b, h, w, channels]} of images."""
    return self._features(self._trunk, _float(images))

  def score(self, x, y):
    """Distances [b] of what `features` gave, float32."""
    return np.asarray(self._distance(self._channels, x, y))


def normalised(features):
  """Every pixel's channels [..., channels] divided by their length."""
  length = jnp.sqrt(jnp.sum(features**2, -1, keepdims=True))
  return features / (length + 1e-10)


def distance(channels, x, y):
  """LPIPS of normalised features (Zhang et al. 2018, Eq. 1).

  Args:
    channels: {output: [channels]}, how much each counts.
    x: {output: [b, h, w, channels]}.
    y: as x.

  Returns:
    [b], the sum over outputs of what is a mean over pixels.
  """
  return sum(
    jnp.einsum('bhwc,c->bhw', (x[name] - y[name]) ** 2, weight).mean((1, 2))
    for name, weight in channels.items()
  )


def _float(images):
  return jnp.asarray(images, jnp.float32)
