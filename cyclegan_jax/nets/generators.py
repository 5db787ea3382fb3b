"""Generators: the ResNet of CycleGAN and the U-Net of pix2pix."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from cyclegan_jax.nets.conv import forms
from cyclegan_jax.nets.layers import (
  CONVOLUTION,
  Dropout,
  Net,
  crop_to,
  pad_to_multiple,
  reflect_pad,
)

# name -> what the backward pass computes anew instead of keeping it.
REMATS = {
  'none': 'nothing but what is cheap, in the residual blocks',
  'blocks': 'the insides of the residual blocks',
  'all': 'the whole network, one pass after the other',
}


class Generator(Net):
  """A generator [b, h, w, any] -> [b, h, w, out_channels] in (-1, 1).

  Sizes that the network cannot halve often enough are mirrored at the edges
  and cropped back, so any height and width comes out as it went in.

  Attributes:
    out_channels: channels of the pictures made.
    depth: residual blocks of the ResNet; levels of the U-Net.
    dropout: rate of dropout, 0 for none; the official rate is 0.5.
    upsampling: 'transpose' (the paper's) or 'resize' (no checkerboard).
    remat: a name of `REMATS`: what is computed twice to save memory.
    remats: the names that make a difference to the network.
  """

  remats = ('none', 'all')

  out_channels: int = 3
  depth: int = 9
  dropout: float = 0.0
  upsampling: str = 'transpose'
  remat: str = 'none'

  @property
  def multiple(self):
    """What heights and widths are padded to a multiple of."""
    raise NotImplementedError

  def joins(self, shape):
    # The masks of dropout follow a picture's place in the batch.
    return super().joins(shape) and not self.dropout


class ResidualBlock(Net):
  """Two 3x3 convolutions beside a shortcut, with reflection padding.

  Attributes:
    dropout: rate of dropout between the two.
  """

  dropout: float = 0.0

  @nn.compact
  def __call__(self, x, train=False, axis=None):
    features = x.shape[-1]
    y = self.conv(reflect_pad(x, 1), features, 3, 'conv_1')
    y = nn.relu(self.normalize(y, 'norm_1', axis))
    y = Dropout(self.dropout)(y, train, axis)
    y = self.conv(reflect_pad(y, 1), features, 3, 'conv_2')
    return x + self.normalize(y, 'norm_2', axis)


class ResnetGenerator(Generator):
  """c7s1-64, d128, d256, depth x R256, u128, u64, c7s1-3 (paper, Sec. 7.2)."""

  remats = ('none', 'blocks', 'all')

  @property
  def multiple(self):
    return 4

  def reads_kernels(self, shape):
    batch, height, width, _ = shape
    trunk = (batch, height // 4, width // 4, 4 * self.width)
    return forms.reads_kernels(trunk)

  @nn.compact
  def __call__(self, x, train=False, axis=None):
    height, width = x.shape[1:3]
    x = pad_to_multiple(x, self.multiple)
    x = self.conv(reflect_pad(x, 3), self.width, 7, 'first')
    x = nn.relu(self.normalize(x, 'first_norm', axis))
    for i in (1, 2):
      x = self.conv(
        x, self.width * 2**i, 3, f'down_{i}', strides=2, padding=(1, 1)
      )
      x = nn.relu(self.normalize(x, f'down_{i}_norm', axis))
    x = self._blocks(x, train, axis)
    for i in (1, 2):
      features = self.width * 2 ** (2 - i)
      x = self.upsample(x, features, 3, f'up_{i}', how=self.upsampling)
      x = nn.relu(self.normalize(x, f'up_{i}_norm', axis))
    x = self.conv(reflect_pad(x, 3), self.out_channels, 7, 'last', bias=True)
    return crop_to(nn.tanh(x.astype(jnp.float32)), height, width)

  def _blocks(self, x, train, axis):
    """The residual blocks, compiled once as a loop where that is as fast."""
    block = ResidualBlock(**self.options(), dropout=self.dropout, parent=None)
    names = [f'block_{i}' for i in range(self.depth)]
    if self.is_initializing():
      shape = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
      for name in names:
        self.param(name, lambda key: block.lazy_init(key, shape)['params'])
    params = [self.variables['params'][name] for name in names]
    drops = train and self.dropout > 0
    key = self.make_rng('dropout') if drops else None

    def run(x, block_input):
      params, i = block_input
      rngs = {'dropout': jax.random.fold_in(key, i)} if drops else None
      variables = {'params': params}
      x, _ = block.apply(
        variables, x, train, axis, rngs=rngs, mutable=['batch_stats']
      )
      return x, None

    if self.remat != 'none':
      run = jax.checkpoint(run)
    if forms.loops(self.target, x):
      if self.remat == 'none':
        # A loop writes what it keeps to memory: only what is dear to compute.
        keep = jax.checkpoint_policies.save_only_these_names(CONVOLUTION)
        run = jax.checkpoint(run, policy=keep, prevent_cse=False)
      params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
      return lax.scan(run, x, (params, jnp.arange(self.depth)))[0]
    for i in range(self.depth):
      x, _ = run(x, (params[i], i))
    return x


class UnetGenerator(Generator):
  """`depth` halvings and doublings with skip connections (pix2pix, Sec. 6.1.1).

  Widths are width x 1, 2, 4, 8, 8, ...; dropout acts on the up path where
  both sides are 8 wide, the innermost level excepted.
  """

  depth: int = 8

  @property
  def multiple(self):
    return 2**self.depth

  @nn.compact
  def __call__(self, x, train=False, axis=None):
    height, width = x.shape[1:3]
    x = pad_to_multiple(x, self.multiple)
    widths = [self.width * min(2**i, 8) for i in range(self.depth)]
    skips = []
    for i, features in enumerate(widths):
      if i > 0:
        skips.append(x)
        x = nn.leaky_relu(x, 0.2)
      x = self.conv(x, features, 4, f'down_{i}', strides=2, padding=(1, 1))
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
