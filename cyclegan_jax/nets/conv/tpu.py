"""Convolutions for a TPU.

Its matrix units multiply by 128 channels and more. Where a 7x7 convolution has
three, the columns of the kernel are taken as channels, too: 21 of them, with a
kernel of 7x1.
"""

from functools import partial

import jax
import jax.numpy as jnp

from cyclegan_jax.nets.conv import strips
from cyclegan_jax.nets.conv.plain import Geometry, plain

_FEW = 8  # channels


def convolve(x, kernel, geometry):
  """`plain` in the form that is fastest on a TPU."""
  if geometry != Geometry() or len(kernel) < 7:
    return plain(x, kernel, geometry)
  if kernel.shape[2] <= _FEW:
    return few_inputs(x, kernel)
  if kernel.shape[3] <= _FEW:
    return few_outputs(x, kernel)
  return plain(x, kernel, geometry)


def few_inputs(x, kernel):
  """A convolution without padding, the kernel's columns as input channels.

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
  """A convolution without padding, the kernel's columns as output channels.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    padding: columns to add left and right; the few outputs are padded in place
      of the inputs.
    mode: of `strips.pad`.

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
  """The columns that a kernel sees, as channels.

  Args:
    x: [batch, height, width, channels].
    size: of the kernel.

  Returns:
    [batch, height, width - size + 1, size x channels].
  """
  width = x.shape[2] - size + 1
  return jnp.concatenate([x[:, :, i : i + width] for i in range(size)], -1)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gather(x, size):
  """The sums of columns for the places of a kernel.

  Args:
    x: [batch, height, width, size x channels].
    size: of the kernel.

  Returns:
    [batch, height, width - size + 1, channels].
  """
  width, channels = x.shape[2] - size + 1, x.shape[3] // size
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  parts = wide.reshape(*x.shape[:3], size, channels)
  total = sum(parts[:, :, i : i + width, i] for i in range(size))
  return total.astype(x.dtype)


# The gradient of each is the other one's sums, with zeros around and mirrored.
# XLA's own would fill a padded picture for each of the places.
def _spread_backward(size, _, grad):
  grad = _zeros_around(_mirrored(grad, size), size)
  return (_gather(grad, size),)


def _gather_backward(size, _, grad):
  return (_mirrored(_spread(_zeros_around(grad, size), size), size),)


def _mirrored(x, size):
  channels = x.shape[-1] // size
  parts = [x[..., i * channels : (i + 1) * channels] for i in range(size)]
  return jnp.concatenate(parts[::-1], axis=-1)


def _zeros_around(x, size):
  return strips.pad(x, 1, (0, 0), (size - 1, size - 1), 'zeros')


_spread.defvjp(lambda x, size: (_spread(x, size), None), _spread_backward)
_gather.defvjp(lambda x, size: (_gather(x, size), None), _gather_backward)
