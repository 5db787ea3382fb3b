"""Training batches from tf.data; seed and step alone determine each batch."""

import weakref

import numpy as np

from cyclegan_jax.data.reader import Cache, Reader
from cyclegan_jax.data.tf import tf


class _Readers:
  """Readers of the training pictures, before and during the decay.

  There is one `Reader` per domain, or a single one for true pairs. With
  data.load_size_in_decay the pictures are resized to another size from the step
  `decay_from` on. Each size has its own readers and its own cache.

  Args:
    data: a `Dataset`.
    cache_bytes: memory for the decoded pictures of one size, in bytes.
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
    """Returns the list of readers for a step, one per domain or one for pairs.

    From the first step of the decay on, also frees the cache of the earlier
    steps.

    Args:
      step: number of the step, from 0.
    """
    if len(self._phases) == 1 or step < self._decay_from:
      return self._phases[0]
    # Batches of earlier steps that are still being read only become slower.
    self._caches[0].close()
    return self._phases[1]

  @property
  def error(self):
    """Exception that a reader raised, or None."""
    readers = sum(self._phases, [])
    return next((x.error for x in readers if x.error is not None), None)


def batches(data, seed, batch_size, start_step=0, share=None):
  """Returns an endless iterator over training batches.

  As in the official code, an epoch has as many pictures of each domain as the
  larger training set. Pictures of A are drawn without replacement, and again
  from the start if B is larger; pictures of B are drawn at random. True pairs
  are drawn together and get the same crop and flip. The batch of a step depends
  on the seed and the step only, so starting at a later step costs nothing.

  Args:
    data: a `Dataset`.
    seed: int that determines order, crops and flips.
    batch_size: number of pictures of each domain in a batch, over all
      processes.
    start_step: step of the first batch, from 0.
    share: (first, count), the part of each batch that this process reads; None
      for the whole batch.

  Returns:
    An iterator of {'a', 'b'}: float32 [count, height, width, channels] in
    [-1, 1].

  Raises:
    UserError: raised by the iterator if a picture cannot be used; the message
      names the picture. With data.on_bad_image=skip only if no picture of a
      domain can be used.
  """
  readers = _Readers(data, int(data.cache_gb * 2**30))
  draw = _draw(data, seed, batch_size, share)

  def read(step, *draws):
    """Returns the arrays of A and B; a reader of pairs uses A's draws only."""
    pairs = zip(readers.at(step), zip(*draws))
    return sum([reader(*args) for reader, args in pairs], [])

  def batch(step):
    """Returns the batch of a step as tensors."""
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
  # If the iterator lived until Python exits, it would wait forever for reads
  # that have not finished.
  weakref.finalize(steps, running.clear)
  return steps


def _steps(running, readers):
  """Yields the batches of an iterator.

  Args:
    running: a list that holds the iterator; emptied to release the iterator.
    readers: the `_Readers`, whose error replaces TensorFlow's error.
  """
  while True:
    try:
      batch = next(running[0])
    except tf.errors.OpError:
      if readers.error is not None:
        raise readers.error from None
      raise
    yield batch


def names(data, seed, batch_size, step, share=None):
  """Returns the names of the pictures in one batch of `batches`.

  Args:
    data: a `Dataset`.
    seed: the seed given to `batches`.
    batch_size: number of pictures of each domain in a batch, over all
      processes.
    step: step of the batch.
    share: (first, count), the part of the batch; None for the whole batch.

  Returns:
    {'a', 'b'}: [name], in the order of the batch. With data.on_bad_image=skip
    these are the pictures that are used in place of unusable ones.
  """
  draw = _draw(data, seed, batch_size, share)
  indices, *_ = draw(tf.constant(step, tf.int64))
  found = []
  readers = _Readers(data, cache_bytes=0).at(step)
  for reader, row in zip(readers, indices.numpy().tolist()):
    found += map(list, zip(*map(reader.names, row)))
  return dict(zip('ab', found))


def _draw(data, seed, batch_size, share):
  """Returns a function that makes all random choices of a step.

  Args:
    data: a `Dataset`.
    seed: as for `batches`.
    batch_size: as for `batches`.
    share: as for `batches`.

  Returns:
    step -> (indices [2, count], corners [2, count, 2], flips [2, count]), as
    tensors. The first axis is the domain, A or B. The values are the arguments
    of `Reader.__call__`.
  """
  sizes = {d: len(data.train[d]) for d in ('a', 'b')}
  size = max(sizes.values())
  steps = data.steps_per_epoch(batch_size)
  first, count = share or (0, batch_size)

  def draw(step):
    """Returns the random choices of a step."""
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
      # Integers, because TensorFlow warns of transposed booleans on some CPUs.
      tf.transpose(tf.cast(flips, tf.int32)),
    )

  def draw_pair(number):
    """Returns (index in B, corners [2, 2], flips [2]) of one pair of images.

    Args:
      number: number of the pair, counted from the start of the run.
    """
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
  """Returns the random seed of a pair of images for one use (`stream`)."""
  base = tf.constant([seed, stream], tf.int64)
  return tf.random.experimental.stateless_fold_in(base, number)
