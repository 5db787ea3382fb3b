"""Test pictures of a dataset in the form that metrics need, read on demand."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import bad_pictures
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.data.source import Source
from cyclegan_jax.metrics import labels as label_maps
from cyclegan_jax.metrics.base import Metric
from cyclegan_jax.metrics.table import Truth


class Lazy(Sequence):
  """Sequence that reads an item each time the item is accessed."""

  def __init__(
    self, read: Callable[[Any], np.ndarray], places: Sequence[Any]
  ) -> None:
    """Makes a sequence of the length of `places`.

    Args:
      read: function that maps an entry of `places` to an array.
      places: the argument of `read` for each item.
    """
    self._read = read
    self._places = places

  def __len__(self):
    return len(self._places)

  def __getitem__(self, index):
    return self._read(self._places[index])


def check_asked(
  source: Source, on_training_pictures: bool, option: str
) -> None:
  """Raises if training pictures would be measured without the user's consent.

  Args:
    source: the dataset's `Source`.
    on_training_pictures: whether the user allows to measure the training
      pictures of a domain that has no test pictures.
    option: the option that allows this, with its value, for the error message.

  Raises:
    UserError: a domain has no test pictures, and `on_training_pictures` is
      False.
  """
  if not source.stands_in or on_training_pictures:
    return
  missing = dict.fromkeys(
    f'no {x}' if isinstance(x, str) else f'no folder {x}'
    for x in source.stands_in.values()
  )
  raise UserError(
    f'{" and ".join(missing)}, so training pictures would be measured: add '
    f'test pictures, or measure training pictures with {option}'
  )


def truth(
  data: Dataset,
  on_training_pictures: bool = False,
  option: str = '--config.evaluate.on_training_pictures=True',
) -> Truth:
  """Returns the test pictures and label maps of a dataset, read on demand.

  With `data.on_bad_image` 'skip', unpaired test pictures that cannot be read
  are left out with a warning. If training pictures replace the test pictures of
  both domains, they count as true pairs only if the dataset declares the pairs,
  not if the pairs merely follow from equal file names.

  Args:
    data: a `Dataset`.
    on_training_pictures: whether to measure the training pictures of a domain
      that has no test pictures.
    option: the option that allows this, with its value, for the error message.

  Returns:
    A `Truth`: test pictures and label maps. Its sequences read a picture or
    label map at each access and keep none in memory.

  Raises:
    UserError: a domain has no test pictures, and `on_training_pictures` is
      False.
  """
  source = data.source
  check_asked(source, on_training_pictures, option)
  known = source.train_pairs == source.test and not source.pairs_note
  if len(source.stands_in) == 2 and known:
    source = source._replace(paired=True)
    data = data._replace(source=source)
  pictures = {}
  for domain in ('a', 'b'):
    read = _reader(data, domain)
    places = list(range(len(source.test[domain])))
    if data.skips and not source.paired:
      places = [place for place in places if _usable(read, place)]
    pictures[domain] = Lazy(read, places)
  if source.labels is None:
    return Truth(pictures, source.paired, show=data.show)
  labels = Lazy(
    lambda picture: label_maps.test_labels(picture, data.preprocess),
    source.labels.pictures,
  )
  return Truth(
    pictures, source.paired, labels, source.labels.colours, show=data.show
  )


def _reader(data, domain):
  """Returns a function that reads the test picture at a position."""

  def read(place):
    # A dataset of one picture: `test_images` then reads only this picture, and
    # 'stop' raises for a bad picture instead of skipping it.
    one = {domain: [data.source.test[domain][place]]}
    alone = data._replace(
      source=data.source._replace(test=one), on_bad_image='stop'
    )
    return alone.test_images(domain)[0]

  return read


def _usable(read, place):
  """Returns True if a picture can be read; warns if not."""
  try:
    read(place)
  except UserError as e:
    bad_pictures.warn_once(
      f'{e} (data.on_bad_image=skip: the picture is skipped)'
    )
    return False
  return True


def check(
  there: Truth, directions: Collection[str], chosen: Iterable[Metric]
) -> None:
  """Computes features of one picture per domain, to find errors early.

  Args:
    there: the `Truth` (test pictures and label maps) to measure with.
    directions: directions that will be measured: 'a2b', 'b2a' or both.
    chosen: the metrics that will be measured.

  Raises:
    UserError: pictures are too small for a metric, or have a number of channels
      that a metric does not support.
  """
  for metric in chosen:
    shared = set(metric.directions) & set(directions)
    if metric.features is None or not shared:
      continue
    # Label maps are read from translations only, not from inputs.
    of_made = metric.kind == 'labels'
    domains = {d[-1] for d in shared} if of_made else there.pictures
    for domain in domains:
      image = there.pictures[domain][0]
      metric.of_images(image[None], there.show[domain])
