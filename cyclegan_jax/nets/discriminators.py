"""Discriminators: maps of scores, one score a patch or a pixel.

Images [b, h, w, any] -> scores [b, h', w', 1], no sigmoid.
"""

import jax.numpy as jnp
from flax import linen as nn

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.nets.layers import Net


class PatchGAN(Net):
  """C64-C128-C256-C512 and a conv to one score (paper, Sec. 7.2).

  With `depth` 1, 2, 3, 4, 5 a score sees 16, 34, 70, 142, 286 pixels squared.

  Attributes:
    depth: strided layers (n_layers in the official code).

  Raises:
    UserError: the picture is too small to leave a score.
  """

  depth: int = 3

  @nn.compact
  def __call__(self, x, train=False, axis=None):
    height, width = x.shape[1:3]
    if min(height, width) // 2**self.depth < 3:
      raise UserError(
        f'discriminator.depth={self.depth} is too deep for {height}x{width} '
        f'pictures: use crop_size >= {3 * 2**self.depth} or a smaller depth'
      )
    for i in range(self.depth + 1):
      stride = 2 if i < self.depth else 1
      x = self.conv(
        x,
        self.width * min(2**i, 8),
        4,
        f'conv_{i}',
        strides=stride,
        padding=(1, 1),
        bias=True if i == 0 else None,
      )
      if i > 0:
        x = self.normalize(x, f'norm_{i}', axis)
      x = nn.leaky_relu(x, 0.2)
    return self.conv(x, 1, 4, 'last', padding=(1, 1), bias=True).astype(
      jnp.float32
    )


class PixelGAN(Net):
  """1x1 convolutions: every pixel is judged by its colour alone."""

  depth = 0  # no option of it: it has no strided layers

  @nn.compact
  def __call__(self, x, train=False, axis=None):
    x = nn.leaky_relu(self.conv(x, self.width, 1, 'conv_0', bias=True), 0.2)
    x = self.conv(x, self.width * 2, 1, 'conv_1')
    x = nn.leaky_relu(self.normalize(x, 'norm_1', axis), 0.2)
    return self.conv(x, 1, 1, 'last').astype(jnp.float32)
