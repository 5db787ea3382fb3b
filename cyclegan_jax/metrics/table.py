"""Table of metrics over all test pictures, computed batch by batch."""

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
# kind of metric -> candidates it is measured for
_MEASURED = {
  'pairs': (_TRANSLATED, _COPY, _ANOTHER, _BACK),
  'labels': (_TRANSLATED, _COPY, _ANOTHER, _TRUE),
  'sets': (_TRANSLATED,),
}


class Truth(NamedTuple):
  """Test pictures and label maps that translations are compared with.

  Attributes:
    pictures: {'a': images, 'b': images}, sequences of float32 [height, width,
      channels] in [-1, 1].
    paired: whether pictures of A and B at the same position are true pairs.
    labels: sequence of the true label maps of the pictures of A, integers
      [height, width], or None.
    colours: for each class its RGB colours in [0, 255], or None.
    predicted: sequence of ready-made label maps of the b2a translations, by
      position, or None.
    show: {'a': channels, 'b': channels}, the channels that metrics of RGB
      images see: one or three numbers counted from 1, or None for the choice of
      `images.shown`.
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
  """Measures translations of all test pictures, and baselines for comparison.

  The candidates, one row each per direction, are:

  - 'translated': the translations.
  - 'copy the input': the untranslated inputs, if both domains have equally many
    channels or the input is gray (the gray channel is repeated).
  - 'another picture': the true picture of another pair (true pairs only).
  - 'true pair': the true picture itself, for metrics of label maps (true pairs
    only).
  - 'reconstructed': reconstructions compared with their inputs, for metrics of
    pairs (true pairs and both directions only). The row's direction is 'a2b2a'
    or 'b2a2b'.

  Args:
    translate: function (images, direction) -> images, float [batch, height,
      width, channels] in [-1, 1].
    tests: the `Truth` to compare with.
    directions: directions to measure: 'a2b', 'b2a' or both.
    metrics: a list of `Metric`.
    candidates: rows to compute, a selection of `CANDIDATES`.
    batch: largest number of pictures to translate and measure at a time; a
      batch holds pictures of equal size only.
    reals: a dict in which features of the true pictures are kept. Pass the same
      dict to later calls with the same pictures to compute the features only
      once.

  Returns:
    A list of rows {'direction': str, 'candidate': str, column: number, ...}. A
    row has no columns of metrics that do not apply or are not finite. Rows
    without any number are left out.

  Raises:
    UserError: a picture or label map cannot be used, or there are too few
      pictures for a metric.
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
  """Formats rows as a Markdown table whose columns align as plain text.

  Args:
    rows: dicts of column name to text or number. The table has the columns of
      all rows; a cell without value is empty.

  Returns:
    The text of the table. Numbers have 3 decimals, KID and KD have 5.
  """
  heads = list(dict.fromkeys(key for row in rows for key in row))
  cells = [heads] + [[_cell(h, row.get(h, '')) for h in heads] for row in rows]
  widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
  cells.insert(1, ['-' * width for width in widths])
  return ''.join(
    '| ' + ' | '.join(c.ljust(w) for c, w in zip(line, widths)) + ' |\n'
    for line in cells
  )


def _cell(head, value):
  """Returns the text of a table cell in the column named `head`."""
  digits = 5 if head.startswith(('KID', 'KD')) else 3
  return f'{value:.{digits}f}' if isinstance(value, float) else value


def _examples(tests, direction):
  """Yields, for each input of a direction, a dict of the arrays to measure."""
  inputs, others = (tests.pictures[d] for d in direction.split('2'))
  half = max(1, len(others) // 2)
  for place, image in enumerate(inputs):
    example = {'place': np.array(place), 'input': image}
    if tests.paired:
      example['truth'] = others[place]
      example['another'] = others[(place + half) % len(others)]
    yield example


def _batches(examples, size):
  """Yields batches of up to `size` successive examples of equal shapes."""
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
  """Stacks a list of dicts of arrays into one dict of batches."""
  return {key: np.stack([x[key] for x in group]) for key in group[0]}


class _Direction:
  """Collects the measurements of one direction, batch by batch.

  Call `add` for each batch, then `rows` for the result.
  """

  def __init__(self, tests, direction, metrics, candidates):
    """Stores the arguments; no batch has been measured yet.

    Args:
      tests: the `Truth` to compare with.
      direction: 'a2b' or 'b2a'.
      metrics: a list of `Metric`.
      candidates: rows to compute, a selection of `CANDIDATES`.
    """
    self._tests = tests
    self._direction = direction
    self._domains = direction.split('2')
    self._metrics = metrics
    self._candidates = candidates
    self._found = collections.defaultdict(list)  # by candidate and metric

  def add(self, part, fakes, again):
    """Measures one batch.

    Args:
      part: a batch of `_batches`.
      fakes: translations of the batch's inputs, [batch, height, width,
        channels].
      again: reconstructions of the inputs, or None.
    """
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
    """Returns one number per image, for metrics of kind 'pairs'."""
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
    """Returns [features of the batch], for metrics of kind 'sets'."""
    return [features(metric, images, self._domains[1])]

  def _labels(self, metric, name, images, part, features):
    """Returns one confusion matrix per image, for metrics of kind 'labels'."""
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
    """Returns the rows of all batches added so far, in the form of `table`.

    Args:
      batch: pictures per batch when features of true pictures are computed.
      reals: dict that holds the features of true pictures; filled here.
    """
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
          # JSON cannot represent NaN.
          row |= {k: v for k, v in numbers.items() if math.isfinite(v)}
      if len(row) > 2:
        rows.append(row)
    return rows

  def _score(self, metric, found, batch, reals):
    """Returns {column: number} of a metric, from the measured batches."""
    if metric.kind == 'pairs':
      return {metric.columns[0]: float(np.mean(found))}
    if metric.kind == 'labels':
      return metric.score(sum(found))
    real = self._real(metric, self._domains[1], batch, reals)
    return metric.score(np.concatenate(found), real)

  def _real(self, metric, domain, batch, reals):
    """Returns the features [n, size] of a domain's true pictures.

    Features are computed once and kept in `reals`. The shown channels are the
    target domain's even for inputs, because inputs are measured as copies.
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
    """Returns True if an input can be measured as a picture of the target.

    The numbers of channels must be equal, or the input is gray: its channel is
    then repeated.
    """
    first, other = (self._tests.pictures[d][0] for d in self._domains)
    return first.shape[-1] in (1, other.shape[-1])
