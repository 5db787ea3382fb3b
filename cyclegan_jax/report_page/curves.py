"""The lines of metrics.jsonl as curves to draw."""

import json
import math
import re

from cyclegan_jax.common.errors import UserError

POINTS = 500

# (title, what the names of its terms look like); the rest are other terms.
_GROUPS = (
  ('Generator terms', r'loss_gen|adv_|cycle_|identity_'),
  ('Discriminator terms', r'loss_disc|disc_|penalty_'),
  ('Discriminator scores', r'score_'),
  ('Learning rates', r'lr_'),
  ('Other terms', ''),
)


def read(path):
  """The lines of a run's metrics.jsonl, in the order of steps.

  A last line half written, as a killed run leaves it, is left out.

  Returns:
    [{'step': int, term: float or None (not finite)}]; none without a file.

  Raises:
    UserError: another line can't be read.
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
        f'{path} line {number} cannot be read as numbers: mend or remove it'
      ) from e
  return sorted(lines, key=lambda line: line['step'])


def _line(text):
  line = {
    name: None if value is None else float(value)
    for name, value in json.loads(text).items()
  }
  return {
    name: value if value is not None and math.isfinite(value) else None
    for name, value in line.items()
  } | {'step': int(line['step'])}


def curves(lines, points=POINTS):
  """Curves of every term.

  More lines than `points` are drawn together, as many after another as it
  takes: each point is then their mean, with their least and most.

  Terms that are 0 or not finite at every step have no curve; the note names
  them.

  Args:
    lines: of `read`.
    points: at most so many a curve.

  Returns:
    {'note', 'first': [step], 'last': [step], 'groups': [{'title', 'terms':
    [{'name', 'mean', 'low', 'high': [value or None], 'gaps': values that were
    not finite}]}]}; 'low' and 'high' are absent where nothing was drawn
    together, and all but the note without lines.
  """
  if not lines:
    return {'note': 'No numbers are logged yet.', 'groups': []}
  size = math.ceil(len(lines) / points)
  buckets = [lines[i : i + size] for i in range(0, len(lines), size)]
  note = f'{len(lines):,} logged steps.'
  if size > 1:
    note = (
      f'{len(lines):,} logged steps, drawn as {len(buckets)} points: each is '
      f'the mean of {size}, the band their least and most.'
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
  """Tells why a term has nothing to draw; '' if it has."""
  values = {line[name] for line in lines if name in line}
  if values == {0.0}:
    return 'always 0'
  return 'never finite' if values == {None} else ''


def _term(name, buckets, band):
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
  """Five digits, which is more than a screen shows."""
  return float(f'{value:.5g}')
