"""Generators: the ResNet of CycleGAN and CUT, and the U-Net of pix2pix.

A generator defines its layers once, in terms of the verbs of `nets.verbs`. The
forward pass, translation in tiles, exports and PyTorch's parameter names are
derived from this definition.
"""

import jax.numpy as jnp
from flax import linen as nn

from cyclegan_jax.common.errors import lookup
from cyclegan_jax.common.option import option
from cyclegan_jax.nets.conv import forms
from cyclegan_jax.nets.forward import Enough
from cyclegan_jax.nets.layers import Net, crop_to, pad_to_multiple
from cyclegan_jax.nets.readers import forward

# name -> activations that the backward pass recomputes instead of storing.
REMATS = {
  'none': 'only the cheap operations of the residual blocks',
  'blocks': 'all operations of the residual blocks',
  'all': 'the whole network, in each of its passes',
}


def _transpose(do, x, name, features, kernel, bias=None):
  return do.conv_transpose(x, name, features, kernel, bias=bias)


def _resize(do, x, name, features, kernel, bias=None):
  # Nearest-neighbour upsampling and a convolution avoid checkerboard artifacts
  # (Odena et al. 2016).
  del kernel
  return do.conv(do.pad(do.double(x), 1), name, features, 3, bias=bias)


def _blur(do, x, name, features, kernel, bias=None):
  del kernel
  return do.conv(do.blur_up(x), name, features, 3, padding=1, bias=bias)


# name -> function (do, x, name, features, kernel, bias) that doubles the size
UPSAMPLINGS = {'transpose': _transpose, 'resize': _resize, 'blur': _blur}
# name -> stride of the downsampling convolutions; if 1, a blur after each
# convolution halves the size.
DOWNSAMPLINGS = {'stride': 2, 'blur': 1}


class Generator(Net):
  """Base class of generators.

  Maps images [batch, height, width, channels] in [-1, 1] to float32 [batch,
  height, width, out_channels] in (-1, 1). Height and width can have any value:
  images are padded by reflection to a multiple of `multiple`, and the output is
  cropped.

  Attributes:
    out_channels: channels of the output.
    depth: residual blocks of the ResNet; levels of the U-Net.
    dropout: rate of dropout, 0 for none; the official rate is 0.5.
    upsampling: a key of `UPSAMPLINGS`.
    remat: a key of `REMATS`: activations that are recomputed in the backward
      pass to save memory.
    remats: keys of `REMATS` that have an effect on this network.
    taps: names of the features that a loss may use, in their order.
    activations: {upsampling: peak memory of translating a whole picture}. The
      unit is one activation of the picture's size and `width` channels.
      Measured on a CPU (docs/performance.md).
  """

  remats = ('none', 'all')
  taps = ()
  activations = {}

  out_channels: int = 3
  depth: int = 9
  dropout: float = 0.0
  upsampling: str = 'transpose'
  remat: str = 'none'

  @property
  def peak(self):
    """Peak memory of translating a whole picture.

    The unit is one activation of the picture's size and `width` channels.
    """
    return self.activations[self.upsampling]

  @property
  def multiple(self):
    """Number to whose multiples heights and widths are padded."""
    raise NotImplementedError

  def layers(self, do, x):
    """Applies all layers, from the padded image to the last convolution.

    Args:
      do: a `verbs.Reader`, whose methods (verbs) are called, one per layer.
      x: the image in the form the reader works with.

    Returns:
      The output before tanh, in the form the reader works with.
    """
    raise NotImplementedError

  @nn.compact
  def __call__(self, x, train=False, axis=None, taps=(), only_taps=False):
    height, width = x.shape[1:3]
    do = forward(self, train, axis, taps, only_taps)
    try:
      x = do.start(pad_to_multiple(x, self.multiple))
      x = do.finish(self.layers(do, x))
    except Enough:
      return do.features
    x = crop_to(nn.tanh(x.astype(jnp.float32)), height, width)
    return (x, do.features) if taps else x

  def joins(self, shape):
    # Dropout masks depend on an image's position in the batch.
    return super().joins(shape) and not self.dropout


class ResnetGenerator(Generator):
  """ResNet c7s1-64, d128, d256, depth x R256, u128, u64, c7s1-3 (Sec. 7.2).

  Attributes:
    downsampling: a key of `DOWNSAMPLINGS`.
    padding: mode of `verbs.Reader.pad` in the residual blocks, 'reflect' or
      'replicate'.
    blurred: {upsampling: peak memory}, used in place of `activations` if
      downsampling='blur'. The blur halves the size only after each convolution,
      which needs more memory.
  """

  sequential = 'model'
  remats = ('none', 'blocks', 'all')
  activations = {'transpose': 6, 'resize': 5, 'blur': 6}
  blurred = {'transpose': 9, 'resize': 7, 'blur': 7}

  downsampling: str = option(
    'stride',
    'stride (CycleGAN) | blur (CUT: antialiased): downsampling of resnet',
  )
  padding: str = option(
    'reflect',
    'reflect | replicate: padding in the residual blocks of resnet '
    '(padding_type)',
  )

  @property
  def peak(self):
    halves = DOWNSAMPLINGS[self.downsampling] == 2
    return (self.activations if halves else self.blurred)[self.upsampling]

  @property
  def multiple(self):
    return 4

  @property
  def packs(self):
    return DOWNSAMPLINGS.get(self.downsampling) == 2

  @property
  def blocks(self):
    """Names of the residual blocks, the keys of their parameters."""
    return [f'block_{i}' for i in range(self.depth)]

  @property
  def taps(self):
    return ('padded', 'down_1', 'down_2', *self.blocks)

  def layers(self, do, x):
    stride = lookup(DOWNSAMPLINGS, self.downsampling, 'generator.downsampling')
    upsample = lookup(UPSAMPLINGS, self.upsampling, 'generator.upsampling')
    w1, w2, w4 = self.width, 2 * self.width, 4 * self.width
    x = do.tap(do.pad(x, 3), 'padded')
    x = do.conv(x, 'first', w1, 7)
    x = do.activate(do.normalize(x, 'first_norm'), 'relu')
    for name, features in (('down_1', w2), ('down_2', w4)):
      x = do.conv(x, name, features, 3, stride=stride, padding=1)
      x = do.tap(x, name)
      x = do.activate(do.normalize(x, f'{name}_norm'), 'relu')
      if stride == 1:
        x = do.blur_down(x)
    x = do.residual_blocks(x, self.blocks, self.block)
    for name, features in (('up_1', w2), ('up_2', w1)):
      x = upsample(do, x, name, features, 3)
      x = do.activate(do.normalize(x, f'{name}_norm'), 'relu')
    return do.conv(do.pad(x, 3), 'last', self.out_channels, 7, bias=True)

  def block(self, do, x):
    """Applies the layers of a residual block, without its shortcut.

    Args:
      do: a `verbs.Reader`, whose methods (verbs) are called, one per layer.
      x: the block's input in the form the reader works with.
    """
    features = 4 * self.width
    x = do.conv(do.pad(x, 1, self.padding), 'conv_1', features, 3)
    x = do.activate(do.normalize(x, 'norm_1'), 'relu')
    x = do.dropout(x, self.dropout)
    x = do.conv(do.pad(x, 1, self.padding), 'conv_2', features, 3)
    return do.normalize(x, 'norm_2')

  def reads_kernels(self, shape):
    batch, height, width, _ = shape
    trunk = (batch, height // 4, width // 4, 4 * self.width)
    return forms.reads_kernels(trunk)


class UnetGenerator(Generator):
  """U-Net with `depth` levels and skip connections (pix2pix, Sec. 6.1.1).

  Each level halves height and width on the way down and doubles them on the way
  up. The levels have `width` times 1, 2, 4, 8, 8, ... channels. Dropout follows
  the up layers from level 4 on (8 times `width` channels in and out), except at
  the innermost level.
  """

  sequential = 'model.model'
  activations = {'transpose': 2, 'resize': 5}

  depth: int = 8

  @property
  def multiple(self):
    return 2**self.depth

  def layers(self, do, x):
    x = do.conv(x, 'down_0', self.width, 4, stride=2, padding=1)
    x = do.skip(x, lambda x: self.level(do, x, 1))
    x = do.activate(x, 'relu')
    return self.upsample(do, x, 'up_0', self.out_channels, bias=True)

  def level(self, do, x, i):
    """Applies level i and all inner levels, without the skip connection.

    Args:
      do: a `verbs.Reader`, whose methods (verbs) are called, one per layer.
      x: the level's input in the form the reader works with.
      i: number of the level, from 1 to depth - 1, the innermost.
    """
    innermost = i == self.depth - 1
    outer, inner = (self.width * min(2**j, 8) for j in (i - 1, i))
    x = do.activate(x, 'leaky_relu')
    x = do.conv(x, f'down_{i}', inner, 4, stride=2, padding=1)
    if not innermost:
      x = do.normalize(x, f'down_{i}_norm')
      x = do.skip(x, lambda x: self.level(do, x, i + 1))
    x = self.upsample(do, do.activate(x, 'relu'), f'up_{i}', outer)
    x = do.normalize(x, f'up_{i}_norm')
    if i >= 4 and not innermost:
      x = do.dropout(x, self.dropout)
    return x

  def upsample(self, do, x, name, features, bias=None):
    """Applies a layer that doubles height and width, by `upsampling`.

    Args:
      do: a `verbs.Reader`, whose methods (verbs) are called, one per layer.
      x: the layer's input in the form the reader works with.
      name: key of the layer's parameters.
      features: number of output channels.
      bias: whether the layer has a bias; None decides by the network's norm.
    """
    known = {name: UPSAMPLINGS[name] for name in self.activations}
    how = lookup(known, self.upsampling, 'generator.upsampling')
    return how(do, x, name, features, 4, bias)
