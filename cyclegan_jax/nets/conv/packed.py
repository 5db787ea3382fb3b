"""Kernels of convolutions of packed pictures (see `edges`).

A packed kernel gives the same sums: what it multiplies pixels with that the
plain kernel does not reach is zero.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax


def between(kernel):
  """The kernel [size, size, inputs, outputs] from packed to packed pictures.

  Returns:
    [blocks, blocks, 4 inputs, 4 outputs], for pictures that are padded by
    blocks // 2, blocks = 2 ceil(size // 2 / 2) + 1.
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
  """The kernel of a convolution of stride 2 and padding 1, from packed.

  Args:
    kernel: [size, size, inputs, outputs], size 3 or 4.

  Returns:
    [blocks, blocks, 4 inputs, outputs], blocks = size - 1, for packed pictures
    with a row of zeros above and a column on the left, and for size 4 below
    and on the right, too.
  """
  blocks = range(-1, len(kernel) - 2)
  return _packed(
    kernel,
    [[[2 * block + pixel + 1] for pixel in range(2)] for block in blocks],
  )


def doubling(kernel):
  """The kernel of a transposed 3x3 convolution of stride 2, to packed.

  Returns:
    [2, 2, inputs, 4 outputs], for pictures with a row of zeros below and a
    column of zeros on the right.
  """
  return _packed(
    kernel,
    [[[2 * block + 1 - out for out in range(2)]] for block in (0, 1)],
  )


def _packed(kernel, places):
  """The kernel at its places, zeros at those beyond it.

  Args:
    kernel: [size, size, inputs, outputs].
    places: [blocks, pixels of the input, pixels of the output] along a side.
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
