"""Convolutions in forms that are fast on a TPU.

A TPU's matrix units process at least 128 channels at once. For a 7x7
convolution of three channels, the columns of the kernel are turned into
channels: 21 channels and a 7x1 kernel.
"""

from functools import partial

import jax
import jax.numpy as jnp

from cyclegan_jax.nets.conv import strips
from cyclegan_jax.nets.conv.plain import Geometry, plain

_FEW = 8  # most channels that count as few


def convolve(x, kernel, geometry):
  """Computes a convolution in the form that is fastest on a TPU.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    geometry: a `plain.Geometry`: stride, padding and input dilation.

  Returns:
    The result of XLA's own convolution (`plain.plain`) up to rounding, [batch,
    out_height, out_width, outputs].
  """
  if geometry != Geometry() or len(kernel) < 7:
    return plain(x, kernel, geometry)
  if kernel.shape[2] <= _FEW:
    return few_inputs(x, kernel)
  if kernel.shape[3] <= _FEW:
    return few_outputs(x, kernel)
  return plain(x, kernel, geometry)


def few_inputs(x, kernel):
  """Computes a convolution of few input channels, without padding.

  The columns of the kernel are turned into input channels.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].

  Returns:
    [batch, height - size + 1, width - size + 1, outputs].
  """
  size, _, inputs, outputs = kernel.shape
  kernel = kernel.reshape(size, 1, size * inputs, outputs)
  return plain(_spread(x, size), kernel, Geometry())


def few_outputs(x, kernel, padding=0, mode='reflect'):
  """Computes a convolution to few output channels, without padding of rows.

  The columns of the kernel are turned into output channels.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    padding: number of columns to pad left, and right. The padding is applied to
      the few output channels, not to the input.
    mode: mode of the padding: 'reflect' mirrors the pixels next to the edge,
      'replicate' repeats the edge, 'zeros' adds zeros.

  Returns:
    [batch, height - size + 1, width + 2 padding - size + 1, outputs].
  """
  size, _, inputs, _ = kernel.shape
  kernel = kernel.transpose(0, 2, 1, 3).reshape(size, 1, inputs, -1)
  x = plain(x, kernel, Geometry())
  x = strips.pad(x, 1, (0, 0), (padding, padding), mode)
  return _gather(x, size)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _spread(x, size):
  """Concatenates the columns that a kernel covers along channels.

  Args:
    x: [batch, height, width, channels].
    size: side of the kernel.

  Returns:
    [batch, height, width - size + 1, size x channels].
  """
  width = x.shape[2] - size + 1
  return jnp.concatenate([x[:, :, i : i + width] for i in range(size)], -1)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gather(x, size):
  """Sums the contributions of a kernel's columns, which are channels of x.

  Args:
    x: [batch, height, width, size x channels].
    size: side of the kernel.

  Returns:
    [batch, height, width - size + 1, channels].
  """
  width, channels = x.shape[2] - size + 1, x.shape[3] // size
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  parts = wide.reshape(*x.shape[:3], size, channels)
  total = sum(parts[:, :, i : i + width, i] for i in range(size))
  return total.astype(x.dtype)


# The gradient of `_spread` is a `_gather` of mirrored, zero-padded values, and
# vice versa. XLA's own gradient would write a padded image per kernel column.
def _spread_backward(size, _, grad):
  grad = _zeros_around(_mirrored(grad, size), size)
  return (_gather(grad, size),)


def _gather_backward(size, _, grad):
  return (_mirrored(_spread(_zeros_around(grad, size), size), size),)


def _mirrored(x, size):
  """Reverses the order of the `size` groups of channels."""
  channels = x.shape[-1] // size
  parts = [x[..., i * channels : (i + 1) * channels] for i in range(size)]
  return jnp.concatenate(parts[::-1], axis=-1)


def _zeros_around(x, size):
  """Adds size - 1 columns of zeros on the left and the right."""
  return strips.pad(x, 1, (0, 0), (size - 1, size - 1), 'zeros')


_spread.defvjp(lambda x, size: (_spread(x, size), None), _spread_backward)
_gather.defvjp(lambda x, size: (_gather(x, size), None), _gather_backward)
