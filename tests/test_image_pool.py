"""The image pool against the official semantics, image by image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cyclegan_jax.training import image_pool

exchange = jax.jit(image_pool.exchange)


def numbered(*numbers):
  """Images whose one pixel is their number."""
  return jnp.array(numbers, jnp.float32).reshape(-1, 1, 1, 1)


def shown(images):
  return [int(x) for x in images[:, 0, 0, 0]]


def in_turn(stored, count, images, key):
  """The exchange image by image, of numbers, as its docstring has it.

  Returns:
    The stored numbers, their count, and the numbers shown.
  """
  stored, shown = list(stored), []
  for image, own in zip(images, jax.random.split(key, len(images))):
    coin, slot = jax.random.split(own)
    shown.append(image)
    if count < len(stored):
      stored[count] = image
      count += 1
    elif jax.random.bernoulli(coin):
      i = int(jax.random.randint(slot, (), 0, len(stored)))
      shown[-1], stored[i] = stored[i], image
  return stored, count, shown


@pytest.mark.parametrize('batch', range(1, 8))
def test_a_batch_is_exchanged_image_by_image(batch):
  new = list(range(101, 101 + batch))
  for size in range(1, 6):
    before = list(range(1, 1 + size))
    for count in range(size + 1):
      for seed in range(10 if count == size else 2):
        key = jax.random.PRNGKey(100 * batch + 10 * size + seed)
        pool = image_pool.ImagePool(numbered(*before), jnp.int32(count))
        pool, out = exchange(pool, numbered(*new), key)
        found = shown(pool.images), int(pool.count), shown(out)
        assert found == in_turn(before, count, new, key)
        assert pool.count.dtype == jnp.int32


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
