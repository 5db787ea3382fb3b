"""Table of the test results of a run, for its last and its best weights."""

import json

from cyclegan_jax.training.evaluation import best_so_far

_NONE = (
  'No test results: they are measured at the end of a run, if the test '
  'pictures are true pairs.'
)
_TRANSLATED = 'translated'


def scores(work, lines):
  """Returns the table of test results of a run.

  The table has the results of the last weights and, if the run kept its best
  weights, of these too.

  Args:
    work: the `Workdir` of the run.
    lines: the logged steps of the run, the result of `curves.read`.

  Returns:
    {'heads', 'rows'}, and 'best', a text on the best weights, if there are any.
    Without results: {'note'}, the reason.
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
  """Returns the rows of a JSON table, or [] if the file is not a table."""
  try:
    rows = json.loads(path.read_text())
  except (OSError, ValueError):
    return []
  return rows if _is_table(rows) else []


def _is_table(rows):
  """Returns True for a list of dicts."""
  return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _best(work):
  """Returns the record of the best weights of a run, or None."""
  best = best_so_far(work.best)
  if not isinstance(best, dict) or not _is_table(best.get('rows')):
    return None
  known = isinstance(best.get('step'), int) and 'best' in best
  value = best.get('value')
  return best if known and isinstance(value, int | float) else None


def _both(rows, best, lines):
  """Returns the rows of the last and the best weights together.

  Columns that are missing for the last weights are filled in with results that
  were logged during training. If `rows` is not empty, only results of the last
  step are used; otherwise the newest results are used.

  Args:
    rows: rows of the last weights and of other candidates; [] for none.
    best: the result of `_best`.
    lines: the result of `curves.read`.

  Returns:
    The rows, and the step of the results that were filled in, or None.
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
  """Returns the text on the best weights.

  Args:
    best: the result of `_best`.
    step: the step of the last weights, or None if it is not shown.
  """
  last = f', the last ones of step {step:,}' if step is not None else ''
  return (
    f'The best weights by {best["best"]} ({best["value"]:.4f}) are of step '
    f'{best["step"]:,}{last}. The best weights were chosen on these test '
    'pictures, so their results are too optimistic.'
  )


def _measured(lines):
  """Returns the newest test results that were logged during training.

  Returns:
    The step, and {direction: {column: number}}; None and {} if there are none.
  """
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
