"""LPIPS version 0.1, a perceptual distance of images (Zhang et al. 2018)."""

import jax
import jax.numpy as jnp
import numpy as np

from cyclegan_jax.common.errors import lookup
from cyclegan_jax.pretrained import networks, weights

# name -> (function that loads the weights, the network)
NETWORKS = {
  'alexnet': (weights.alexnet, networks.alexnet),
  'vgg16': (weights.vgg16, networks.vgg16),
}


class LPIPS:
  """Perceptual distance of two images, by features of a pretrained network.

  A call returns the distances of two batches. `features` and `score` split the
  call, so that features can be kept and used again.

  Args:
    net: 'alexnet' (agrees best with human judgements) or 'vgg16'.

  Raises:
    UserError: `net` is unknown, or its weights are not installed or damaged.
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
    """Returns the distance of each pair of images of two batches.

    Args:
      x: images [batch, height, width, 3 or 1] in [-1, 1].
      y: images of the same shape and range; `y[i]` is compared with `x[i]`.

    Returns:
      Distances, float32 [batch]: 0 for equal images, rarely above 1.

    Raises:
      UserError: the images are too small for the network, or neither gray nor
        RGB.
      ValueError: x and y have different shapes.
    """
    if np.shape(x) != np.shape(y):
      raise ValueError(
        f'pictures of shapes {np.shape(x)} and {np.shape(y)}: must be equal'
      )
    x, y = _float(x), _float(y)
    return np.asarray(self._distances(self._trunk, self._channels, x, y))

  def features(self, images):
    """Returns the normalised features of images, the input of `score`.

    Args:
      images: [batch, height, width, 3 or 1] in [-1, 1].

    Returns:
      {layer: features [batch, layer_height, layer_width, layer_channels]}, each
      pixel's feature vector of length 1 (see `normalised`).

    Raises:
      UserError: the images are too small for the network, or neither gray nor
        RGB.
    """
    return self._features(self._trunk, _float(images))

  def score(self, x, y):
    """Returns the distances of two batches, given their features.

    Args:
      x: a result of `features`.
      y: the result of `features` for images of the same shape.

    Returns:
      Distances, float32 [batch].
    """
    return np.asarray(self._distance(self._channels, x, y))


def normalised(features):
  """Scales the feature vector of each pixel to length 1.

  Args:
    features: float [..., channels].

  Returns:
    Float [..., channels]; vectors of length 0 stay 0.
  """
  length = jnp.sqrt(jnp.sum(features**2, -1, keepdims=True))
  return features / (length + 1e-10)


def distance(channels, x, y):
  """Returns the LPIPS of normalised features (Zhang et al. 2018, Eq. 1).

  Args:
    channels: learned weights of the channels of each layer, {layer:
      [channels]}.
    x: normalised features, {layer: [batch, height, width, channels]}.
    y: normalised features of the same layers and shapes.

  Returns:
    Distances [batch]: weighted squared differences, averaged over the pixels of
    each layer and summed over layers.
  """
  return sum(
    jnp.einsum('bhwc,c->bhw', (x[name] - y[name]) ** 2, weight).mean((1, 2))
    for name, weight in channels.items()
  )


def _float(images):
  return jnp.asarray(images, jnp.float32)
