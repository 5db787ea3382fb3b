"""Kernels of convolutions of packed images (see `edges`).

A packed kernel gives the same results as the plain kernel. It covers more
pixels; its weights of pixels outside the plain kernel are zero.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax


def between(kernel):
  """Returns a kernel of stride 1 from packed to packed images.

  A packed image stores 2x2 pixels as one pixel of 4 times the channels.

  Args:
    kernel: the plain kernel, [size, size, inputs, outputs], size odd.

  Returns:
    [blocks, blocks, 4 inputs, 4 outputs] with blocks = 2 ceil(size // 2 / 2) +
    1, for packed images that are padded by blocks // 2.
  """
  size = len(kernel)
  reach = -(-(size // 2) // 2)
  return _packed(
    kernel,
    [
      [
        [2 * block + pixel - out + size // 2 for out in range(2)]
        for pixel in range(2)
      ]
      for block in range(-reach, reach + 1)
    ],
  )


def halving(kernel):
  """Returns a kernel of stride 2 and padding 1, from packed to plain images.

  A packed image stores 2x2 pixels as one pixel of 4 times the channels.

  Args:
    kernel: the plain kernel, [size, size, inputs, outputs], size 3 or 4.

  Returns:
    [blocks, blocks, 4 inputs, outputs] with blocks = size - 1, for packed
    images with a row of zeros above and a column of zeros on the left; for size
    4 also with a row below and a column on the right.
  """
  blocks = range(-1, len(kernel) - 2)
  return _packed(
    kernel,
    [[[2 * block + pixel + 1] for pixel in range(2)] for block in blocks],
  )


def doubling(kernel):
  """Returns a kernel of a transposed convolution, from plain to packed images.

  A packed image stores 2x2 pixels as one pixel of 4 times the channels.

  Args:
    kernel: the plain kernel of a transposed convolution of stride 2, [3, 3,
      inputs, outputs].

  Returns:
    [2, 2, inputs, 4 outputs], for plain images with a row of zeros below and a
    column of zeros on the right.
  """
  return _packed(
    kernel,
    [[[2 * block + 1 - out for out in range(2)]] for block in (0, 1)],
  )


def _packed(kernel, places):
  """Distributes the weights of a kernel over a packed kernel.

  Args:
    kernel: the plain kernel, [size, size, inputs, outputs].
    places: for each weight of the packed kernel along a side, its index in the
      plain kernel, [blocks, input pixels, output pixels]. Weights of an index
      outside the plain kernel are zero.

  Returns:
    [blocks, blocks, input channels, output channels].
  """
  places = np.array(places)
  size = len(kernel)
  chosen = (places[..., None] == np.arange(size)).astype(np.float32)
  blocks, pixels, outs = places.shape
  kernel = jnp.einsum(
    'apxk,bqyl,klio->abpqixyo',
    chosen.astype(kernel.dtype),
    chosen.astype(kernel.dtype),
    kernel,
    precision=lax.Precision.HIGHEST,
  )
  return kernel.reshape(
    blocks, blocks, pixels**2 * kernel.shape[4], outs**2 * kernel.shape[-1]
  )
