"""Contents of tables.md and tables.csv, in the form of the paper's tables."""

import csv
import io

from cyclegan_jax.paper import results
from cyclegan_jax.training.workdir import Workdir

# Columns where lower is better; in all others higher is better.
_LOW = ('L1', 'LPIPS', 'FID', 'KID', 'FD', 'KD')
_INTERVAL = (' low', ' high')  # of a kernel distance: only in tables.csv
_SCORES = ('pixel accuracy', 'class accuracy', 'class IoU')
# FCN scores of the paper: (suite, direction) -> {row: (pixel accuracy, class
# accuracy, class IoU)}. Photographs are A and label maps B here, so the paper's
# forward cycle, labels -> photo -> labels, is the backward cycle here.
_PAPER = {
  ('models', 'b2a'): {
    'CoGAN': (0.40, 0.10, 0.06),
    'CycleGAN': (0.52, 0.17, 0.11),
    'pix2pix': (0.71, 0.25, 0.18),
  },
  ('models', 'a2b'): {
    'CycleGAN': (0.58, 0.22, 0.16),
    'pix2pix': (0.85, 0.40, 0.32),
  },
  ('losses', 'b2a'): {
    'Cycle alone': (0.22, 0.07, 0.02),
    'GAN alone': (0.51, 0.11, 0.08),
    'GAN + backward cycle': (0.55, 0.18, 0.12),
    'CycleGAN': (0.52, 0.17, 0.11),
  },
}
_CAPTIONS = {
  'models': (
    "Comparison of methods (the paper's Tables 1 to 3, and three later "
    'methods).'
  ),
  'losses': (
    "Ablation of the losses (the paper's Tables 4 and 5). The forward cycle is "
    "a -> b -> a, the backward cycle b -> a -> b. The paper's forward cycle "
    'starts from the labels, which are B here: the numbers of its "GAN + '
    'forward" stand beside the backward cycle. As in the paper, the rows have '
    'no identity loss, except CycleGAN and the rows that end with ", identity".'
  ),
  'reconstruction': (
    "Reconstructions compared with their input pictures (the paper's Figure 4)."
  ),
  'limits': (
    'Limits of CycleGAN (Sec. 6 of the paper): maps rotated by 90 degrees or '
    'turned upside down, which requires a change of shape, and test pictures '
    'of another part of the world. pix2pix, which is trained on true pairs, is '
    'the upper bound.'
  ),
}
_DIRECTIONS = {
  'a2b': 'A to B',
  'b2a': 'B to A',
  'a2b2a': 'A to B to A',
  'b2a2b': 'B to A to B',
}


_READING = (
  'Numbers are means +- sample standard deviations over seeds, for images in '
  '[-1, 1]. Bold marks the best of the rows trained without pairs; rows with * '
  'are trained on true pairs. tables.csv also contains the numbers of every '
  'seed and the 95% intervals of kernel distances.'
)


def markdown(suites, pictures):
  """Returns the text of tables.md.

  Args:
    suites: {name of a suite: `results.Asked`, the rows of the suite with the
      settings of its latest command}.
    pictures: {name of a suite: [(title of a figure, path relative to
      tables.md)]}.
  """
  parts = ['# Experiments', _READING]
  for name, asked in suites.items():
    found = results.suite(name, asked)
    parts += [f'## {name}', _CAPTIONS[name]]
    if asked.experiment.best:
      parts.append(_on_best(asked.experiment))
    parts.append(_facts(asked, found))
    for direction, lines in found.items():
      parts.append(f'### {name}: {_DIRECTIONS[direction]} ({direction})')
      parts.append(_table(asked.experiment, name, direction, lines))
    if asked.left_out:
      parts.append('\n'.join(f'- {line}' for line in asked.left_out))
    for title, path in pictures.get(name, ()):
      parts.append(f'{title}:\n\n![{title}]({path})')
  return '\n\n'.join(parts) + '\n'


def _on_best(experiment):
  """Returns a paragraph that explains the lines of best weights."""
  return (
    f'"Best by {experiment.best}" is the best of the models evaluated during a '
    f'training (evaluate.every={experiment.options["evaluate.every"]}) and at '
    'its end. This model was chosen on the test pictures themselves, so its '
    'numbers are optimistic. "Last" is the model at the end of the training. '
    'Bold compares lines of best weights only with each other, and lines of '
    'last weights only with each other.'
  )


def _facts(asked, found):
  """Returns a list of the steps, seeds, config, code and command of a suite."""
  experiment = asked.experiment
  lines = sum(found.values(), [])
  steps = sorted({n for line in lines for n in line.steps})
  return (
    f'- steps: {", ".join(map(str, steps)) or "none yet"}\n'
    f'- seeds: {", ".join(map(str, experiment.seed_numbers()))}\n'
    f'- config: `{" ".join(experiment.given)}`\n'
    f'- code: {", ".join(_versions(asked)) or "unknown"}\n'
    f'- command: `{asked.command}`'
  )


def _versions(asked):
  """Returns the versions and git commits that the runs were trained with."""
  found = set()
  for row in asked.rows:
    for seed in asked.experiment.seed_numbers():
      work = Workdir(asked.experiment.folder(row, seed))
      known = results.read(work.environment) or {}
      version = known.get('version') or known.get('packages', {}).get(
        'cyclegan_jax'
      )
      commit, _, changes = (known.get('git_commit') or '').partition('+')
      if version:
        found.add(
          f'cyclegan_jax {version}'
          + (f' at {commit[:12]}' if commit else '')
          + (f' + {changes}' if changes else '')
        )
  return sorted(found)


def _table(experiment, suite, direction, lines):
  columns = _shown(lines)
  if not columns:
    return 'No run has been evaluated yet.'
  paper = _PAPER.get((suite, direction), {}) if _SCORES[0] in columns else {}
  # In limits, each row has its own test pictures: no row is marked as best.
  top = {
    (column, best): None if suite == 'limits' else _best(lines, column, best)
    for column in columns
    for best in (False, True)
  }
  heads = ['', *columns]
  if experiment.seeds > 1:
    heads.append('seeds')
  if paper:
    heads.append('the paper on Cityscapes')
  rows = [heads, ['---'] * len(heads)]
  for line in lines:
    cells = [line.name + ('*' if line.row and line.row.paired else '')]
    cells += [_cell(line, column, top[column, line.best]) for column in columns]
    if experiment.seeds > 1:
      cells.append(f'{line.seeds} of {experiment.seeds}' if line.row else '')
    if paper:
      last = line.row and not line.best
      known = paper.get(line.row.name, ()) if last else ()
      cells.append(' / '.join(f'{x:.2f}' for x in known))
    rows.append(cells)
  text = '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in rows)
  if paper:
    text += (
      "\n\nThe last column has the paper's results: pixel accuracy / class "
      'accuracy / class IoU on Cityscapes, trained at 128 px. Unless the other '
      'columns are of Cityscapes with its segmenter, compare the order of the '
      'rows, not the numbers.'
    )
  return text


def _shown(lines):
  columns = dict.fromkeys(column for line in lines for column in line.numbers)
  return [c for c in columns if not c.endswith(_INTERVAL)]


def _best(lines, column, best):
  """Returns the best rounded mean of a column over rows trained without pairs.

  Args:
    lines: list of `results.Line`.
    column: name of the column.
    best: True for the lines of best weights, False for those of last weights.

  Returns:
    The mean, or None for fewer than two such lines.
  """
  means = [
    round(line.numbers[column].mean, _digits(column))
    for line in lines
    if line.row
    and not line.row.paired
    and line.best == best
    and column in line.numbers
  ]
  if len(means) < 2:
    return None
  return min(means) if column.split()[0] in _LOW else max(means)


def _cell(line, column, best):
  if line.row and not line.seeds:
    return 'missing'
  if column not in line.numbers:
    return ''
  number = line.numbers[column]
  digits = _digits(column)
  text = f'{number.mean:.{digits}f}'
  if number.deviation is not None:
    text += f' +- {number.deviation:.{digits}f}'
  trained = line.row and not line.row.paired
  return (
    f'**{text}**' if trained and round(number.mean, digits) == best else text
  )


def _digits(column):
  return 4 if column.startswith(('KD', 'KID')) else 3


_HEADS = (
  'suite',
  'row',
  'seed count',
  'direction',
  'metric',
  'mean',
  'deviation',
  'values',
)


def long_form(suites):
  """Returns the text of tables.csv: one line per row, direction and metric.

  The column `values` contains one number per seed, separated by spaces.

  Args:
    suites: {name of a suite: `results.Asked`, the rows of the suite with the
      settings of its latest command}.
  """
  file = io.StringIO()
  writer = csv.writer(file, lineterminator='\n')
  writer.writerow(_HEADS)
  for name, asked in suites.items():
    for direction, lines in results.suite(name, asked).items():
      for line in lines:
        for column, number in line.numbers.items():
          deviation = number.deviation
          writer.writerow(
            [
              name,
              line.name,
              line.seeds,
              direction,
              column,
              f'{number.mean:.6g}',
              '' if deviation is None else f'{deviation:.6g}',
              ' '.join(f'{x:.6g}' for x in number.values),
            ]
          )
  return file.getvalue()
