"""Batches by tf.data; the batch of step t follows from (seed, t)."""

import weakref

import numpy as np

from cyclegan_jax.data.reader import Cache, Reader
from cyclegan_jax.data.tf import tf


class _Readers:
  """Readers of A and B, or of pairs, for the steps before the decay and in it.

  Pictures are scaled to two sizes, and each size has a cache of its own.
  """

  def __init__(self, data, cache_bytes):
    self._decay_from = data.decay_from
    self._caches, self._phases = [], []
    for phase in data.phases:
      cache = Cache(cache_bytes)
      self._caches.append(cache)
      self._phases.append(
        [Reader(phase, d, cache) for d in (['ab'] if data.paired else 'ab')]
      )

  def at(self, step):
    """The readers of a step; the memory of those before the decay is freed."""
    if len(self._phases) == 1 or step < self._decay_from:
      return self._phases[0]
    # Batches that are still read for steps before it only become slower.
    self._caches[0].close()
    return self._phases[1]

  @property
  def error(self):
    """The error that a reader met, or None."""
    readers = sum(self._phases, [])
    return next((x.error for x in readers if x.error is not None), None)


def batches(data, seed, batch_size, start_step=0, share=None):
  """Endless training batches from a step on, at no cost for those before it.

  As in the official code an epoch goes through A without replacement, as often
  as it takes to see max(|A|, |B|) pictures, with B drawn at random. Of pairs
  both come together, with the same crop and flip.

  Args:
    data: a `Dataset`.
    seed: decides order, crops and flips.
    batch_size: pictures of each domain in a batch, over all processes.
    start_step: the first step wanted.
    share: (first, count), this process's part of each batch; None for all.

  Returns:
    An iterator of {'a', 'b'}: float32 [count, height, width, channels] in
    [-1, 1].

  Raises:
    UserError: a picture that can't be used, named; where these
      are skipped, if no other can.
  """
  readers = _Readers(data, int(data.cache_gb * 2**30))
  draw = _draw(data, seed, batch_size, share)

  def read(step, *draws):  # a reader of pairs takes what is drawn for A
    pairs = zip(readers.at(step), zip(*draws))
    return sum([reader(*args) for reader, args in pairs], [])

  def batch(step):
    args = [step, *draw(step)]
    images = tf.numpy_function(read, args, [tf.float32] * 2)
    return dict(zip('ab', images))

  dataset = (
    tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    .map(batch, data.threads or tf.data.AUTOTUNE, deterministic=True)
    .prefetch(2)
  )
  running = [dataset.as_numpy_iterator()]
  steps = _steps(running, readers)
  # Left to the end of Python, it would wait for ever for reads under way.
  weakref.finalize(steps, running.clear)
  return steps


def _steps(running, readers):
  """The batches of the iterator in a list; raises what a reader met."""
  while True:
    try:
      batch = next(running[0])
    except tf.errors.OpError:
      if readers.error is not None:
        raise readers.error from None
      raise
    yield batch


def names(data, seed, batch_size, step, share=None):
  """{'a', 'b'}: names of the pictures in the batch of a step of `batches`."""
  draw = _draw(data, seed, batch_size, share)
  indices, *_ = draw(tf.constant(step, tf.int64))
  found = []
  readers = _Readers(data, cache_bytes=0).at(step)
  for reader, row in zip(readers, indices.numpy().tolist()):
    found += map(list, zip(*map(reader.names, row)))
  return dict(zip('ab', found))


def _draw(data, seed, batch_size, share):
  """step -> all that is random in this share of its batch.

  Of [2, count] images, A's and B's: indices, corners [2, count, 2] and flips,
  as `Reader` takes them.
  """
  sizes = {d: len(data.train[d]) for d in ('a', 'b')}
  size = max(sizes.values())
  steps = data.steps_per_epoch(batch_size)
  first, count = share or (0, batch_size)

  def draw(step):
    position = tf.range(first, first + count, dtype=tf.int64)
    epoch = step // steps
    place = ((step % steps) * batch_size + position) % size
    shuffled = tf.random.experimental.index_shuffle(
      place,
      seed=tf.stack([tf.constant(seed, tf.int64), epoch]),
      max_index=tf.cast(size - 1, tf.int64),
    )
    index_b, corners, flips = tf.map_fn(
      draw_pair,
      step * batch_size + position,
      fn_output_signature=(tf.int64, tf.float64, tf.bool),
    )
    return (
      tf.stack([shuffled % sizes['a'], index_b]),
      tf.transpose(corners, [1, 0, 2]),
      # As numbers: TensorFlow complains of transposed booleans on some CPUs.
      tf.transpose(tf.cast(flips, tf.int32)),
    )

  def draw_pair(number):
    """Index in B, corners [2, 2] and flips [2] of the pair of this number."""
    uniform = tf.random.stateless_uniform
    index_b = uniform(
      [], _seed(seed, 2, number), maxval=sizes['b'], dtype=tf.int64
    )
    keys = [_seed(seed, stream, number) for stream in (0, 1)]
    corners = [uniform([2], key, dtype=tf.float64) for key in keys]
    flips = [uniform([], key + 1) < 0.5 for key in keys]
    return index_b, tf.stack(corners), tf.stack(flips)

  return draw


def _seed(seed, stream, number):
  """The random seed of a pair; each use of it has a stream of its own."""
  base = tf.constant([seed, stream], tf.int64)
  return tf.random.experimental.stateless_fold_in(base, number)
