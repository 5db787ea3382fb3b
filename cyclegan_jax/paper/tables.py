"""tables.md and tables.csv, in the form of the paper's tables."""

import csv
import io

from cyclegan_jax.paper import results
from cyclegan_jax.training.workdir import Workdir

# columns where less is better; more is better in the others
_LOW = ('L1', 'LPIPS', 'FID', 'KID', 'FD', 'KD')
_INTERVAL = (' low', ' high')  # of a kernel distance: in tables.csv alone
_SCORES = ('pixel accuracy', 'class accuracy', 'class IoU')
# The paper's own FCN scores: (suite, direction) -> {run: pixel, class, IoU}.
# Its photographs are A, its label maps B, so its forward cycle, labels ->
# photo -> labels, is the backward one here.
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
    "Ablation of the losses (the paper's Tables 4 and 5). Forward is a -> b -> "
    'a and backward b -> a -> b; in the paper forward begins with the labels, '
    'which are B here, so its numbers of "GAN + forward" stand beside the '
    'backward cycle. Rows are without identity loss, as in the paper, but for '
    'CycleGAN and those that say so.'
  ),
  'reconstruction': (
    "Pictures translated and translated back (the paper's Figure 4), against "
    'themselves.'
  ),
  'limits': (
    'Where the paper finds it fail (Sec. 6): maps turned by 90 degrees or '
    'upside down, which asks for a change of shape, and test pictures of '
    'another part of the world; pix2pix, which sees true pairs, is what could '
    'be reached.'
  ),
}
_DIRECTIONS = {
  'a2b': 'A to B',
  'b2a': 'B to A',
  'a2b2a': 'A to B and back',
  'b2a2b': 'B to A and back',
}


_READING = (
  'Numbers are means +- sample standard deviations over seeds, for pictures in '
  '[-1, 1]. Bold is the best of the rows that see no pairs; rows with * are '
  "trained on true pairs. All numbers, with every seed's and the 95% intervals "
  'of kernel distances, are in tables.csv.'
)


def markdown(suites, pictures):
  """tables.md.

  Args:
    suites: {name: `results.Asked`}.
    pictures: {name: [(title, file beside tables.md)]}.
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
  """A text on the lines of best weights, whose numbers flatter."""
  return (
    f'"Best by {experiment.best}" is the best of the models measured during a '
    f'training (evaluate.every={experiment.options["evaluate.every"]}) and at '
    'its end. It was chosen on the test pictures themselves, so its numbers '
    'flatter; "last" is the model that a training ends with. Bold compares '
    'each kind with its own.'
  )


def _facts(asked, found):
  """What the tables of a suite were made of, and how to make them again."""
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
  """Versions and git commits that a suite's runs were trained with."""
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
    return 'No run is finished yet.'
  paper = _PAPER.get((suite, direction), {}) if _SCORES[0] in columns else {}
  # The rows of limits are tested on different pictures: none is the best.
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
      "\n\nThe last column is the paper's: pixel accuracy / class accuracy / "
      'class IoU on Cityscapes, trained at 128 px. Unless this is Cityscapes '
      'with its segmenter, compare the order of rows, not the numbers.'
    )
  return text


def _shown(lines):
  columns = dict.fromkeys(column for line in lines for column in line.numbers)
  return [c for c in columns if not c.endswith(_INTERVAL)]


def _best(lines, column, best):
  """The best mean of the trained rows without pairs; None of fewer than two.

  Of the lines of best weights alone, or of those of last weights alone.
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
  """tables.csv: a line a number; `values` has one a seed, spaces between."""
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
