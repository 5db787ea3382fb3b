"""The test pictures of a data set as metrics take them: read one at a time."""

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
  """A sequence whose items are read each time they are asked for."""

  def __init__(
    self, read: Callable[[Any], np.ndarray], places: Sequence[Any]
  ) -> None:
    """Takes a function of a place, and the places to call it with."""
    self._read = read
    self._places = places

  def __len__(self):
    return len(self._places)

  def __getitem__(self, index):
    return self._read(self._places[index])


def check_asked(
  source: Source, on_training_pictures: bool, option: str
) -> None:
  """Holds against what was asked for that training pictures are measured.

  Args:
    source: a `Source`.
    on_training_pictures: whether that was asked for.
    option: the option that asks for it, as the user gives it.

  Raises:
    UserError: there are no test pictures of a domain, and it was not.
  """
  if not source.stands_in or on_training_pictures:
    return
  missing = dict.fromkeys(
    f'no {x}' if isinstance(x, str) else f'no folder {x}'
    for x in source.stands_in.values()
  )
  raise UserError(
    f'{" and ".join(missing)}, so training pictures would be measured: add the '
    f'test pictures, or ask for that by {option}'
  )


def truth(
  data: Dataset,
  on_training_pictures: bool = False,
  option: str = '--config.evaluate.on_training_pictures=True',
) -> Truth:
  """The `Truth` of a `Dataset`; nothing is kept in memory.

  Training pictures that stand in for test pictures are pairs where that does
  not only follow from their names.

  Args:
    data: a `Dataset`.
    on_training_pictures: whether to measure training pictures of a domain
      without test pictures.
    option: the option that asks for that, as the user gives it.

  Raises:
    UserError: as `check_asked`.
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
  def read(place):
    # Read alone: not all at once, and none in the place of one that is bad.
    one = {domain: [data.source.test[domain][place]]}
    alone = data._replace(
      source=data.source._replace(test=one), on_bad_image='stop'
    )
    return alone.test_images(domain)[0]

  return read


def _usable(read, place):
  try:
    read(place)
  except UserError as e:
    bad_pictures.warn_once(f'{e} (data.on_bad_image=skip: goes on without it)')
    return False
  return True


def check(
  there: Truth, directions: Collection[str], chosen: Iterable[Metric]
) -> None:
  """Measures a picture of each domain, so that a mistake is met early.

  Raises:
    UserError: pictures that are too small for a metric, or have channels that
      it does not take.
  """
  for metric in chosen:
    shared = set(metric.directions) & set(directions)
    if metric.features is None or not shared:
      continue
    # Label maps are read from translations alone.
    of_made = metric.kind == 'labels'
    domains = {d[-1] for d in shared} if of_made else there.pictures
    for domain in domains:
      image = there.pictures[domain][0]
      metric.of_images(image[None], there.show[domain])
