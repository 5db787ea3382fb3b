"""The layers all networks are built of, with the official code's defaults.

Images are float arrays [batch, height, width, channels] in [-1, 1].
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from cyclegan_jax.errors import lookup

_initializers = nn.initializers
# The official code's init types; `gain` is its --init_gain, 0.02 by default.
INITS = {
  'normal': _initializers.normal,
  'xavier': lambda gain: _initializers.variance_scaling(
    gain**2, 'fan_avg', 'normal'
  ),
  'kaiming': lambda gain: _initializers.variance_scaling(
    2.0, 'fan_in', 'normal'
  ),
  'orthogonal': _initializers.orthogonal,
}


def reflect_pad(x, size):
  """Mirrors `size` pixels at every edge, the edge itself not repeated."""
  return jnp.pad(x, ((0, 0), (size, size), (size, size), (0, 0)), 'reflect')


def pad_to_multiple(x, multiple):
  """Mirrors height and width up to the next multiple; `crop_to` undoes it."""
  extra = [-size % multiple for size in x.shape[1:3]]
  pads = [(e // 2, e - e // 2) for e in extra]
  return jnp.pad(x, ((0, 0), *pads, (0, 0)), 'reflect') if any(extra) else x


def crop_to(x, height, width):
  """The middle [height, width] of x, where `pad_to_multiple` put it."""
  top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
  return x[:, top : top + height, left : left + width]


def example_keys(key, count, axis):
  """One key an example, the same however many devices share the batch.

  Args:
    key: a key all devices share.
    count: examples on this device.
    axis: name of the mapped device axis, or None outside of one.

  Returns:
    Keys with leading dimension `count`.
  """
  first = 0 if axis is None else lax.axis_index(axis) * count
  return jax.vmap(lambda i: jax.random.fold_in(key, first + i))(
    jnp.arange(count)
  )


def _instance_norm(net, name, axis):
  del axis  # statistics of one image: no other device has a part in them
  return nn.InstanceNorm(
    epsilon=1e-5,
    use_bias=False,
    use_scale=False,
    use_fast_variance=False,
    dtype=net.dtype,
    name=name,
  )


def _batch_norm(net, name, axis):
  def scale_init(*args):
    return 1.0 + INITS['normal'](net.init_gain)(*args)

  return nn.BatchNorm(
    use_running_average=False,
    use_fast_variance=False,
    epsilon=1e-5,
    scale_init=scale_init,
    axis_name=axis,
    dtype=net.dtype,
    name=name,
  )


# (network, layer name, device axis) -> layer. Statistics are float32 always.
NORMS = {
  'instance': _instance_norm,
  'batch': _batch_norm,
  'none': lambda net, name, axis: lambda x: x,
}


class Dropout(nn.Module):
  """Drops elements, with masks that do not depend on the device count."""

  rate: float

  @nn.compact
  def __call__(self, x, train, axis):
    if not train or not self.rate:
      return x
    keys = example_keys(self.make_rng('dropout'), x.shape[0], axis)
    keep = jax.vmap(
      lambda key: jax.random.bernoulli(key, 1 - self.rate, x.shape[1:])
    )(keys)
    return jnp.where(keep, x / (1 - self.rate), jnp.zeros_like(x))


class Net(nn.Module):
  """What every network can be told: width, norm, init and compute dtype.

  Attributes:
    width: channels of the first layer (ngf, ndf in the official code).
    norm: a name of `NORMS`. 'batch' uses the statistics of the batch at hand,
      in training and in translation alike, as pix2pix (Isola et al. 2017,
      Sec. 3.3) does.
    init_type: a name of `INITS`, for all convolutions; biases start at 0.
    init_gain: standard deviation or gain of the init.
    dtype: dtype of the computation; parameters stay float32.
  """

  width: int = 64
  norm: str = 'instance'
  init_type: str = 'normal'
  init_gain: float = 0.02
  dtype: jnp.dtype = jnp.float32

  def normalize(self, x, name, axis):
    return lookup(NORMS, self.norm, 'norm')(self, name, axis)(x)

  def conv(self, x, features, kernel, name, *, bias=None, **options):
    """A convolution, zero-padded by `padding` (none by default)."""
    padding = options.pop('padding', 0)
    return nn.Conv(
      padding=((padding, padding),) * 2,
      **self._conv_options(features, kernel, name, bias),
      **options,
    )(x)

  def upsample(self, x, features, kernel, name, *, how='transpose', bias=None):
    """Doubles height and width.

    Args:
      x: images.
      features: output channels.
      kernel: 3 (ResNet: padding 1, output padding 1) or 4 (U-Net: padding 1).
      name: name of the layer.
      how: a name of `UPSAMPLINGS`.
      bias: whether the layer has a bias; by default as the norm wants it.
    """
    options = self._conv_options(features, kernel, name, bias)
    return lookup(UPSAMPLINGS, how, 'upsampling')(x, options)

  def _conv_options(self, features, kernel, name, bias):
    # As in the official code: a bias with instance norm only, unless asked.
    return dict(
      features=features,
      kernel_size=(kernel, kernel),
      use_bias=self.norm == 'instance' if bias is None else bias,
      kernel_init=lookup(INITS, self.init_type, 'init_type')(self.init_gain),
      dtype=self.dtype,
      name=name,
    )


def _transpose(x, options):
  # PyTorch's padding seen from the dilated input; SAME is one pixel off.
  pad = {3: (1, 2), 4: (2, 2)}[options['kernel_size'][0]]
  return nn.ConvTranspose(strides=(2, 2), padding=(pad, pad), **options)(x)


def _resize(x, options):
  # Nearest neighbour and a convolution: no checkerboard (Odena et al. 2016).
  x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
  options = options | {'kernel_size': (3, 3)}
  return nn.Conv(padding='VALID', **options)(reflect_pad(x, 1))


UPSAMPLINGS = {'transpose': _transpose, 'resize': _resize}
