"""Layers that all networks share, with the official code's defaults.

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
# The official code's --init_type; `gain` is its --init_gain (default 0.02).
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
# Name of the outputs of convolutions in jax.checkpoint policies.
CONVOLUTION = 'convolution'
EPSILON = 1e-5  # for all norms
# Platforms on which the hand-written gradient of instance norm is faster. On an
# H100 it is 4% faster at batch size 16, but 26% slower at batch size 1.
BY_HAND = ('cpu', 'tpu')


def reflect_pad(x, size):
  """Pads images by reflection, without repeating the edge.

  Args:
    x: [batch, height, width, channels].
    size: number of pixels to add at each edge.

  Returns:
    [batch, height + 2 size, width + 2 size, channels].
  """
  return _mirror(x, (size, size), (size, size))


def pad_to_multiple(x, multiple):
  """Pads images by reflection up to the next multiple of a number.

  The image stays in the middle; `crop_to` removes the padding.

  Args:
    x: [batch, height, width, channels].
    multiple: number that divides height and width of the result.

  Returns:
    [batch, padded_height, padded_width, channels].
  """
  return _mirror(x, *images.margins(x.shape[1:3], multiple))


def _mirror(x, rows, columns):
  """Pads x by reflection; `rows` and `columns` are numbers (before, after)."""
  if is_symbolic(x):
    for axis, pads in ((1, rows), (2, columns)):
      x = jnp.take(x, _mirrored_places(x.shape[axis], *pads), axis=axis)
    return x
  if not any(rows + columns):
    return x
  return jnp.pad(x, ((0, 0), rows, columns, (0, 0)), 'reflect')


def is_symbolic(x):
  """Returns True if height or width is symbolic, as in a network to export.

  Args:
    x: an array or tracer [batch, height, width, channels].
  """
  return not all(isinstance(size, int) for size in x.shape[1:3])


def _mirrored_places(size, before, after):
  """Returns the source index of each pixel of a side padded by reflection."""
  period = jnp.maximum(2 * jnp.asarray(size) - 2, 1)
  place = (jnp.arange(before + size + after) - before) % period
  return jnp.minimum(place, period - place)


def crop_to(x, height, width):
  """Crops the middle of images: undoes `pad_to_multiple`.

  Args:
    x: [batch, padded_height, padded_width, channels].
    height: height of the result.
    width: width of the result.

  Returns:
    [batch, height, width, channels].
  """
  if not is_symbolic(x):
    return images.crop_to(x, height, width)
  top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
  start = (0, jnp.asarray(top), jnp.asarray(left), 0)
  sizes = (x.shape[0], height, width, x.shape[3])
  return lax.dynamic_slice(x, start, sizes)


def example_keys(key, count, axis):
  """Returns one random key per example, independent of the number of devices.

  Args:
    key: a random key, the same on all devices.
    count: number of examples on this device.
    axis: name of the mapped device axis, or None outside of a mapped function.

  Returns:
    Keys with leading dimension `count`.
  """
  first = 0 if axis is None else lax.axis_index(axis) * count
  return jax.vmap(lambda i: jax.random.fold_in(key, first + i))(
    jnp.arange(count)
  )


def _instance_norm(net, name, axis, affine=False):
  """Returns the instance norm layer that is fastest on the platform."""
  del axis  # statistics of a single image involve no other device
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
  """Returns a batch norm layer with statistics over all devices."""
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
  """Returns a `FrozenBatchNorm` layer."""
  del axis  # no statistics are computed
  return FrozenBatchNorm(_around_one(net), net.dtype, name=name)


def _around_one(net):
  """Returns an init of scales: normal, mean 1, deviation `net.init_gain`."""

  def init(*args):
    return 1.0 + INITS['normal'](net.init_gain)(*args)

  return init


class InstanceNorm(nn.Module):
  """Instance norm with a hand-written gradient (see `nets.conv.norm`).

  Maps [batch, height, width, channels] to the same shape, as `nn.InstanceNorm`.

  Attributes:
    affine: whether the layer has the parameters scale and bias.
    dtype: dtype of the result.
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
  """Creates or reads the parameters of a norm.

  Args:
    norm: a Flax module with the attribute `affine`, in whose call the
      parameters are created or read.
    features: number of channels of the images.

  Returns:
    (scale, bias), each [features]; (None, None) if the norm is not affine.
  """
  if not norm.affine:
    return None, None
  inits = nn.initializers
  scale = norm.param('scale', inits.ones, (features,))
  return scale, norm.param('bias', inits.zeros, (features,))


class FrozenBatchNorm(nn.Module):
  """Batch norm with fixed statistics, as in PyTorch's eval mode.

  Maps [batch, height, width, channels] to the same shape. The parameters are
  scale and bias, and the statistics mean and var, whose gradients are 0.

  Attributes:
    scale_init: init of the scale.
    dtype: dtype of the result.
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


# name -> function (network, layer name, device axis) that returns the layer.
# Statistics are always float32.
NORMS = {
  'instance': _instance_norm,
  'instance_affine': partial(_instance_norm, affine=True),
  'batch': _batch_norm,
  'batch_frozen': _frozen_batch_norm,
  'none': lambda net, name, axis: lambda x: x,
}
# option -> {value of the option: whether `init_gain` has an effect}
GAINS = {
  'init_type': {name: name != 'kaiming' for name in INITS},
  'norm': {name: name.startswith('batch') for name in NORMS},  # init of scales
}


class Dropout(nn.Module):
  """Dropout with masks that do not depend on the number of devices.

  Maps [batch, ...] to the same shape. Calls take (x, train, axis): without
  `train`, x is returned unchanged; `axis` is the name of the mapped device axis
  or None.

  Attributes:
    rate: probability of dropping an element.
  """

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
  """Base class of networks, with the options that all networks have.

  The forward pass of a network calls `conv` and `normalize` for its layers.

  Attributes:
    width: channels of the first layer (ngf, ndf in the official code).
    norm: a key of `NORMS`. 'batch' uses the statistics of the current batch,
      both in training and in translation, as pix2pix (Isola et al. 2017, Sec.
      3.3) does. 'batch_frozen' uses statistics that are stored with the
      weights. 'instance_affine' is instance norm with a scale and a bias, as in
      the paper's Torch code.
    init_type: a key of `INITS`, for all convolutions; biases start at 0.
    init_gain: standard deviation or gain of the init.
    dtype: dtype of the computation; parameters stay float32.
    platform: platform that the network is compiled for, 'cpu', 'gpu' or 'tpu':
      the fastest form of each layer is chosen for this platform. None means the
      default backend.
  """

  width: int = 64
  norm: str = 'instance'
  init_type: str = 'normal'
  init_gain: float = 0.02
  dtype: jnp.dtype = jnp.float32
  platform: str | None = None

  def options(self):
    """Returns the options that all networks have, {name: value}.

    The names are the attributes of `Net`. A network of another class can be
    made with the same options.
    """
    names = {field.name for field in dataclasses.fields(Net)}
    return {name: getattr(self, name) for name in names - {'parent', 'name'}}

  @property
  def multiple(self):
    """Largest factor by which layers reduce height and width."""
    return 1

  @property
  def packs(self):
    """True if full-resolution layers are next to layers of stride 2.

    A TPU then computes the full-resolution layers on packed images, which store
    2x2 pixels as one pixel of 4 times the channels (see `nets.conv.edges`).
    """
    return False

  @property
  def target(self):
    """Platform for which the forms of layers are chosen."""
    return self.platform or jax.default_backend()

  def joins(self, shape):
    """Returns True if two batches should be joined into one forward pass.

    True only if joining is faster and does not change the result, as it would
    with batch norm.

    Args:
      shape: shape of each batch, (batch, height, width, channels).
    """
    return self.norm != 'batch' and (
      self.target != 'cpu' or self.reads_kernels(shape)
    )

  def reads_kernels(self, shape):
    """Returns True if reading kernels dominates the time of a batch on a CPU.

    A larger batch is then more efficient.

    Args:
      shape: shape of the batch, (batch, height, width, channels).
    """
    del shape
    return False

  def normalize(self, x, name, axis):
    """Applies the network's norm.

    Args:
      x: [batch, height, width, channels].
      name: key of the norm's parameters.
      axis: name of the mapped device axis, or None outside of a mapped
        function.

    Returns:
      An array of the same shape.
    """
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
    """Applies a convolution.

    Args:
      x: [batch, height, width, channels].
      features: number of output channels.
      kernel: side of the square kernel in pixels.
      name: key of the layer's parameters.
      padding: numbers of zeros (before, after) to add along height and width.
      bias: whether the layer has a bias; None decides by the norm (`has_bias`).
      **options: further arguments of `nn.Conv`, such as `strides`.

    Returns:
      [batch, out_height, out_width, features].
    """
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
    """Returns True if a convolution has a bias.

    Args:
      asked: True or False decides explicitly. None means True if the network's
        norm is an instance norm, as in the official code.
    """
    return self.norm.startswith('instance') if asked is None else asked

  def kernel_init(self):
    """Returns the initializer of all kernels, from the options of the init."""
    return lookup(INITS, self.init_type, 'init_type')(self.init_gain)
