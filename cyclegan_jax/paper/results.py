"""What the evaluations of runs say: reading them, means over seeds."""

import json
import statistics
from typing import NamedTuple

from cyclegan_jax.common.directions import DIRECTIONS


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
  """

  row: object
  name: str
  seeds: int
  numbers: dict
  steps: tuple = ()


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
    as there are any.
  """
  experiment, rows = asked.experiment, asked.rows
  evaluations = [
    [
      read(experiment.folder(row, seed) / f'{row.evaluation}.json')
      for seed in experiment.seed_numbers()
    ]
    for row in rows
  ]
  candidate = 'reconstructed' if name == 'reconstruction' else 'translated'
  tables = {}
  for direction in _DIRECTIONS.get(name, DIRECTIONS):
    lines = [
      _line(row, found, direction, candidate)
      for row, found in zip(rows, evaluations)
    ]
    if name in ('models', 'losses'):
      first, last = _untrained(evaluations, direction)
      lines = [*first, *lines, *last]
    tables[direction] = lines
  return tables


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
