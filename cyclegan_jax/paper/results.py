"""Results of a suite: reads the evaluations of runs, averages over seeds."""

import json
import statistics
from typing import NamedTuple

from cyclegan_jax.common.directions import DIRECTIONS
from cyclegan_jax.paper import runs


class Asked(NamedTuple):
  """A suite of the tables, with the settings of its latest command.

  Attributes:
    experiment: a `runs.Experiment`.
    rows: list of the `suites.Row`s of the suite.
    left_out: lines that say which rows and metrics are left out, and why.
    command: the latest command line that ran the suite.
  """

  experiment: object
  rows: list
  left_out: list
  command: str


class Number(NamedTuple):
  """Values of a metric over the seeds of a row, with their mean and deviation.

  Attributes:
    values: one value per seed.
  """

  values: tuple

  @property
  def mean(self):
    """Mean of the values."""
    return statistics.fmean(self.values)

  @property
  def deviation(self):
    """Sample standard deviation of the values, or None for a single value."""
    return statistics.stdev(self.values) if len(self.values) > 1 else None


class Line(NamedTuple):
  """A line of a table: the results of a row in one direction.

  Attributes:
    row: the `suites.Row`, or None for a candidate without training.
    name: name in the table.
    seeds: number of evaluated runs of the row (0 without training).
    numbers: {column: `Number`}.
    steps: the different numbers of steps that the runs were trained for, in
      ascending order.
    best: True for the best weights of the runs, False for the last ones.
  """

  row: object
  name: str
  seeds: int
  numbers: dict
  steps: tuple = ()
  best: bool = False


# Candidate of an evaluation that needs no training -> name in the tables.
_UNTRAINED = {'copy the input': 'copy the input', 'true pair': 'ground truth'}
_DIRECTIONS = {'reconstruction': ('a2b2a', 'b2a2b')}


def read(path):
  """Reads a JSON file, such as an evaluation of a run.

  Args:
    path: path of the file.

  Returns:
    The content, or None if the file is missing or is not valid JSON.
  """
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError):
    return None


def suite(name, asked):
  """Reads the lines of the tables of a suite.

  Args:
    name: name of the suite.
    asked: the `Asked` of the suite: its rows and settings.

  Returns:
    {direction: [`Line`]}, one entry per table. A row that is not evaluated yet
    has a line without numbers. In the suites models and losses, the rows stand
    between the lines 'copy the input' and 'ground truth', if the evaluations
    measured these two candidates. If the config sets evaluate.best, an
    evaluated row has two lines: its last weights, then its best weights.
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
  """Reads the evaluations of a row's last weights.

  Returns a list with one entry per seed; a missing evaluation is None.
  """
  return [
    read(experiment.folder(row, seed) / f'{row.evaluation}.json')
    for seed in experiment.seed_numbers()
  ]


def _of_best(experiment, row):
  """Reads the evaluations of a row's best weights.

  Returns a list with one entry per run that kept best weights by the metric
  evaluate.best; a missing evaluation is None.
  """
  folders = [experiment.folder(row, seed) for seed in experiment.seed_numbers()]
  return [
    read(folder / f'{row.best_evaluation}.json')
    for folder in folders
    if experiment.best and runs.has_best(experiment, folder)
  ]


def _lines(last, best, metric):
  """Returns the lines of a row: [last] or, with a metric, [last, best].

  Args:
    last: `Line` of the last weights.
    best: `Line` of the best weights.
    metric: evaluate.best of the config; '' gives [last].
  """
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
  """Returns the lines of the candidates that need no training.

  Returns:
    ([`Line` of 'copy the input'], [`Line` of 'ground truth']) from the first
    evaluation found; a list is empty if the evaluation lacks the candidate.
  """
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
