"""The history of fakes that steadies the discriminators (paper, Sec. 4).

Shrivastava et al. (2017) with the official code's semantics. An image pool is
a value: arrays on the device, part of the train state.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float, Int32, PRNGKeyArray


class ImagePool(struct.PyTreeNode):
  """The stored fakes of one kind.

  Attributes:
    images: [size, height, width, channels].
    count: images stored so far, int32.
  """

  images: Float[Array, 'size height width channels']
  count: Int32[Array, '']


def empty(
  size: int, shape: Sequence[int], dtype: DTypeLike = jnp.float32
) -> ImagePool:
  """A pool of `size` images [height, width, channels], at least 1."""
  return ImagePool(jnp.zeros((size, *shape), dtype), jnp.zeros((), jnp.int32))


def exchange(
  pool: ImagePool,
  images: Float[Array, 'batch height width channels'],
  key: PRNGKeyArray,
) -> tuple[ImagePool, Float[Array, 'batch height width channels']]:
  """Shows new fakes to the pool, one after the other.

  While the pool fills, each new image is stored and returned. Full, it returns
  a random stored image with probability 0.5 and stores the new one in its
  place; else it returns the new image and does not store it.

  Args:
    pool: an `ImagePool`.
    images: new fakes [batch, height, width, channels].
    key: a random key.

  Returns:
    The new pool and the images to judge, of the shape of `images`.
  """
  size = pool.images.shape[0]

  def one(pool, new):
    image, key = new
    coin, slot = jax.random.split(key)
    filling = pool.count < size
    swap = ~filling & jax.random.bernoulli(coin)
    slot = jnp.where(filling, pool.count, jax.random.randint(slot, (), 0, size))
    stored = lax.dynamic_index_in_dim(pool.images, slot, keepdims=False)
    kept = jnp.where(filling | swap, image, stored)
    pool = ImagePool(
      lax.dynamic_update_index_in_dim(pool.images, kept, slot, 0),
      pool.count + filling,
    )
    return pool, jnp.where(swap, stored, image)

  return lax.scan(one, pool, (images, jax.random.split(key, len(images))))
