"""Metrics of the test set, during and after training, and the best weights."""

import json

import numpy as np

from cyclegan_jax.common import files, hosts
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.metrics import registry
from cyclegan_jax.metrics.base import Needs
from cyclegan_jax.metrics.table import CANDIDATES, table
from cyclegan_jax.metrics.test_set import truth


def final_table(translate, data, directions):
  """Measures the test set at the end of a training.

  The metrics are L1, PSNR and SSIM. The accuracy of label maps is added
  (`palette`) if the dataset has them and domain B is gray or RGB, since classes
  are recognised by their colours.

  Args:
    translate: (images [b, h, w, c] in [-1, 1], direction) -> images.
    data: a `Dataset` whose test pictures are true pairs.
    directions: the directions to measure, of 'a2b' and 'b2a'.

  Returns:
    A list of rows {'direction', 'candidate', column: number, ...}, as
    `metrics.table.table` returns it.
  """
  there = truth(data)
  names = ['l1', 'psnr', 'ssim']
  if there.labels is not None and data.channels['b'] in (1, 3):
    names.append('palette')
  chosen = registry.make(names, Needs(there.paired, colours=there.colours))
  return table(translate, there, directions, chosen, CANDIDATES[:4])


class Tracker:
  """Function that measures the test set and keeps the best weights."""

  def __init__(self, there, directions, chosen, best, folder, save):
    """Stores the arguments; nothing is measured until the tracker is called.

    Args:
      there: the `metrics.table.Truth` (test pictures and label maps) to measure
        with.
      directions: the directions to measure, of 'a2b' and 'b2a'.
      chosen: a list of `Metric`.
      best: the criterion for the best weights, the result of `ranking`: (text,
        column, directions, sign); None to keep no weights.
      folder: path of the best model. A link with this path leads to the model
        folder, which is beside it.
      save: (folder, params) -> None, writes a model folder.
    """
    self._tests = there
    self._directions = directions
    self._metrics = chosen
    self._best = best
    self._folder = folder
    self._save = save
    self._reals = {}

  def __call__(self, step, translate, params):
    """Measures the test set, and saves the model if it is the best so far.

    Args:
      step: number of steps done.
      translate: (images [b, h, w, c] in [-1, 1], direction) -> images.
      params: {'gen': params}, the generators' parameters to save.

    Returns:
      {'test/DIRECTION/COLUMN': value}, for example 'test/a2b/L1'.

    Raises:
      UserError: the model cannot be written, a picture or label map cannot be
        used, or there are too few pictures for a metric.
    """
    rows = table(
      translate,
      self._tests,
      self._directions,
      self._metrics,
      CANDIDATES[:1],
      reals=self._reals,
    )
    if self._best and hosts.writes():
      with files.writing(self._folder):
        self._keep(step, rows, params)
    return {
      f'test/{row["direction"]}/{column}': value
      for row in rows
      for column, value in row.items()
      if isinstance(value, float)
    }

  def _keep(self, step, rows, params):
    """Saves the parameters and their rows if they are the best so far."""
    name, column, directions, sign = self._best
    values = [
      row[column]
      for row in rows
      if row['direction'] in directions and column in row
    ]
    if len(values) < len(directions):  # NaN is left out of the rows
      return
    value = float(np.mean(values))
    before = best_so_far(self._folder)
    if before.get('best') == name and sign * value >= sign * before['value']:
      self._clean()
      return
    place = self._folder.with_name(f'{self._folder.name}_at_{step}')
    if place == self._target():  # kept by another metric at the same step
      place = place.with_name(f'{place.name}_again')
    files.remove(place)
    self._save(place, params)
    content = {'step': step, 'best': name, 'value': value, 'rows': rows}
    files.write(place / 'evaluation.json', json.dumps(content, indent=2) + '\n')
    files.link(self._folder, place)
    self._clean()

  def _target(self):
    """Returns the model folder that the link of the best model leads to."""
    return files.resolved(self._folder)

  def _clean(self):
    """Removes the previous best models and any that were only half written."""
    for place in self._folder.parent.glob(f'{self._folder.name}_at_*'):
      if files.resolved(place) != self._target():
        files.remove(place)


def best_so_far(folder):
  """Reads the record of the best model of a run.

  Args:
    folder: path of the best model.

  Returns:
    {'step': of the model, 'best': the criterion, 'value': of the criterion,
    'rows': of `metrics.table.table`}; {} if no best model is kept.
  """
  try:
    return json.loads((files.resolved(folder) / 'evaluation.json').read_text())
  except (OSError, ValueError):
    return {}


def ranking(text, chosen, directions):
  """Parses evaluate.best, the criterion by which `Tracker` keeps weights.

  Args:
    text: 'METRIC DIRECTION'; 'METRIC' for the mean over its directions; '' for
      none.
    chosen: the list of `Metric` that are measured.
    directions: the directions that the model has.

  Returns:
    None if `text` is empty; else (text, column, directions, sign): the column
    of the metric, the directions to average, and 1 or -1 such that a lower
    sign * value is better.

  Raises:
    UserError: the metric is not measured, or not in this direction.
  """
  if not text:
    return None
  name, _, direction = text.strip().partition(' ')
  found = {
    d: metric
    for metric in chosen
    for d in metric.directions
    if metric.name == name and d in directions
  }
  wanted = [direction.strip()] if direction else list(found)
  if not found or not set(wanted) <= set(found):
    names = ', '.join(dict.fromkeys(metric.name for metric in chosen))
    raise UserError(
      f'evaluate.best={text!r} is not measured: give one of evaluate.metrics '
      f'({names}) and optionally a direction, for example "{chosen[0].name} '
      f'{directions[0]}"'
    )
  metric = found[wanted[0]]
  sign = {'low': 1, 'high': -1}[metric.best]
  return text, metric.columns[0], wanted, sign
