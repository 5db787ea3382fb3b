"""Discriminators: maps of scores, one score a patch or a pixel.

Images [b, h, w, any] -> scores [b, h', w', 1], no sigmoid. Each tells its
layers once, in the verbs of `nets.verbs`.
"""

import jax.numpy as jnp
from flax import linen as nn

from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.common.option import option
from cyclegan_jax.nets.generators import DOWNSAMPLINGS
from cyclegan_jax.nets.layers import Net
from cyclegan_jax.nets.readers import forward


class Discriminator(Net):
  """A discriminator [b, h, w, any] -> [b, h', w', 1]."""

  def layers(self, do, x):
    """All layers from the picture to the scores; see `Generator.layers`."""
    raise NotImplementedError

  @nn.compact
  def __call__(self, x, train=False, axis=None):
    do = forward(self, train, axis)
    return do.finish(self.layers(do, do.start(x))).astype(jnp.float32)


class PatchGAN(Discriminator):
  """C64-C128-C256-C512 and a conv to one score (paper, Sec. 7.2).

  With `depth` 1, 2, 3, 4, 5 a score sees 16, 34, 70, 142, 286 pixels squared;
  with blurs, as in CUT, 84 at depth 3.

  Attributes:
    depth: halvings (n_layers in the official code).
    downsampling: a name of `DOWNSAMPLINGS`.

  Raises:
    UserError: the picture is too small to leave a score.
  """

  sequential = 'model'

  depth: int = 3
  downsampling: str = option(
    'stride', 'stride (CycleGAN) | blur (CUT: antialiased), of patchgan'
  )

  @property
  def multiple(self):
    return 2**self.depth

  def __call__(self, x, train=False, axis=None):
    height, width = x.shape[1:3]
    if min(height, width) // 2**self.depth < 3:
      raise UserError(
        f'discriminator.depth={self.depth} is too deep for {height}x{width} '
        f'pictures: use crop_size >= {3 * 2**self.depth} or a smaller depth'
      )
    return super().__call__(x, train, axis)

  def layers(self, do, x):
    stride = lookup(
      DOWNSAMPLINGS, self.downsampling, 'discriminator.downsampling'
    )
    for i in range(self.depth + 1):
      halves = i < self.depth
      x = do.conv(
        x,
        f'conv_{i}',
        self.width * min(2**i, 8),
        4,
        stride=stride if halves else 1,
        padding=1,
        bias=True if i == 0 else None,
      )
      if i > 0:
        x = do.normalize(x, f'norm_{i}')
      x = do.activate(x, 'leaky_relu')
      if halves and stride == 1:
        x = do.blur_down(x)
    return do.conv(x, 'last', 1, 4, padding=1, bias=True)


class PixelGAN(Discriminator):
  """1x1 convolutions: every pixel is judged by its colour alone."""

  sequential = 'net'
  depth = 0  # no option of it: it has no strided layers

  def layers(self, do, x):
    x = do.activate(
      do.conv(x, 'conv_0', self.width, 1, bias=True), 'leaky_relu'
    )
    x = do.normalize(do.conv(x, 'conv_1', self.width * 2, 1), 'norm_1')
    return do.conv(do.activate(x, 'leaky_relu'), 'last', 1, 1)
