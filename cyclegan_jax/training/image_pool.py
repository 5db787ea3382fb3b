"""A history of translations for the discriminators to judge (paper, Sec. 4).

Proposed by Shrivastava et al. (2017); the rules are those of the official code.
An image pool is an immutable value: arrays on the device, in the train state.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float, Int32, PRNGKeyArray


class ImagePool(struct.PyTreeNode):
  """Stored images of one kind, for example translations to domain B.

  Attributes:
    images: the stored images [size, height, width, channels]; zeros in the
      slots that are not filled yet.
    count: number of filled slots, int32.
  """

  images: Float[Array, 'size height width channels']
  count: Int32[Array, '']


def empty(
  size: int, shape: Sequence[int], dtype: DTypeLike = jnp.float32
) -> ImagePool:
  """Returns an empty pool.

  Args:
    size: number of images that the pool can store, at least 1.
    shape: shape of each image, (height, width, channels).
    dtype: dtype of the images.
  """
  return ImagePool(jnp.zeros((size, *shape), dtype), jnp.zeros((), jnp.int32))


def exchange(
  pool: ImagePool,
  images: Float[Array, 'batch height width channels'],
  key: PRNGKeyArray,
) -> tuple[ImagePool, Float[Array, 'batch height width channels']]:
  """Passes new images through the pool, one after the other.

  While the pool is not full, each new image is stored and returned. When the
  pool is full, one of two things happens, each with probability 0.5. Either a
  random stored image is returned and the new image is stored in its slot, or
  the new image is returned and not stored.

  Args:
    pool: an `ImagePool`.
    images: new images [batch, height, width, channels].
    key: a random key.

  Returns:
    The new pool, and the images for the discriminator to judge, of the shape of
    `images`.
  """
  size, number = len(pool.images), len(images)
  # All random choices are made before the loop, which only copies images.
  keys = jax.random.split(key, number)
  coins, draws = jax.vmap(jax.random.split, out_axes=1)(keys)
  free = pool.count + jnp.arange(number, dtype=jnp.int32)
  filling = free < size
  swaps = ~filling & jax.vmap(jax.random.bernoulli)(coins)
  drawn = jax.vmap(lambda draw: jax.random.randint(draw, (), 0, size))(draws)
  slots = jnp.where(filling, free, drawn)
  # One number per image, since each look-up takes 1 us on a TPU. It encodes the
  # slot, and the action: 0 leaves the slot alone, 1 fills the slot, 2 swaps.
  orders = 3 * slots + filling + 2 * swaps

  def one(images, new):
    image, order = new
    slot, action = order // 3, order % 3
    stored = lax.dynamic_index_in_dim(images, slot, keepdims=False)
    kept = jnp.where(action > 0, image, stored)
    images = lax.dynamic_update_index_in_dim(images, kept, slot, 0)
    return images, jnp.where(action > 1, stored, image)

  stored, shown = lax.scan(one, pool.images, (images, orders))
  return ImagePool(stored, jnp.minimum(pool.count + number, size)), shown
