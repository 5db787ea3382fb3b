"""Pictures of two domains: where from, how prepared, in which order."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cyclegan_jax.data import pipeline
from cyclegan_jax.data.preprocess import Preprocess
from cyclegan_jax.data.sources import Source


class Dataset(NamedTuple):
  """A source of pictures and how they become images.

  Attributes:
    source: a `Source`.
    preprocess: a `Preprocess`.
    channels: {'a': int, 'b': int}.
    cache_bytes: memory for decoded pictures.
    threads: how many batches to prepare at the same time; 0: tf.data decides.
  """

  source: Source
  preprocess: Preprocess
  channels: Mapping[str, int]
  cache_bytes: int = 2**31
  threads: int = 0

  def batches(self, seed, batch_size, start_step=0, share=None):
    """See `pipeline.batches`."""
    return pipeline.batches(
      self.source,
      self.preprocess,
      self.channels,
      seed=seed,
      batch_size=batch_size,
      start_step=start_step,
      share=share,
      cache_bytes=self.cache_bytes,
      threads=self.threads,
    )

  def steps_per_epoch(self, batch_size):
    """See `pipeline.steps_per_epoch`."""
    return pipeline.steps_per_epoch(self.source, batch_size)

  def example_batch(self):
    """A batch of one, for its shapes."""
    return next(self.batches(seed=0, batch_size=1))

  def test_images(self, domain, count=None):
    """Test pictures of a domain, `count` of them spread evenly, or all."""
    pictures = self.source.test[domain]
    count = min(count or len(pictures), len(pictures))
    places = np.linspace(0, len(pictures) - 1, count).round().astype(int)
    return [
      pipeline.load_test_image(
        pictures[i], self.preprocess, self.channels[domain]
      )
      for i in places
    ]
