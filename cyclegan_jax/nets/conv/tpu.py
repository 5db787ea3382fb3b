"""Convolutions for a TPU.

The TPU's compiler spends minutes on the kernel's gradient of the generators'
last layer: few outputs of a large window.
"""

import jax

from cyclegan_jax.nets.conv import kernel_gradients
from cyclegan_jax.nets.conv.plain import Geometry, plain


def convolve(x, kernel, geometry):
  """`plain` in the form that is fastest on a TPU."""
  if kernel.shape[0] < 7 or kernel.shape[3] > 8 or geometry != Geometry():
    return plain(x, kernel, geometry)
  return _thin(x, kernel)


@jax.custom_vjp
def _thin(x, kernel):
  return plain(x, kernel, Geometry())


def _thin_forward(x, kernel):
  return _thin(x, kernel), (x, kernel)


def _thin_backward(residuals, grad):
  x, kernel = residuals
  _, gradient_x = jax.vjp(lambda x: plain(x, kernel, Geometry()), x)
  return *gradient_x(grad), kernel_gradients.thin(x, kernel, grad)


_thin.defvjp(_thin_forward, _thin_backward)
