"""XLA's convolution, and the same computation as a matrix product."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax


class Geometry(NamedTuple):
  """Constants of a convolution, equal along height and width.

  Attributes:
    stride: stride of the window.
    padding: numbers of zeros (before, after).
    dilation: dilation of the input; 2 makes a transposed convolution.
  """

  stride: int = 1
  padding: tuple[int, int] = (0, 0)
  dilation: int = 1


def plain(x, kernel, geometry):
  """Computes a convolution in XLA's own form.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    geometry: a `Geometry`: stride, padding and input dilation.

  Returns:
    [batch, out_height, out_width, outputs].
  """
  return lax.conv_general_dilated(
    x,
    kernel,
    (geometry.stride,) * 2,
    (geometry.padding,) * 2,
    lhs_dilation=(geometry.dilation,) * 2,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def product(x, kernel, geometry):
  """Computes a convolution as a product of the kernel and all patches.

  The result equals `plain` up to rounding.

  Args:
    x: [batch, height, width, inputs].
    kernel: [size, size, inputs, outputs].
    geometry: a `Geometry`: stride, padding and input dilation.

  Returns:
    [batch, out_height, out_width, outputs].
  """
  size, stride = len(kernel), geometry.stride
  pads = (*geometry.padding, geometry.dilation - 1)
  zero = jnp.zeros((), x.dtype)
  x = lax.pad(x, zero, [(0, 0, 0), pads, pads, (0, 0, 0)])
  height, width = ((side - size) // stride + 1 for side in x.shape[1:3])
  seen = [
    x[:, top:, left:][:, ::stride, ::stride][:, :height, :width]
    for top in range(size)
    for left in range(size)
  ]
  return jnp.concatenate(seen, -1) @ kernel.reshape(-1, kernel.shape[-1])
