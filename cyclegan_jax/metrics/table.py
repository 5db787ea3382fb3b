"""Metrics over all test pictures, batch by batch."""

import collections
import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Integer

from cyclegan_jax.common.directions import opposite
from cyclegan_jax.common.types import Colours, Image, Translate
from cyclegan_jax.metrics.base import Metric
from cyclegan_jax.metrics.labels import resize_labels
from cyclegan_jax.metrics.segmentation import confusion

_Labels = Integer[np.ndarray, 'height width']
_TRANSLATED, _COPY, _BACK = 'translated', 'copy the input', 'reconstructed'
_ANOTHER, _TRUE = 'another picture', 'true pair'
CANDIDATES = (_TRANSLATED, _COPY, _ANOTHER, _TRUE, _BACK)
# kind of metric -> what it is measured of
_MEASURED = {
  'pairs': (_TRANSLATED, _COPY, _ANOTHER, _BACK),
  'labels': (_TRANSLATED, _COPY, _ANOTHER, _TRUE),
  'sets': (_TRANSLATED,),
}


class Truth(NamedTuple):
  """What is measured with.

  Attributes:
    pictures: {'a', 'b'}: sequences of images, float32 [h, w, c] in [-1, 1].
    paired: whether they are true pairs by position.
    labels: a sequence of the label maps of A, [h, w], or None.
    colours: for each class its RGB colours in [0, 255], or None.
    predicted: a sequence of label maps of B's translations, made by somebody
      else, or None.
    show: {'a', 'b'}: the channels to show, as `images.shown` takes them.
  """

  pictures: Mapping[str, Sequence[Image]]
  paired: bool
  labels: Sequence[_Labels] | None = None
  colours: Colours | None = None
  predicted: Sequence[_Labels] | None = None
  show: Mapping[str, tuple[int, ...] | None] = MappingProxyType(
    {'a': None, 'b': None}
  )


def table(
  translate: Translate,
  tests: Truth,
  directions: Sequence[str],
  metrics: Iterable[Metric],
  candidates: Sequence[str] = CANDIDATES,
  batch: int = 4,
  reals: dict[Any, np.ndarray] | None = None,
) -> list[dict[str, Any]]:
  """How close translations come, beside what needs no training.

  Args:
    translate: (images [b, h, w, c], direction) -> images, float in [-1, 1].
    tests: `Truth`.
    directions: of 'a2b' and 'b2a'.
    metrics: a list of `Metric`.
    candidates: of `CANDIDATES`, the rows wanted.
    batch: pictures of one size to translate and measure at a time.
    reals: a dict to keep features of the true pictures in, for the next call
      with the same pictures, or None.

  Returns:
    A row a direction and candidate: {'direction', 'candidate', column:
    number}, without columns that do not apply. Candidates are 'translated',
    'copy the input' (where channels agree, or gray in each channel), of true
    pairs 'another picture' (a true picture of another pair) and 'true pair' (of
    label maps), and of two directions 'reconstructed' (of pairs of input and
    reconstruction; the direction is 'a2b2a' or 'b2a2b').

  Raises:
    UserError: a picture or a label map can't be used, or there are too few.
  """
  reals = {} if reals is None else reals
  rows = []
  for direction in directions:
    chosen = [m for m in metrics if direction in m.directions]
    there = _Direction(tests, direction, chosen, candidates)
    back = opposite(direction)
    goes_back = _BACK in candidates and back in directions and tests.paired
    for part in _batches(_examples(tests, direction), batch):
      fakes = np.asarray(translate(part['input'], direction), np.float32)
      again = None
      if goes_back:
        again = np.asarray(translate(fakes, back), np.float32)
      there.add(part, fakes, again)
    rows += there.rows(batch, reals)
  return rows


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
  """The rows as a table, in columns that also line up as plain text."""
  heads = list(dict.fromkeys(key for row in rows for key in row))
  cells = [heads] + [[_cell(h, row.get(h, '')) for h in heads] for row in rows]
  widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
  cells.insert(1, ['-' * width for width in widths])
  return ''.join(
    '| ' + ' | '.join(c.ljust(w) for c, w in zip(line, widths)) + ' |\n'
    for line in cells
  )


def _cell(head, value):
  digits = 5 if head.startswith(('KID', 'KD')) else 3
  return f'{value:.{digits}f}' if isinstance(value, float) else value


def _examples(tests, direction):
  """What belongs to each test picture: {name: array}."""
  inputs, others = (tests.pictures[d] for d in direction.split('2'))
  half = max(1, len(others) // 2)
  for place, image in enumerate(inputs):
    example = {'place': np.array(place), 'input': image}
    if tests.paired:
      example['truth'] = others[place]
      example['another'] = others[(place + half) % len(others)]
    yield example


def _batches(examples, size):
  """Joins at most `size` that follow each other and are of the same shapes."""
  group, shapes = [], None
  for example in examples:
    now = [x.shape for x in example.values()]
    if group and (len(group) == size or now != shapes):
      yield _stack(group)
      group = []
    group.append(example)
    shapes = now
  if group:
    yield _stack(group)


def _stack(group):
  return {key: np.stack([x[key] for x in group]) for key in group[0]}


class _Direction:
  """What is measured in one direction."""

  def __init__(self, tests, direction, metrics, candidates):
    self._tests = tests
    self._direction = direction
    self._domains = direction.split('2')
    self._metrics = metrics
    self._candidates = candidates
    self._found = collections.defaultdict(list)  # by candidate and metric

  def add(self, part, fakes, again):
    """Measures a batch of `_batches`, its translations and reconstructions."""
    pictures = {_TRANSLATED: fakes}
    if self._tests.paired:
      pictures |= {_ANOTHER: part['another'], _TRUE: part['truth']}
      shape = part['truth'].shape
      if part['input'].shape[:-1] == shape[:-1] and self._copies():
        pictures[_COPY] = np.broadcast_to(part['input'], shape)
    if again is not None:
      pictures[_BACK] = again
    seen = {}

    def features(metric, images, domain):
      show = self._tests.show[domain]
      key = metric.features, id(images), metric.of_shown and show
      if key not in seen:
        seen[key] = metric.of_images(images, show)
      return seen[key]

    for name in self._candidates:
      for metric in self._metrics:
        if name in pictures and name in _MEASURED[metric.kind]:
          measure = getattr(self, f'_{metric.kind}')
          self._found[name, metric] += measure(
            metric, name, pictures[name], part, features
          )

  def _pairs(self, metric, name, images, part, features):
    here, there = self._domains
    truths = part['input'] if name == _BACK else part['truth']
    domain = here if name == _BACK else there
    if images.shape != truths.shape:
      return []
    return list(
      metric.score(
        features(metric, images, domain), features(metric, truths, domain)
      )
    )

  def _sets(self, metric, name, images, part, features):
    return [features(metric, images, self._domains[1])]

  def _labels(self, metric, name, images, part, features):
    true = [self._tests.labels[place] for place in part['place']]
    if metric.features is not None:
      predicted = features(metric, images, self._domains[1])
    elif name == _TRANSLATED:
      predicted = [
        resize_labels(self._tests.predicted[place], *labels.shape)
        for place, labels in zip(part['place'], true)
      ]
    else:
      return []
    return [confusion(x, y, metric.size) for x, y in zip(predicted, true)]

  def rows(self, batch, reals):
    """The rows of all that was added."""
    if _COPY in self._candidates and self._copies():
      for metric in self._metrics:
        if metric.kind == 'sets':
          self._found[_COPY, metric] = [
            self._real(metric, self._domains[0], batch, reals)
          ]
    rows = []
    for name in self._candidates:
      direction = self._direction
      if name == _BACK:
        direction += f'2{direction[0]}'
      row = {'direction': direction, 'candidate': name}
      for metric in self._metrics:
        if found := self._found[name, metric]:
          numbers = self._score(metric, found, batch, reals)
          # JSON has no NaN.
          row |= {k: v for k, v in numbers.items() if math.isfinite(v)}
      if len(row) > 2:
        rows.append(row)
    return rows

  def _score(self, metric, found, batch, reals):
    if metric.kind == 'pairs':
      return {metric.columns[0]: float(np.mean(found))}
    if metric.kind == 'labels':
      return metric.score(sum(found))
    real = self._real(metric, self._domains[1], batch, reals)
    return metric.score(np.concatenate(found), real)

  def _real(self, metric, domain, batch, reals):
    """Features [n, size] of a domain's true pictures, computed once.

    Those of the inputs are of copies, and shown as the other domain is.
    """
    show = self._tests.show[self._domains[1]]
    key = metric.features, domain, metric.of_shown and show
    if key not in reals:
      examples = ({'input': image} for image in self._tests.pictures[domain])
      parts = _batches(examples, batch)
      reals[key] = np.concatenate(
        [metric.of_images(x['input'], show) for x in parts]
      )
    return reals[key]

  def _copies(self):
    """Returns True if a copy of the input is a picture of the other domain.

    A gray one is, in each of the channels.
    """
    first, other = (self._tests.pictures[d][0] for d in self._domains)
    return first.shape[-1] in (1, other.shape[-1])
