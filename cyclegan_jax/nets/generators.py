"""Generators: the ResNet of CycleGAN and the U-Net of pix2pix."""

import jax.numpy as jnp
from flax import linen as nn

from cyclegan_jax.nets.layers import (
  Dropout,
  Net,
  crop_to,
  pad_to_multiple,
  reflect_pad,
)


class Generator(Net):
  """A generator [b, h, w, any] -> [b, h, w, out_channels] in (-1, 1).

  Sizes that the network cannot halve often enough are mirrored at the edges
  and cropped back, so any height and width comes out as it went in.

  Attributes:
    out_channels: channels of the pictures made.
    depth: residual blocks of the ResNet; levels of the U-Net.
    dropout: rate of dropout, 0 for none; the official rate is 0.5.
    upsampling: 'transpose' (the paper's) or 'resize' (no checkerboard).
  """

  out_channels: int = 3
  depth: int = 9
  dropout: float = 0.0
  upsampling: str = 'transpose'


class ResnetGenerator(Generator):
  """c7s1-64, d128, d256, depth x R256, u128, u64, c7s1-3 (paper, Sec. 7.2)."""

  @nn.compact
  def __call__(self, x, train=False, axis=None):
    height, width = x.shape[1:3]
    x = pad_to_multiple(x, 4)
    x = self.conv(reflect_pad(x, 3), self.width, 7, 'first')
    x = nn.relu(self.normalize(x, 'first_norm', axis))
    for i in (1, 2):
      x = self.conv(
        x, self.width * 2**i, 3, f'down_{i}', strides=(2, 2), padding=1
      )
      x = nn.relu(self.normalize(x, f'down_{i}_norm', axis))
    for i in range(self.depth):
      x = x + self._residual(x, f'block_{i}', train, axis)
    for i in (1, 2):
      features = self.width * 2 ** (2 - i)
      x = self.upsample(x, features, 3, f'up_{i}', how=self.upsampling)
      x = nn.relu(self.normalize(x, f'up_{i}_norm', axis))
    x = self.conv(reflect_pad(x, 3), self.out_channels, 7, 'last', bias=True)
    return crop_to(nn.tanh(x.astype(jnp.float32)), height, width)

  def _residual(self, x, name, train, axis):
    features = x.shape[-1]
    x = self.conv(reflect_pad(x, 1), features, 3, f'{name}_conv_1')
    x = nn.relu(self.normalize(x, f'{name}_norm_1', axis))
    x = Dropout(self.dropout)(x, train, axis)
    x = self.conv(reflect_pad(x, 1), features, 3, f'{name}_conv_2')
    return self.normalize(x, f'{name}_norm_2', axis)


class UnetGenerator(Generator):
  """`depth` halvings and doublings with skip connections (pix2pix, Sec. 6.1.1).

  Widths are width x 1, 2, 4, 8, 8, ...; dropout acts on the up path where
  both sides are 8 wide, the innermost level excepted.
  """

  depth: int = 8

  @nn.compact
  def __call__(self, x, train=False, axis=None):
    height, width = x.shape[1:3]
    x = pad_to_multiple(x, 2**self.depth)
    widths = [self.width * min(2**i, 8) for i in range(self.depth)]
    skips = []
    for i, features in enumerate(widths):
      if i > 0:
        skips.append(x)
        x = nn.leaky_relu(x, 0.2)
      x = self.conv(x, features, 4, f'down_{i}', strides=(2, 2), padding=1)
      if 0 < i < self.depth - 1:
        x = self.normalize(x, f'down_{i}_norm', axis)
    for i in reversed(range(1, self.depth)):
      x = self.upsample(
        nn.relu(x), widths[i - 1], 4, f'up_{i}', how=self.upsampling
      )
      x = self.normalize(x, f'up_{i}_norm', axis)
      if 4 <= i < self.depth - 1:
        x = Dropout(self.dropout)(x, train, axis)
      x = jnp.concatenate([skips.pop(), x], axis=-1)
    x = self.upsample(
      nn.relu(x), self.out_channels, 4, 'up_0', how=self.upsampling, bias=True
    )
    return crop_to(nn.tanh(x.astype(jnp.float32)), height, width)
