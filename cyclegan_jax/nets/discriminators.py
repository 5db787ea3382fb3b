"""Discriminators: networks that score each patch or pixel of an image.

They map images [batch, height, width, channels] to scores [batch, out_height,
out_width, 1], without a sigmoid. A discriminator defines its layers once, in
terms of the verbs of `nets.verbs`.
"""

import jax.numpy as jnp
from flax import linen as nn

from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.common.option import option
from cyclegan_jax.nets.generators import DOWNSAMPLINGS
from cyclegan_jax.nets.layers import Net
from cyclegan_jax.nets.readers import forward


class Discriminator(Net):
  """Base class of discriminators.

  Maps images [batch, height, width, channels] to scores, float32 [batch,
  out_height, out_width, 1], without a sigmoid.
  """

  def layers(self, do, x):
    """Applies all layers, from the image to the scores.

    Args:
      do: a `verbs.Reader`, whose methods (verbs) are called, one per layer.
      x: the image in the form the reader works with.

    Returns:
      The scores in the form the reader works with.
    """
    raise NotImplementedError

  @nn.compact
  def __call__(self, x, train=False, axis=None):
    do = forward(self, train, axis)
    return do.finish(self.layers(do, do.start(x))).astype(jnp.float32)


class PatchGAN(Discriminator):
  """PatchGAN C64-C128-C256-C512 and a convolution to one score (Sec. 7.2).

  With `depth` 1, 2, 3, 4, 5 each score sees a square of 16, 34, 70, 142, 286
  pixels; with downsampling='blur' and depth 3, as in CUT, 84 pixels. Calling
  the network raises `UserError` if the images are too small for a score.

  Attributes:
    depth: number of layers that halve height and width (`n_layers` in the
      official code).
    downsampling: a key of `generators.DOWNSAMPLINGS`.
  """

  sequential = 'model'

  depth: int = 3
  downsampling: str = option(
    'stride',
    'stride (CycleGAN) | blur (CUT: antialiased): downsampling of patchgan',
  )

  @property
  def multiple(self):
    return 2**self.depth

  def __call__(self, x, train=False, axis=None):
    height, width = x.shape[1:3]
    if min(height, width) // 2**self.depth < 3:
      raise UserError(
        f'discriminator.depth={self.depth} is too deep for {height}x{width} '
        f'pictures: use data.crop_size >= {3 * 2**self.depth} or a smaller '
        'depth'
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
  """PixelGAN: 1x1 convolutions that score each pixel by its colour only.

  Maps images [batch, height, width, channels] to scores, float32 [batch,
  height, width, 1], without a sigmoid.
  """

  sequential = 'net'
  depth = 0  # no annotation, so not an option: there are no strided layers

  def layers(self, do, x):
    x = do.activate(
      do.conv(x, 'conv_0', self.width, 1, bias=True), 'leaky_relu'
    )
    x = do.normalize(do.conv(x, 'conv_1', self.width * 2, 1), 'norm_1')
    return do.conv(do.activate(x, 'leaky_relu'), 'last', 1, 1)
