"""What the evaluations of runs say: reading them, means over seeds."""

import json
import statistics
from typing import NamedTuple

from cyclegan_jax.common.directions import DIRECTIONS
from cyclegan_jax.paper import runs


class Asked(NamedTuple):
  """A suite in the tables, as it was last asked for.

  Attributes:
    experiment: a `runs.Experiment`.
    rows: its `suites.Row`s.
    left_out: lines on what is left out.
    command: the command line that asked for it.
  """

  experiment: object
  rows: list
  left_out: list
  command: str


class Number(NamedTuple):
  """A metric over seeds.

  Attributes:
    values: one a seed.
  """

  values: tuple

  @property
  def mean(self):
    return statistics.fmean(self.values)

  @property
  def deviation(self):
    """The sample standard deviation; None of one value."""
    return statistics.stdev(self.values) if len(self.values) > 1 else None


class Line(NamedTuple):
  """A row of a suite in one direction.

  Attributes:
    row: its `suites.Row`; None for what needs no training.
    name: as it stands in the table.
    seeds: how many runs there are of it.
    numbers: {column: `Number`}.
    steps: the steps its runs were trained for, in order.
    best: whether it is of the best weights instead of the last.
  """

  row: object
  name: str
  seeds: int
  numbers: dict
  steps: tuple = ()
  best: bool = False


# Candidates of an evaluation that need no training -> names in the tables.
_UNTRAINED = {'copy the input': 'copy the input', 'true pair': 'ground truth'}
_DIRECTIONS = {'reconstruction': ('a2b2a', 'b2a2b')}


def read(path):
  """An evaluation's file; None where there is none that can be read."""
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError):
    return None


def suite(name, asked):
  """The lines of a suite.

  Args:
    name: of the suite.
    asked: an `Asked`.

  Returns:
    {direction: [`Line`]}: 'copy the input', the rows, 'ground truth', as far
    as there are any. Where the config has evaluate.best, a row that is trained
    has two lines: its last weights, then its best ones.
  """
  experiment, rows = asked.experiment, asked.rows
  evaluations = [_evaluations(experiment, row) for row in rows]
  chosen = [_of_best(experiment, row) for row in rows]
  candidate = 'reconstructed' if name == 'reconstruction' else 'translated'
  tables = {}
  for direction in _DIRECTIONS.get(name, DIRECTIONS):
    lines = [
      line
      for row, last, best in zip(rows, evaluations, chosen)
      for line in _lines(
        _line(row, last, direction, candidate),
        _line(row, best, direction, candidate),
        experiment.best,
      )
    ]
    if name in ('models', 'losses'):
      first, last = _untrained(evaluations, direction)
      lines = [*first, *lines, *last]
    tables[direction] = lines
  return tables


def _evaluations(experiment, row):
  """The evaluations of a row's last weights, None where there is none."""
  return [
    read(experiment.folder(row, seed) / f'{row.evaluation}.json')
    for seed in experiment.seed_numbers()
  ]


def _of_best(experiment, row):
  """The same of its best weights, without those by another metric."""
  folders = [experiment.folder(row, seed) for seed in experiment.seed_numbers()]
  return [
    read(folder / f'{row.best_evaluation}.json')
    for folder in folders
    if experiment.best and runs.has_best(experiment, folder)
  ]


def _lines(last, best, metric):
  """The lines of a row; the last weights alone where nothing else is asked."""
  if not metric or not (last.seeds or best.seeds):
    return [last]
  return [
    last._replace(name=f'{last.name}, last'),
    best._replace(name=f'{best.name}, best by {metric}', best=True),
  ]


def _line(row, evaluations, direction, candidate):
  there = [e for e in evaluations if e]
  columns = [_columns(e, direction, candidate) for e in there]
  names = dict.fromkeys(key for c in columns for key in c)
  numbers = {
    key: Number(tuple(c[key] for c in columns if key in c)) for key in names
  }
  steps = tuple(sorted({e['step'] for e in there if e.get('step')}))
  return Line(row, row.name, len(there), numbers, steps)


def _untrained(evaluations, direction):
  """Lines ([before], [after]) of candidates that are the same for all."""
  there = next((e for found in evaluations for e in found if e), None)
  lines = []
  for candidate, name in _UNTRAINED.items():
    columns = _columns(there, direction, candidate) if there else {}
    numbers = {key: Number((value,)) for key, value in columns.items()}
    lines.append([Line(None, name, 0, numbers)] if numbers else [])
  return lines


def _columns(evaluation, direction, candidate):
  for row in evaluation['rows']:
    if (row['direction'], row['candidate']) == (direction, candidate):
      return {
        key: value
        for key, value in row.items()
        if isinstance(value, (int, float))
      }
  return {}
