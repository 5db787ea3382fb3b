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
  size, number = len(pool.images), len(images)
  # Decided for all images before the loop, which is left with copies.
  keys = jax.random.split(key, number)
  coins, draws = jax.vmap(jax.random.split, out_axes=1)(keys)
  free = pool.count + jnp.arange(number, dtype=jnp.int32)
  filling = free < size
  swaps = ~filling & jax.vmap(jax.random.bernoulli)(coins)
  drawn = jax.vmap(lambda draw: jax.random.randint(draw, (), 0, size))(draws)
  slots = jnp.where(filling, free, drawn)
  # One number per image, as a TPU takes 1 us to look one up: its slot, and 0 to
  # keep what is stored there, 1 to fill it, 2 to swap.
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
