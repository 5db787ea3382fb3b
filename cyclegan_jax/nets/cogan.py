"""CoGAN's networks: a domain's own layers beside those that both share."""

import jax.numpy as jnp
from flax import linen as nn

from cyclegan_jax.common.errors import lookup
from cyclegan_jax.nets.forward import Forward
from cyclegan_jax.nets.generators import UPSAMPLINGS
from cyclegan_jax.nets.layers import Net, reflect_pad

_LEAST = 4  # pixels of the side a picture grows from


class CoGenerator(Net):
  """Noise z [b, 1, 1, n] -> images [b, height, width, out_channels] in (-1, 1).

  Grows from about 4x4 pixels; all but the last two layers are tied (Liu and
  Tuzel 2016, Sec. 3).

  Attributes:
    domain: 'a' or 'b', whose own layers to use.
    size: (height, width) of the images.
    out_channels: channels of the images.
    upsampling: as a generator's.
  """

  domain: str = 'a'
  size: tuple[int, int] = (64, 64)
  out_channels: int = 3
  upsampling: str = 'transpose'

  @property
  def levels(self):
    """How often height and width double."""
    levels = 0
    while all(
      s % 2 ** (levels + 1) == 0 and s >> (levels + 1) >= _LEAST
      for s in self.size
    ):
      levels += 1
    return levels

  def _features(self, level):
    return self.width * min(2**level, 8)

  @property
  def seed_features(self):
    """Channels of the first layer, which tell the size it draws."""
    height, width = (s >> self.levels for s in self.size)
    return height * width * self._features(self.levels)

  @nn.compact
  def __call__(self, z, train=False, axis=None):
    upsample = lookup(UPSAMPLINGS, self.upsampling, 'generator.upsampling')
    do = Forward(self, train, axis)
    height, width = (s >> self.levels for s in self.size)
    x = self.conv(z, self.seed_features, 1, 'seed', bias=True)
    x = x.reshape(len(z), height, width, -1)
    x = nn.relu(self.normalize(x, 'seed_norm', axis))
    for level in reversed(range(self.levels)):
      name = f'up_{level}' if level else f'up_{level}_{self.domain}'
      x = upsample(do, x, name, self._features(level), 4)
      x = nn.relu(self.normalize(x, f'{name}_norm', axis))
    name = f'last_{self.domain}'
    x = self.conv(reflect_pad(x, 1), self.out_channels, 3, name, bias=True)
    return nn.tanh(x.astype(jnp.float32))


class CoDiscriminator(Net):
  """Images [b, h, w, any] -> scores [b, h', w', 1]; tied behind one layer.

  Attributes:
    domain: 'a' or 'b', whose own layer to use.
    depth: strided layers.
  """

  domain: str = 'a'
  depth: int = 3

  @nn.compact
  def __call__(self, x, train=False, axis=None):
    del train
    for i in range(max(1, self.depth)):
      features = self.width * min(2**i, 8)
      name = f'conv_{i}' if i else f'conv_{i}_{self.domain}'
      x = self.conv(
        x, features, 4, name, strides=2, padding=(1, 1), bias=i == 0 or None
      )
      if i:
        x = self.normalize(x, f'norm_{i}', axis)
      x = nn.leaky_relu(x, 0.2)
    return self.conv(x, 1, 3, 'last', padding=(1, 1), bias=True).astype(
      jnp.float32
    )
