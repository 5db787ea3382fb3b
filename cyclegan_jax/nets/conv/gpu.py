"""Convolutions in forms that are fast on a GPU.

XLA computes the kernel gradient of a transposed convolution by a window as
large as the image. This took more than half of a step's time on an H100.
"""

from functools import partial

import jax
import jax.numpy as jnp

from cyclegan_jax.nets.conv.plain import Geometry, plain


def convolve(x, kernel, geometry):
  """Computes a convolution in the form that is fastest on a GPU.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    geometry: a `plain.Geometry`: stride, padding and input dilation.

  Returns:
    The result of XLA's own convolution (`plain.plain`) up to rounding, [batch,
    out_height, out_width, outputs].
  """
  if geometry.dilation == 1:
    return plain(x, kernel, geometry)
  return _transposed(x, kernel, geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _transposed(x, kernel, geometry):
  return plain(x, kernel, geometry)


def _forward(x, kernel, geometry):
  return _transposed(x, kernel, geometry), (x, kernel)


def _backward(geometry, residuals, grad):
  x, kernel = residuals
  _, gradient_x = jax.vjp(lambda x: plain(x, kernel, geometry), x)
  return *gradient_x(grad), as_strided(x, kernel, grad, geometry)


_transposed.defvjp(_forward, _backward)


def as_strided(x, kernel, grad, geometry):
  """Returns the gradient of a transposed convolution by its kernel.

  A transposed convolution is the input gradient of a strided convolution. The
  kernel gradient of the strided convolution gives the same numbers, and cuDNN
  has an algorithm for it.

  Args:
    x: the input, [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    grad: the gradient of the output, [batch, out_height, out_width, outputs].
    geometry: a `plain.Geometry` with input dilation above 1 and stride 1.

  Returns:
    [size, size, inputs, outputs].
  """
  size = kernel.shape[0]
  before, after = geometry.padding
  strided = Geometry(geometry.dilation, (size - 1 - before, size - 1 - after))
  mirrored = jnp.zeros_like(kernel.swapaxes(2, 3))
  _, gradient = jax.vjp(lambda k: plain(grad, k, strided), mirrored)
  return jnp.flip(gradient(x)[0], (0, 1)).swapaxes(2, 3)
