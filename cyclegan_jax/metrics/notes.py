"""Notes printed below a table of metrics, on how to read its numbers."""

from cyclegan_jax.common.images import shown_as


def lines(chosen, tests):
  """Yields notes on how to read the numbers of some metrics.

  The notes name the columns of a 95% interval, warn of a Frechet distance of
  too few pictures, and name the channels that metrics of RGB images see.

  Args:
    chosen: a list of `Metric`.
    tests: the `table.Truth` (test pictures and label maps) that the metrics
      were measured with.

  Yields:
    One line of text per note, without a line end.
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
        f'{column}: the covariance of {metric.size} features is rank-deficient '
        f'with {count} pictures: compare only values of equally many pictures, '
        'or use KD or KID'
      )
  columns = [metric.columns[0] for metric in chosen if metric.of_shown]
  if columns and (texts := _shown(tests)):
    yield f'{", ".join(columns)}: of shown channels only ({"; ".join(texts)})'


def _shown(tests):
  """Returns a text per domain that is not simply shown as RGB."""
  texts = []
  for domain, pictures in tests.pictures.items():
    count = pictures[0].shape[-1]
    if tests.show[domain] or count != 3:
      texts.append(f'{domain.upper()}: {shown_as(count, tests.show[domain])}')
  return texts
