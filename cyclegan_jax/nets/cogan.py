"""CoGAN's networks, which share most layers between the two domains."""

import jax.numpy as jnp
from flax import linen as nn

from cyclegan_jax.common.errors import lookup
from cyclegan_jax.nets.forward import Forward
from cyclegan_jax.nets.generators import UPSAMPLINGS
from cyclegan_jax.nets.layers import Net, reflect_pad

_LEAST = 4  # least side in pixels of the generator's first layer


class CoGenerator(Net):
  """CoGAN's generator: makes images of a domain from noise.

  Maps noise [batch, 1, 1, n] to images, float32 [batch, height, width,
  out_channels] in (-1, 1). Images grow from about 4x4 pixels. Both domains
  share the parameters of all layers but the last two (Liu and Tuzel 2016, Sec.
  3).

  Attributes:
    domain: 'a' or 'b', the domain of the images.
    size: (height, width) of the images.
    out_channels: channels of the images.
    upsampling: a key of `generators.UPSAMPLINGS`.
  """

  domain: str = 'a'
  size: tuple[int, int] = (64, 64)
  out_channels: int = 3
  upsampling: str = 'transpose'

  @property
  def levels(self):
    """Number of layers that double height and width."""
    levels = 0
    while all(
      s % 2 ** (levels + 1) == 0 and s >> (levels + 1) >= _LEAST
      for s in self.size
    ):
      levels += 1
    return levels

  def _features(self, level):
    """Returns the number of channels at a level; level 0 is the image size."""
    return self.width * min(2**level, 8)

  @property
  def seed_features(self):
    """Number of output channels of the first layer.

    The layer maps the noise to one pixel of height x width x c channels, which
    is then reshaped to the smallest image, [height, width, c].
    """
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
  """CoGAN's discriminator: scores of image patches of a domain.

  Maps images [batch, height, width, channels] to scores, float32 [batch,
  out_height, out_width, 1], without a sigmoid. Both domains share the
  parameters of all layers but the first.

  Attributes:
    domain: 'a' or 'b', the domain of the images.
    depth: number of layers with stride 2; 0 means 1.
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
