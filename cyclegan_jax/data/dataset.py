"""Pictures of two domains: where from, how prepared, in which order."""

import functools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.types import Image, Images
from cyclegan_jax.data import bad_pictures, pairs
from cyclegan_jax.data.check import check
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.preprocess import Preprocess
from cyclegan_jax.data.reader import load_test_image
from cyclegan_jax.data.source import Source
from cyclegan_jax.data.values import Values

_WHERE_PAIRS_ARE = (
  'data.source=folder needs pairsA and pairsB (or trainA and trainB) whose '
  'names agree, as 1.jpg and 1.jpg or 1_A.jpg and 1_B.jpg, data.source=aligned '
  'has pairs, tfds does not tell which they are'
)


class Dataset(NamedTuple):
  """A source of pictures and how they become images.

  Attributes:
    source: a `Source`.
    preprocess: a `Preprocess`.
    channels: {'a': int, 'b': int}.
    cache_gb: memory for decoded pictures, in GiB.
    threads: how many batches to prepare at the same time; 0: tf.data decides.
    on_bad_image: 'stop' or 'skip': the effect of a picture that can't be used
      on a run; skipped ones are warned of.
    paired: whether to train on true pairs, the source's `train_pairs`; the
      option data.paired decides what the source takes for pairs.
    sizes: {domain: (width, height) of the prepared training pictures that a run
      does not skip}, as far as it is known.
    load_size_in_decay: pixels to scale to from the step `decay_from` on, in a
      mode that crops the loaded picture; 0: those of `preprocess`.
    decay_from: the first step in which the learning rate decays; None: none
      does.
    show: {'a', 'b'}: the channels to show, as `images.shown` takes them.
    values: {domain: `Values`} of domains whose range is not that of their
      files' integer type.
  """

  source: Source
  preprocess: Preprocess
  channels: Mapping[str, int]
  cache_gb: float = 2.0
  threads: int = 0
  on_bad_image: str = 'stop'
  paired: bool = False
  sizes: Mapping[str, tuple[int, int]] = MappingProxyType({})
  load_size_in_decay: int = 0
  decay_from: int | None = None
  show: Mapping[str, tuple[int, ...] | None] = MappingProxyType(
    {'a': None, 'b': None}
  )
  values: Mapping[str, Values] = MappingProxyType({})

  def values_of(self, domain: str) -> Values:
    """The channels of a domain, and the range of its values."""
    option = f'data.range_{domain}'
    plain = Values(self.channels[domain], option=option)
    return self.values.get(domain, plain)

  @property
  def skips(self) -> bool:
    """Returns True if a run does without pictures that can't be used."""
    return self.on_bad_image == 'skip'

  @property
  def train(self) -> dict[str, list[Picture]]:
    """{'a', 'b'}: the pictures to train on, by position if `paired`.

    Raises:
      UserError: `paired`, and the source has no true pairs.
    """
    if not self.paired:
      return self.source.train
    if self.source.train_pairs is None:
      reason = self.source.pairs_note or 'the data has none'
      raise UserError(
        f'this method trains on true pairs, and {reason}: '
        + ('leave it at auto' if reason == pairs.DENIED else _WHERE_PAIRS_ARE)
      )
    return self.source.train_pairs

  @property
  def preprocesses(self) -> list[Preprocess]:
    """Each `Preprocess` of training pictures, that of the decay last."""
    sizes = [self.preprocess.load_size]
    if self.load_size_in_decay:
      sizes.append(self.load_size_in_decay)
    return [self.preprocess._replace(load_size=size) for size in sizes]

  @property
  def phases(self) -> list['Dataset']:
    """The data before the step `decay_from` and from it on; one where alike."""
    steps = slice(1 if self.decay_from is None else 2)
    return [self._replace(preprocess=x) for x in self.preprocesses[steps]]

  @property
  def notes(self) -> list[str]:
    """Lines for the user: what is missing, and what is taken for pairs."""
    about_pairs = self.source.pairs_note if self.paired else ''
    return [*self.source.notes, *([about_pairs] if about_pairs else [])]

  def checked(self, trains: bool = False) -> 'Dataset':
    """The same, every header looked at; with 'skip' without bad test pairs.

    The source's `train` is what is trained on then: the pairs if `paired`.

    Args:
      trains: whether to look at what only training needs, too.

    Raises:
      UserError: a picture that won't do; with 'skip' a split of such only.
    """
    data = self
    if self.paired:
      source = self.source._replace(train=self.train, train_labels=None)
      data = self._replace(source=source)
    prepares = self.preprocesses if trains else ()
    values = {d: self.values_of(d) for d in self.channels}
    sizes = check(data.source, self.skips, prepares, self.paired, values)
    if sizes:
      data = data._replace(sizes=sizes)
    if not (self.skips and self.source.paired):
      return data
    return data._replace(
      source=bad_pictures.good_pairs(data.source, self._test_image)
    )

  def batches(
    self,
    seed: int,
    batch_size: int,
    start_step: int = 0,
    share: tuple[int, int] | None = None,
  ) -> Iterator[dict[str, Images]]:
    """See `pipeline.batches`."""
    from cyclegan_jax.data import pipeline  # it loads TensorFlow

    return pipeline.batches(self, seed, batch_size, start_step, share)

  def names(
    self,
    seed: int,
    batch_size: int,
    step: int,
    share: tuple[int, int] | None = None,
  ) -> dict[str, list[str]]:
    """{'a', 'b'}: names of the pictures in the batch of a step."""
    from cyclegan_jax.data import pipeline

    return pipeline.names(self, seed, batch_size, step, share)

  def steps_per_epoch(self, batch_size: int) -> int:
    """Steps in max(|A|, |B|) pictures, the official code's epoch."""
    return -(-max(map(len, self.train.values())) // batch_size)

  def example_batch(self) -> dict[str, Images]:
    """A batch of one, for its shapes."""
    return next(self.batches(seed=0, batch_size=1))

  def test_images(self, domain: str, count: int | None = None) -> list[Image]:
    """Test pictures of a domain, `count` of them spread evenly, or all."""
    pictures = self.source.test[domain]
    count = min(count or len(pictures), len(pictures))
    places = np.linspace(0, len(pictures) - 1, count).round().astype(int)
    read = functools.partial(self._test_image, domain)
    if not self.skips:
      return [read(i) for i in places]
    bad = set()
    found = dict(bad_pictures.stand_in(read, pictures, i, bad) for i in places)
    return list(found.values())

  def _test_image(self, domain, index):
    return load_test_image(
      self.source.test[domain][index], self.preprocess, self.values_of(domain)
    )
