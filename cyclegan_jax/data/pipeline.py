"""Unpaired batches by tf.data; the batch of step t follows from (seed, t)."""

import threading

import numpy as np
import tensorflow as tf

from cyclegan_jax.data.decode import load
from cyclegan_jax.errors import UserError


class Cache:
  """Decoded pictures, kept while they fit in a budget of bytes."""

  def __init__(self, budget):
    self._left = budget
    self._arrays = {}
    self._lock = threading.Lock()
    self._locks = {}

  def get(self, key, make):
    """The array kept under a key, or a new one from `make()`."""
    with self._lock:
      lock = self._locks.setdefault(key, threading.Lock())
    with lock:  # or two threads that need the same picture both read it
      array = self._arrays.get(key)
      if array is None:
        array = make()
        with self._lock:
          if array.nbytes <= self._left:
            self._arrays[key] = array
            self._left -= array.nbytes
    return array


class _Reader:
  """Reads the training pictures of a domain, resized, not augmented."""

  def __init__(self, pictures, channels, preprocess, cache):
    self.pictures = pictures
    self.channels = channels
    self.error = None
    self._preprocess = preprocess
    self._cache = cache
    self._size = None

  def __call__(self, index):
    try:
      picture = self.pictures[index]
      array = self._cache.get(
        (id(self), int(index)), lambda: self._load(picture)
      )
      self._check_size(picture, array)
    except UserError as e:
      self.error = e
      raise
    return array.astype(np.float32)

  def _load(self, picture):
    return load(picture, self.channels, self._preprocess.train_size)

  def _check_size(self, picture, array):
    height, width = array.shape[:2]
    crop = self._preprocess.crop_size
    if self._preprocess.crops:
      if min(height, width) < crop:
        raise UserError(
          f'{picture.name}: {width}x{height} is smaller than '
          f'data.crop_size={crop}: use a smaller crop or '
          'data.preprocess=resize_and_crop'
        )
    elif self._size is None:
      self._size = (height, width)
    elif self._size != (height, width):
      raise UserError(
        f'{picture.name}: {width}x{height}, others are '
        f'{self._size[1]}x{self._size[0]}, and data.preprocess='
        f'{self._preprocess.mode} does not crop to one size: use a mode '
        'that does'
      )


def steps_per_epoch(source, batch_size):
  """Steps in max(|A|, |B|) pictures, the official code's epoch."""
  size = max(len(source.train[d]) for d in ('a', 'b'))
  return -(-size // batch_size)


def batches(
  source,
  preprocess,
  channels,
  *,
  seed,
  batch_size,
  start_step=0,
  share=None,
  cache_bytes=2**31,
):
  """Endless training batches from a step on, at no cost for those before it.

  As in the official code an epoch goes through A without replacement, as often
  as it takes to see max(|A|, |B|) pictures, with B drawn at random.

  Args:
    source: a `Source`.
    preprocess: a `Preprocess`.
    channels: {'a': int, 'b': int}.
    seed: decides order, crops and flips.
    batch_size: pictures of each domain in a batch, over all processes.
    start_step: the first step wanted.
    share: (first, count), this process's part of each batch; None for all.
    cache_bytes: memory for decoded pictures.

  Yields:
    {'a', 'b'}: float32 [count, height, width, channels] in [-1, 1].

  Raises:
    UserError: a picture that can't be used, named.
  """
  cache = Cache(cache_bytes)
  readers = {
    d: _Reader(source.train[d], channels[d], preprocess, cache)
    for d in ('a', 'b')
  }
  sizes = {d: len(source.train[d]) for d in ('a', 'b')}
  first, count = share or (0, batch_size)
  order = _order(
    sizes, seed, batch_size, steps_per_epoch(source, batch_size), first, count
  )
  image = {
    d: _image(readers[d], preprocess, seed, i) for i, d in enumerate('ab')
  }

  def example(number, index_a, index_b):
    return {'a': image['a'](index_a, number), 'b': image['b'](index_b, number)}

  dataset = (
    tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    .map(order)
    .unbatch()
    .map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    .batch(count)
    .prefetch(2)
  )
  iterator = dataset.as_numpy_iterator()
  while True:
    try:
      batch = next(iterator)
    except tf.errors.OpError:
      for reader in readers.values():
        if reader.error is not None:
          raise reader.error from None
      raise
    yield batch


def _order(sizes, seed, batch_size, steps, first, count):
  """step -> (numbers, indices in A, indices in B) of this share, [count]."""
  size = max(sizes.values())

  def order(step):
    position = tf.range(first, first + count, dtype=tf.int64)
    number = step * batch_size + position
    epoch = step // steps
    place = ((step % steps) * batch_size + position) % size
    shuffled = tf.random.experimental.index_shuffle(
      place,
      seed=tf.stack([tf.constant(seed, tf.int64), epoch]),
      max_index=tf.cast(size - 1, tf.int64),
    )
    index_b = tf.map_fn(
      lambda n: tf.random.stateless_uniform(
        [], _seed(seed, 2, n), maxval=sizes['b'], dtype=tf.int64
      ),
      number,
    )
    return number, shuffled % sizes['a'], index_b

  return order


def _seed(seed, stream, number):
  """The random seed of an example; each use of it has a stream of its own."""
  base = tf.constant([seed, stream], tf.int64)
  return tf.random.experimental.stateless_fold_in(base, number)


def _image(reader, preprocess, seed, stream):
  """(index, number) -> a training image in [-1, 1]."""

  def image(index, number):
    pixels = tf.numpy_function(reader, [index], tf.float32)
    pixels.set_shape([None, None, reader.channels])
    key = _seed(seed, stream, number)
    if preprocess.crops:
      crop = tf.constant([preprocess.crop_size] * 2, tf.int64)
      room = tf.shape(pixels, tf.int64)[:2] - crop + 1
      # Floor of a uniform share: the range itself need not be constant.
      uniform = tf.random.stateless_uniform([2], key, dtype=tf.float64)
      corner = tf.cast(uniform * tf.cast(room, tf.float64), tf.int64)
      pixels = tf.slice(
        pixels, tf.concat([corner, [0]], 0), tf.concat([crop, [-1]], 0)
      )
    if preprocess.flip:
      pixels = tf.image.stateless_random_flip_left_right(pixels, key + 1)
    return pixels / 127.5 - 1

  return image


def load_test_image(picture, preprocess, channels):
  """A test picture: resized, cropped in the middle, never mirrored.

  Returns:
    float32 [height, width, channels] in [-1, 1].

  Raises:
    UserError: it can't be used.
  """
  pixels = load(picture, channels, preprocess.test_size)
  if preprocess.crops:
    height, width = pixels.shape[:2]
    crop = preprocess.crop_size
    top, left = max(0, (height - crop) // 2), max(0, (width - crop) // 2)
    pixels = pixels[top : top + crop, left : left + crop]
  return pixels.astype(np.float32) / 127.5 - 1
