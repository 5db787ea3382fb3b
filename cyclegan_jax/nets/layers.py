"""The layers all networks are built of, with the official code's defaults.

Images are float arrays [batch, height, width, channels] in [-1, 1].
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from cyclegan_jax.common import images
from cyclegan_jax.common.errors import lookup
from cyclegan_jax.nets.conv import forms
from cyclegan_jax.nets.conv.norm import Rest, instance_norm

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
# What a jax.checkpoint policy knows the outputs of convolutions by.
CONVOLUTION = 'convolution'
EPSILON = 1e-5  # of all norms
# Platforms on which the hand-written gradient of instance norm was faster. On
# an H100 it is 4% faster at batch 16, and 26% slower at batch 1.
BY_HAND = ('cpu', 'tpu')


def reflect_pad(x, size):
  """Mirrors `size` pixels at every edge, the edge itself not repeated."""
  return _mirror(x, (size, size), (size, size))


def pad_to_multiple(x, multiple):
  """Mirrors height and width up to the next multiple; `crop_to` undoes it."""
  return _mirror(x, *images.margins(x.shape[1:3], multiple))


def _mirror(x, rows, columns):
  """x with pixels mirrored (before, after) it along height and width."""
  if is_symbolic(x):
    for axis, pads in ((1, rows), (2, columns)):
      x = jnp.take(x, _mirrored_places(x.shape[axis], *pads), axis=axis)
    return x
  if not any(rows + columns):
    return x
  return jnp.pad(x, ((0, 0), rows, columns, (0, 0)), 'reflect')


def is_symbolic(x):
  """Whether height and width are not known yet, in a network to export."""
  return not all(isinstance(size, int) for size in x.shape[1:3])


def _mirrored_places(size, before, after):
  """What pixel of `size` stands at each place, as `jnp.pad` mirrors them."""
  period = jnp.maximum(2 * jnp.asarray(size) - 2, 1)
  place = (jnp.arange(before + size + after) - before) % period
  return jnp.minimum(place, period - place)


def crop_to(x, height, width):
  """The middle [height, width] of x, where `pad_to_multiple` put it."""
  if not is_symbolic(x):
    return images.crop_to(x, height, width)
  top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
  start = (0, jnp.asarray(top), jnp.asarray(left), 0)
  sizes = (x.shape[0], height, width, x.shape[3])
  return lax.dynamic_slice(x, start, sizes)


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


def _instance_norm(net, name, axis, affine=False):
  del axis  # statistics of one image: no other device has a part in them
  if net.target in BY_HAND:
    return InstanceNorm(affine, net.dtype, name=name)
  return nn.InstanceNorm(
    epsilon=EPSILON,
    use_bias=affine,
    use_scale=affine,
    use_fast_variance=False,
    dtype=net.dtype,
    name=name,
  )


def _batch_norm(net, name, axis):
  return nn.BatchNorm(
    use_running_average=False,
    use_fast_variance=False,
    epsilon=EPSILON,
    scale_init=_around_one(net),
    axis_name=axis,
    dtype=net.dtype,
    name=name,
  )


def _frozen_batch_norm(net, name, axis):
  del axis  # no statistics at all
  return FrozenBatchNorm(_around_one(net), net.dtype, name=name)


def _around_one(net):
  def init(*args):
    return 1.0 + INITS['normal'](net.init_gain)(*args)

  return init


class InstanceNorm(nn.Module):
  """`nn.InstanceNorm` with a gradient by hand (see `nets.conv.norm`).

  Attributes:
    affine: whether it has the parameters scale and bias.
    dtype: of the result.
  """

  affine: bool
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x):
    return instance_norm(
      x.astype(self.dtype),
      *affine_parameters(self, x.shape[-1]),
      Rest(epsilon=EPSILON),
    )


def affine_parameters(norm, features):
  """(scale, bias) of a norm, each [features]; (None, None) for 1 and 0.

  Args:
    norm: a module that has the attribute `affine`.
    features: channels of the pictures.
  """
  if not norm.affine:
    return None, None
  inits = nn.initializers
  scale = norm.param('scale', inits.ones, (features,))
  return scale, norm.param('bias', inits.zeros, (features,))


class FrozenBatchNorm(nn.Module):
  """Batch norm with averages of old batches, as PyTorch's eval() has it.

  Its parameters are scale and bias, and the averages mean and var, which
  training leaves alone.
  """

  scale_init: Callable
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x):
    inits = nn.initializers
    kinds = {
      'scale': self.scale_init,
      'bias': inits.zeros,
      'mean': inits.zeros,
      'var': inits.ones,
    }
    scale, bias, mean, var = (
      self.param(name, init, (x.shape[-1],)).reshape(1, 1, 1, -1)
      for name, init in kinds.items()
    )
    mean, var = lax.stop_gradient((mean, var))
    x = (x.astype(jnp.float32) - mean) * (scale * lax.rsqrt(var + EPSILON))
    return (x + bias).astype(self.dtype)


# (network, layer name, device axis) -> layer. Statistics are float32 always.
NORMS = {
  'instance': _instance_norm,
  'instance_affine': partial(_instance_norm, affine=True),
  'batch': _batch_norm,
  'batch_frozen': _frozen_batch_norm,
  'none': lambda net, name, axis: lambda x: x,
}
# option -> {its names: whether `init_gain` makes a difference to them}
GAINS = {
  'init_type': {name: name != 'kaiming' for name in INITS},
  'norm': {name: name.startswith('batch') for name in NORMS},  # their scales
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
      Sec. 3.3) does; 'batch_frozen' averages that came with the weights;
      'instance_affine' is instance norm with a scale and a bias, as in the
      paper's Torch code.
    init_type: a name of `INITS`, for all convolutions; biases start at 0.
    init_gain: standard deviation or gain of the init.
    dtype: dtype of the computation; parameters stay float32.
    platform: what it is compiled for ('cpu', 'gpu', 'tpu'), to choose the
      fastest forms; None for the default backend.
  """

  width: int = 64
  norm: str = 'instance'
  init_type: str = 'normal'
  init_gain: float = 0.02
  dtype: jnp.dtype = jnp.float32
  platform: str | None = None

  def options(self):
    """The attributes above, for another network like this one."""
    names = {field.name for field in dataclasses.fields(Net)}
    return {name: getattr(self, name) for name in names - {'parent', 'name'}}

  @property
  def multiple(self):
    """Number that heights and widths are divided by on the way, at most."""
    return 1

  @property
  def packs(self):
    """True if layers at full resolution are next to strided ones.

    A TPU then computes them on packed pictures, see `nets.conv.edges`.
    """
    return False

  @property
  def target(self):
    """The platform to choose forms for."""
    return self.platform or jax.default_backend()

  def joins(self, shape):
    """Whether two batches [batch, height, width, channels] go in one pass.

    Only where that changes no result, as batch norm would, and is faster.
    """
    return self.norm != 'batch' and (
      self.target != 'cpu' or self.reads_kernels(shape)
    )

  def reads_kernels(self, shape):
    """Whether kernels rather than pictures fill a CPU's time with a batch."""
    del shape
    return False

  def normalize(self, x, name, axis):
    return lookup(NORMS, self.norm, 'norm')(self, name, axis)(x)

  def conv(
    self,
    x,
    features,
    kernel,
    name,
    *,
    padding=(0, 0),
    bias=None,
    **options,
  ):
    """A convolution, zero-padded by `padding` (before, after)."""
    x = nn.Conv(
      features,
      (kernel, kernel),
      padding=(padding, padding),
      use_bias=self.has_bias(bias),
      kernel_init=self.kernel_init(),
      dtype=self.dtype,
      conv_general_dilated=forms.convolution(self.target),
      name=name,
      **options,
    )(x)
    return checkpoint_name(x, CONVOLUTION)

  def has_bias(self, asked):
    """True if a convolution has a bias: with instance norm, unless asked."""
    return self.norm.startswith('instance') if asked is None else asked

  def kernel_init(self):
    """The init of all kernels."""
    return lookup(INITS, self.init_type, 'init_type')(self.init_gain)
