"""The image pool against the official semantics, image by image."""

import jax
import jax.numpy as jnp
import numpy as np

from cyclegan_jax.training import image_pool

exchange = jax.jit(image_pool.exchange)


def numbered(*numbers):
  """Images whose one pixel is their number."""
  return jnp.array(numbers, jnp.float32).reshape(-1, 1, 1, 1)


def shown(images):
  return [int(x) for x in images[:, 0, 0, 0]]


def test_a_filling_pool_stores_and_returns_the_new():
  pool = image_pool.empty(3, (1, 1, 1))
  pool, out = exchange(pool, numbered(1, 2), jax.random.PRNGKey(0))
  assert shown(out) == [1, 2]
  assert shown(pool.images) == [1, 2, 0] and int(pool.count) == 2


def test_a_full_pool_swaps_or_does_not_store():
  """A returned new image is not stored; a stored one leaves its slot."""
  pool = image_pool.empty(4, (1, 1, 1))

  stored = []
  kept, slots = 0, []
  for n in range(1, 605):
    pool, out = exchange(pool, numbered(n), jax.random.PRNGKey(n))
    out = shown(out)[0]
    if n <= 4:
      assert out == n
      stored.append(n)
    elif out == n:
      kept += 1
    else:
      slots.append(stored.index(out))
      stored[stored.index(out)] = n
    assert shown(pool.images)[: len(stored)] == stored
  assert 250 < kept < 350
  assert np.bincount(slots, minlength=4).min() > 50


def test_a_batch_is_the_same_as_its_images_in_turn():
  """Images of one batch see what the ones before them left."""
  pool = image_pool.empty(2, (1, 1, 1))
  pool, _ = exchange(pool, numbered(1, 2), jax.random.PRNGKey(0))
  before = set(shown(pool.images))
  for seed in range(20):
    after, out = exchange(pool, numbered(3, 4, 5), jax.random.PRNGKey(seed))
    # Nothing is lost or doubled: what isn't stored has been returned.
    assert sorted(shown(out) + shown(after.images)) == sorted(
      before | {3, 4, 5}
    )


def test_the_same_key_does_the_same():
  pool = image_pool.empty(2, (1, 1, 1))
  pool, _ = exchange(pool, numbered(1, 2), jax.random.PRNGKey(0))
  outs = {
    tuple(shown(exchange(pool, numbered(3, 4), jax.random.PRNGKey(seed))[1]))
    for seed in (7, 7, 7)
  }
  assert len(outs) == 1
