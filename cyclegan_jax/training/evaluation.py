"""Test figures during and at the end of training, and the best weights."""

import json

import numpy as np

from cyclegan_jax.common import files, hosts
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.metrics import registry
from cyclegan_jax.metrics.base import Needs
from cyclegan_jax.metrics.table import CANDIDATES, table
from cyclegan_jax.metrics.test_set import truth


def final_table(translate, data, directions):
  """The `table` of a training's end: L1, PSNR, SSIM, classes of the maps.

  The classes of gray and RGB translations alone have colours.

  Args:
    translate: (images [b, h, w, c], direction) -> images.
    data: a `Dataset`, its test pictures true pairs.
    directions: of 'a2b' and 'b2a'.
  """
  there = truth(data)
  names = ['l1', 'psnr', 'ssim']
  if there.labels is not None and data.channels['b'] in (1, 3):
    names.append('palette')
  chosen = registry.make(names, Needs(there.paired, colours=there.colours))
  return table(translate, there, directions, chosen, CANDIDATES[:4])


class Tracker:
  """Measures the test pictures during training, and keeps the best weights."""

  def __init__(self, there, directions, chosen, best, folder, save):
    """Measures nothing yet.

    Args:
      there: `Truth`.
      directions: of 'a2b' and 'b2a'.
      chosen: a list of `Metric`.
      best: what to keep the best by, from `ranking`, or None.
      folder: where the best is kept: a link to a folder beside it.
      save: (folder, params) -> None, writes a model.
    """
    self._tests = there
    self._directions = directions
    self._metrics = chosen
    self._best = best
    self._folder = folder
    self._save = save
    self._reals = {}

  def __call__(self, step, translate, params):
    """{'test/a2b/L1': number}; the best so far is written.

    Args:
      step: the step it is.
      translate: (images [b, h, w, c], direction) -> images.
      params: {'gen'}, what is kept if it is the best.
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
    name, column, directions, sign = self._best
    values = [
      row[column]
      for row in rows
      if row['direction'] in directions and column in row
    ]
    if len(values) < len(directions):  # not a number
      return
    value = float(np.mean(values))
    before = best_so_far(self._folder)
    if before.get('best') == name and sign * value >= sign * before['value']:
      self._clean()
      return
    place = self._folder.with_name(f'{self._folder.name}_at_{step}')
    if place == self._target():  # the best of another metric
      place = place.with_name(f'{place.name}_again')
    files.remove(place)
    self._save(place, params)
    content = {'step': step, 'best': name, 'value': value, 'rows': rows}
    files.write(place / 'evaluation.json', json.dumps(content, indent=2) + '\n')
    files.link(self._folder, place)
    self._clean()

  def _target(self):
    return files.resolved(self._folder)

  def _clean(self):
    """Removes what was the best before, and what was left half written."""
    for place in self._folder.parent.glob(f'{self._folder.name}_at_*'):
      if files.resolved(place) != self._target():
        files.remove(place)


def best_so_far(folder):
  """What is said of the best weights kept: {'step', 'best', 'value', 'rows'}.

  Nothing if there are none.
  """
  try:
    return json.loads((files.resolved(folder) / 'evaluation.json').read_text())
  except (OSError, ValueError):
    return {}


def ranking(text, chosen, directions):
  """What `Tracker` keeps the best by.

  Args:
    text: 'METRIC DIRECTION', or 'METRIC': the mean over its directions.
    chosen: the list of `Metric` that are measured.
    directions: those the model has.

  Returns:
    (text, column, directions, sign), where a lower sign * value is better;
    None for ''.

  Raises:
    UserError: it is not measured.
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
      f'({names}) and, if you like, a direction: "{chosen[0].name} '
      f'{directions[0]}"'
    )
  metric = found[wanted[0]]
  sign = {'low': 1, 'high': -1}[metric.best]
  return text, metric.columns[0], wanted, sign
