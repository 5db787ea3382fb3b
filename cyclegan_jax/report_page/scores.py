"""The table of test figures: of the last weights, and of the best ones."""

import json

from cyclegan_jax.training.evaluation import best_so_far

_NONE = (
  'No test figures: they are measured at the end of a run, where the test '
  'pictures are true pairs.'
)
_TRANSLATED = 'translated'


def scores(work, lines):
  """The test figures of a run's last weights and, if kept, its best ones.

  Args:
    work: the `Workdir` of the run.
    lines: of `curves.read`.

  Returns:
    {'heads', 'rows'}, with best weights 'best' too, a text on them; or
    {'note'}, the reason why there are none.
  """
  rows = []
  if work.test_json.exists():
    rows = _rows(work.test_json)
    if not rows:
      return {'note': f'{work.test_json.name} cannot be read.'}
  best = _best(work)
  text = {}
  if best:
    rows, step = _both(rows, best, lines)
    text = {'best': _on_best(best, step)}
  if not rows:
    return {'note': _NONE}
  heads = list(dict.fromkeys(key for row in rows for key in row))
  return {
    'heads': heads,
    'rows': [[row.get(head) for head in heads] for row in rows],
  } | text


def _rows(path):
  """The rows of a table; none where the file holds no table."""
  try:
    rows = json.loads(path.read_text())
  except (OSError, ValueError):
    return []
  return rows if _is_table(rows) else []


def _is_table(rows):
  return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _best(work):
  """A line on the best weights, or None."""
  best = best_so_far(work.best)
  if not isinstance(best, dict) or not _is_table(best.get('rows')):
    return None
  known = isinstance(best.get('step'), int) and 'best' in best
  value = best.get('value')
  return best if known and isinstance(value, int | float) else None


def _both(rows, best, lines):
  """The rows of the last weights and of the best ones, and a step.

  Last weights get the columns that they lack from the measuring in training:
  of the run's end or, where the end was not measured, the newest.

  Args:
    rows: of the last weights, with candidates beside them; [] for none.
    best: of `_best`.
    lines: of `curves.read`.

  Returns:
    The rows, and the step that was measured in training, None if it is not
    shown.
  """
  step, measured = _measured(lines)
  if rows and step != max((line['step'] for line in lines), default=None):
    step, measured = None, {}
  rows = rows or [
    {'direction': row.get('direction'), 'candidate': _TRANSLATED}
    for row in best['rows']
  ]
  both = []
  for row in rows:
    direction = row.get('direction')
    if row.get('candidate') != _TRANSLATED:
      both.append(row)
      continue
    last = row | measured.get(direction, {}) | row
    if len(last) > 2:
      both.append(last | {'candidate': f'{_TRANSLATED}, last'})
    name = f'{_TRANSLATED}, best by {best["best"]}'
    both += [
      found | {'candidate': name}
      for found in best['rows']
      if found.get('direction') == direction
    ]
  return both, step


def _on_best(best, step):
  """A text on the best weights, and on the step that is compared with them."""
  last = f', the last ones at step {step:,}' if step is not None else ''
  return (
    f'The weights best by {best["best"]} ({best["value"]:.4f}) are of step '
    f'{best["step"]:,}{last}. They were chosen on these test pictures '
    'themselves, so their numbers flatter.'
  )


def _measured(lines):
  """The newest step measured in training, and {direction: {column: number}}."""
  for line in reversed(lines):
    found = {}
    for name, value in line.items():
      kind, _, rest = name.partition('/')
      direction, _, column = rest.partition('/')
      if kind == 'test' and column and value is not None:
        found.setdefault(direction, {})[column] = value
    if found:
      return line['step'], found
  return None, {}
