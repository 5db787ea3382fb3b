"""Lines below a table: what has to be known to read its numbers."""

from cyclegan_jax.common.images import shown_as


def lines(chosen, tests):
  """Yields lines about the numbers of metrics.

  Args:
    chosen: a list of `Metric`.
    tests: the `Truth` that they are measured with.
  """
  count = min(len(pictures) for pictures in tests.pictures.values())
  for metric in chosen:
    column = metric.columns[0]
    if metric.kind != 'sets':
      continue
    if len(metric.columns) > 1:
      yield f'{column} low and high bound its 95% interval'
    elif count <= metric.size:
      yield (
        f'{column}: {count} pictures have a covariance of {metric.size} '
        'features that is rank-deficient: compare equal counts only, and see '
        'KD or KID'
      )
  columns = [metric.columns[0] for metric in chosen if metric.of_shown]
  if columns and (texts := _shown(tests)):
    yield f'{", ".join(columns)}: of what is shown, {"; ".join(texts)}'


def _shown(tests):
  """A text for each domain of which more is done than to take RGB."""
  texts = []
  for domain, pictures in tests.pictures.items():
    count = pictures[0].shape[-1]
    if tests.show[domain] or count != 3:
      texts.append(f'of {domain.upper()} {shown_as(count, tests.show[domain])}')
  return texts
