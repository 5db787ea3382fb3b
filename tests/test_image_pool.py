"""Tests of the image pool against the official code, image by image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cyclegan_jax.training import image_pool

exchange = jax.jit(image_pool.exchange)


def numbered(*numbers):
  """Returns images of one pixel with the given values."""
  return jnp.array(numbers, jnp.float32).reshape(-1, 1, 1, 1)


def shown(images):
  return [int(x) for x in images[:, 0, 0, 0]]


def in_turn(stored, count, images, key):
  """Exchanges numbers one by one, as the docstring of `exchange` describes.

  Returns:
    (stored numbers, their count, returned numbers).
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


def test_a_filling_pool_stores_and_returns_new_images():
  pool = image_pool.empty(3, (1, 1, 1))
  pool, out = exchange(pool, numbered(1, 2), jax.random.PRNGKey(0))
  assert shown(out) == [1, 2]
  assert shown(pool.images) == [1, 2, 0] and int(pool.count) == 2


def test_a_full_pool_returns_the_new_or_a_stored_image():
  """A new image is either returned or replaces a stored, returned image."""
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


def test_a_batch_equals_its_images_in_turn():
  """Each image of a batch sees the exchanges of earlier images."""
  pool = image_pool.empty(2, (1, 1, 1))
  pool, _ = exchange(pool, numbered(1, 2), jax.random.PRNGKey(0))
  before = set(shown(pool.images))
  for seed in range(20):
    after, out = exchange(pool, numbered(3, 4, 5), jax.random.PRNGKey(seed))
    # No image is lost or doubled: each is either stored or returned.
    assert sorted(shown(out) + shown(after.images)) == sorted(
      before | {3, 4, 5}
    )


def test_equal_keys_give_equal_exchanges():
  pool = image_pool.empty(2, (1, 1, 1))
  pool, _ = exchange(pool, numbered(1, 2), jax.random.PRNGKey(0))
  outs = {
    tuple(shown(exchange(pool, numbered(3, 4), jax.random.PRNGKey(seed))[1]))
    for seed in (7, 7, 7)
  }
  assert len(outs) == 1
