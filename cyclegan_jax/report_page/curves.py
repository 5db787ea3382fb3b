"""Curves of the report, made from the lines of metrics.jsonl."""

import json
import math
import re

from cyclegan_jax.common.errors import UserError

POINTS = 500  # points of a curve, at most

# (title of a chart, pattern of the names of its terms)
_GROUPS = (
  ('Generator terms', r'loss_gen|adv_|cycle_|identity_'),
  ('Discriminator terms', r'loss_disc|disc_|penalty_'),
  ('Discriminator scores', r'score_'),
  ('Learning rates', r'lr_'),
  ('Other terms', ''),
)


def read(path):
  """Returns the lines of a run's metrics.jsonl, sorted by step.

  An incomplete last line, which a killed run can leave, is skipped.

  Args:
    path: path of the file.

  Returns:
    [{'step': int, term: float, or None if not finite}]; [] if the file does not
    exist.

  Raises:
    UserError: the file, or a line before the last one, cannot be read.
  """
  try:
    texts = path.read_bytes().split(b'\n')
  except FileNotFoundError:
    return []
  except OSError as e:
    raise UserError(f'{path} cannot be read ({e.strerror})') from e
  lines = []
  for number, text in enumerate(texts, 1):
    if not text.strip():
      continue
    try:
      lines.append(_line(text))
    except (ValueError, TypeError, KeyError, AttributeError) as e:
      if number == len(texts):
        break
      raise UserError(
        f'{path} line {number} cannot be read as numbers: repair or remove the '
        'line'
      ) from e
  return sorted(lines, key=lambda line: line['step'])


def _line(text):
  """Returns a line of metrics.jsonl as {'step': int, term: float or None}."""
  line = {
    name: None if value is None else float(value)
    for name, value in json.loads(text).items()
  }
  return {
    name: value if value is not None and math.isfinite(value) else None
    for name, value in line.items()
  } | {'step': int(line['step'])}


def curves(lines, points=POINTS):
  """Returns the curve of every logged term, in groups for the charts.

  If there are more lines than `points`, consecutive lines are combined to one
  point, with their mean, minimum and maximum. Terms that are 0 or not finite at
  every step get no curve, and the note names them.

  Args:
    lines: the logged steps of a run, the result of `read`.
    points: largest number of points of a curve.

  Returns:
    {'note', 'first': [step], 'last': [step], 'groups': [{'title', 'terms':
    [{'name', 'mean', 'low', 'high': [value or None], 'gaps': number of values
    that were not finite}]}]}. 'first' and 'last' are the first and last step of
    each point. 'low' and 'high' are missing if no lines were combined. Without
    lines, 'groups' is empty, and 'first' and 'last' are missing.
  """
  if not lines:
    return {'note': 'No numbers are logged yet.', 'groups': []}
  size = math.ceil(len(lines) / points)
  buckets = [lines[i : i + size] for i in range(0, len(lines), size)]
  note = f'{len(lines):,} logged steps.'
  if size > 1:
    note = (
      f'{len(lines):,} logged steps, drawn as {len(buckets)} points: each is '
      f'the mean of {size} steps, with a band from minimum to maximum.'
    )
  names = sorted({name for line in lines for name in line} - {'step'})
  empty = {name: text for name in names if (text := _emptiness(name, lines))}
  if empty:
    texts = (f'{name} ({text})' for name, text in empty.items())
    note += f' Left out: {", ".join(texts)}.'
  groups = {title: [] for title, _ in _GROUPS}
  for name in names:
    if name in empty:
      continue
    title = next(t for t, start in _GROUPS if re.match(start, name))
    groups[title].append(_term(name, buckets, size > 1))
  return {
    'note': note,
    'first': [bucket[0]['step'] for bucket in buckets],
    'last': [bucket[-1]['step'] for bucket in buckets],
    'groups': [
      {'title': title, 'terms': terms}
      for title, terms in groups.items()
      if terms
    ],
  }


def _emptiness(name, lines):
  """Returns the reason why a term has no curve, or '' if it has one."""
  values = {line[name] for line in lines if name in line}
  if values == {0.0}:
    return 'always 0'
  return 'never finite' if values == {None} else ''


def _term(name, buckets, band):
  """Returns the curve of a term, see `curves`.

  Args:
    name: the term.
    buckets: [[line]], the lines that are combined to each point.
    band: if True, minimum and maximum of each point are included.
  """
  values = [
    [line[name] for line in bucket if line.get(name) is not None]
    for bucket in buckets
  ]
  term = {
    'name': name,
    'mean': [_short(math.fsum(x) / len(x)) if x else None for x in values],
    'gaps': sum(
      name in line and line[name] is None for b in buckets for line in b
    ),
  }
  if band:
    term['low'] = [_short(min(x)) if x else None for x in values]
    term['high'] = [_short(max(x)) if x else None for x in values]
  return term


def _short(value):
  """Rounds to five digits, more than a screen shows."""
  return float(f'{value:.5g}')
