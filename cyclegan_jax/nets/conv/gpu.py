"""Convolutions for a GPU.

XLA runs the kernel's gradient of a transposed convolution with a window as
large as the image: more than half of a step's time on an H100.
"""

from functools import partial

import jax
import jax.numpy as jnp

from cyclegan_jax.nets.conv.plain import Geometry, plain


def convolve(x, kernel, geometry):
  """`plain` in the form that is fastest on a GPU."""
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
  """The kernel's gradient of a transposed convolution.

  The transposed convolution of x is the gradient of a strided convolution of
  the output, whose own kernel gradient is one that cuDNN has an algorithm for.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    grad: the output's gradient [batch, height', width', outputs].
    geometry: a `Geometry` with a dilation and the stride 1.
  """
  size = kernel.shape[0]
  before, after = geometry.padding
  strided = Geometry(geometry.dilation, (size - 1 - before, size - 1 - after))
  mirrored = jnp.zeros_like(kernel.swapaxes(2, 3))
  _, gradient = jax.vjp(lambda k: plain(grad, k, strided), mirrored)
  return jnp.flip(gradient(x)[0], (0, 1)).swapaxes(2, 3)
