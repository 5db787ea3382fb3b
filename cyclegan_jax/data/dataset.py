"""Pictures of two domains with the options that turn them into batches."""

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
  'data.source=folder needs folders pairsA and pairsB (or trainA and trainB) '
  'with matching names, such as 1.jpg and 1.jpg or 1_A.jpg and 1_B.jpg; '
  'data.source=aligned always has true pairs; data.source=tfds does not say '
  'which pictures are pairs'
)


class Dataset(NamedTuple):
  """The pictures of two domains, and the options that make images of them.

  Domains are 'a' and 'b'. `checked` checks every picture, `batches` yields
  training batches, and `test_images` reads test images.

  Attributes:
    source: a `Source`: the lists of training and test pictures.
    preprocess: a `Preprocess`: scaling, crop and flip of a picture.
    channels: {domain: number of channels of its images}.
    cache_gb: memory for decoded training pictures, in GiB.
    threads: number of batches to prepare in parallel; 0 lets tf.data decide.
    on_bad_image: 'stop' or 'skip': an unusable picture stops the run, or is
      skipped with a warning.
    paired: True to train on true pairs, `source.train_pairs`. (The option
      data.paired, in contrast, decides which pictures the source regards as
      true pairs.)
    sizes: {domain: most frequent (width, height) of the scaled training
      pictures}, for modes that do not crop; domains may be missing. With
      `on_bad_image='skip'` pictures of other sizes are skipped.
    load_size_in_decay: replaces `preprocess.load_size` from the step
      `decay_from` on, in pixels; 0 keeps `preprocess.load_size`. Requires a
      mode that crops the loaded picture.
    decay_from: first step in which the learning rate decays; None if the
      learning rate never decays.
    show: {domain: one or three numbers of the channels to show, counted from
      1}; None in place of the numbers for the choice of `images.shown`.
    values: {domain: `Values`} of the domains that do not use the range of their
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
    """Returns the `Values` of a domain: its channels and value range."""
    option = f'data.range_{domain}'
    plain = Values(self.channels[domain], option=option)
    return self.values.get(domain, plain)

  @property
  def skips(self) -> bool:
    """True if a run skips unusable pictures."""
    return self.on_bad_image == 'skip'

  @property
  def train(self) -> dict[str, list[Picture]]:
    """The pictures to train on, {'a': [Picture], 'b': [Picture]}.

    If `paired` is True, the pictures of A and B at the same index are a true
    pair.

    Raises:
      UserError: `paired` is True, but the source has no true pairs.
    """
    if not self.paired:
      return self.source.train
    if self.source.train_pairs is None:
      reason = self.source.pairs_note or 'the data has none'
      raise UserError(
        f'this method needs true pairs, but {reason}: '
        + (
          'leave data.paired at auto'
          if reason == pairs.DENIED
          else _WHERE_PAIRS_ARE
        )
      )
    return self.source.train_pairs

  @property
  def preprocesses(self) -> list[Preprocess]:
    """The `Preprocess` of training pictures, then the one during the decay.

    The second is missing if `load_size_in_decay` is 0.
    """
    sizes = [self.preprocess.load_size]
    if self.load_size_in_decay:
      sizes.append(self.load_size_in_decay)
    return [self.preprocess._replace(load_size=size) for size in sizes]

  @property
  def phases(self) -> list['Dataset']:
    """The `Dataset` before the step `decay_from`, and the one from there on.

    A list of one `Dataset` if all steps scale pictures to the same size.
    """
    steps = slice(1 if self.decay_from is None else 2)
    return [self._replace(preprocess=x) for x in self.preprocesses[steps]]

  @property
  def notes(self) -> list[str]:
    """Lines for the user on missing pictures and on how pairs were found."""
    about_pairs = self.source.pairs_note if self.paired else ''
    return [*self.source.notes, *([about_pairs] if about_pairs else [])]

  def checked(self, trains: bool = False) -> 'Dataset':
    """Returns a copy of the dataset after checking the header of every picture.

    In the copy, `source.train` holds the true pairs if `paired` is True. With
    `on_bad_image='skip'` the copy lacks unusable test pairs.

    Args:
      trains: True to check the sizes that training needs, too, and to fill in
        `sizes` for modes that do not crop.

    Raises:
      UserError: a picture cannot be used, or `paired` is True and the source
        has no true pairs. With `on_bad_image='skip'` unusable pictures raise
        only if a split has no usable picture, or no usable test pair.
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
    """Returns an endless iterator of training batches.

    The batch of a step depends on `seed` and the step only; see
    `pipeline.batches`.

    Args:
      seed: int that determines order, crops and flips.
      batch_size: number of pictures of each domain in a batch, over all
        processes.
      start_step: step of the first batch, from 0.
      share: (first, count), the part of each batch that this process reads;
        None for the whole batch.

    Returns:
      An iterator of {'a', 'b'}: float32 [count, height, width, channels] in
      [-1, 1].

    Raises:
      UserError: `paired` is True, but the source has no true pairs. Raised by
        the iterator: a picture cannot be used; with `on_bad_image='skip'`, no
        picture of a domain can be used.
    """
    from cyclegan_jax.data import pipeline  # loads TensorFlow

    return pipeline.batches(self, seed, batch_size, start_step, share)

  def names(
    self,
    seed: int,
    batch_size: int,
    step: int,
    share: tuple[int, int] | None = None,
  ) -> dict[str, list[str]]:
    """Returns the names of the pictures in the batch of a step, by domain.

    Args:
      seed: the seed given to `batches`.
      batch_size: pictures per domain in a batch, over all processes.
      step: number of the step.
      share: (first, count), the part of the batch to return; None for all.

    Returns:
      A dict with the keys 'a' and 'b', each with a list of names.
    """
    from cyclegan_jax.data import pipeline

    return pipeline.names(self, seed, batch_size, step, share)

  def steps_per_epoch(self, batch_size: int) -> int:
    """Returns the number of steps per epoch, rounded up.

    As in the official code, an epoch is as many pictures as the larger of the
    two training sets has.

    Args:
      batch_size: number of pictures of each domain in a batch.

    Raises:
      UserError: `paired` is True, but the source has no true pairs.
    """
    return -(-max(map(len, self.train.values())) // batch_size)

  def example_batch(self) -> dict[str, Images]:
    """Returns a training batch of size 1, to derive array shapes from."""
    return next(self.batches(seed=0, batch_size=1))

  def test_images(self, domain: str, count: int | None = None) -> list[Image]:
    """Returns test images of a domain, evenly spread over its test pictures.

    Args:
      domain: 'a' or 'b'.
      count: number of images; None for all. With `on_bad_image='skip'` there
        may be fewer: the next usable picture replaces an unusable picture, and
        no picture is returned twice.

    Returns:
      A list of float32 [height, width, channels] in [-1, 1].

    Raises:
      UserError: a picture cannot be used; with `on_bad_image='skip'`, no test
        picture of the domain can be used.
    """
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
