"""Translations of the test pictures against their true pairs."""

import numpy as np

from cyclegan_jax.data.decode import load
from cyclegan_jax.metrics import PAIRED_METRICS, pixel_accuracy


def paired_table(translate, tests, directions, labels=None):
  """How close translations come, beside what needs no training.

  Args:
    translate: (image [h, w, c], direction) -> image, float in [-1, 1].
    tests: {'a': [image], 'b': [image]}, true pairs by position.
    directions: of 'a2b' and 'b2a'.
    labels: `Labels` of the same pictures to read translated maps by, or None.

  Returns:
    A row a direction and candidate: {'direction', 'candidate', 'L1', 'PSNR',
    'SSIM', 'pixel accuracy' (a2b only, where there are labels)}. Candidates
    are 'translated', 'copy the input' (where channels agree), 'another
    picture' (a true picture of another pair) and 'true pair'.
  """
  maps = None
  if labels:
    maps = [load(p, 1, lambda w, h: (w, h))[..., 0] for p in labels.pictures]
  rows = []
  for direction in directions:
    inputs, truths = (tests[d] for d in direction.split('2'))
    candidates = {'translated': [translate(x, direction) for x in inputs]}
    if inputs[0].shape == truths[0].shape:
      candidates['copy the input'] = inputs
    half = max(1, len(truths) // 2)
    candidates['another picture'] = truths[half:] + truths[:half]
    candidates['true pair'] = truths
    for name, images in candidates.items():
      row = {'direction': direction, 'candidate': name}
      if name != 'true pair':
        row |= _means(images, truths)
      if maps and direction == 'a2b':
        row['pixel accuracy'] = _accuracy(images, maps, labels.colours)
      if len(row) > 2:
        rows.append(row)
  return rows


def _means(images, truths):
  pairs = [(x, y) for x, y in zip(images, truths) if x.shape == y.shape]
  return {
    name: float(np.mean([metric(x, y) for x, y in pairs]))
    for name, metric in PAIRED_METRICS.items()
    if pairs
  }


def _accuracy(images, maps, colours):
  counts = [
    pixel_accuracy(image, labels, colours)
    for image, labels in zip(images, maps)
    if image.shape[:2] == labels.shape
  ]
  right, counted = np.sum(counts, axis=0) if counts else (0, 0)
  return float(right / counted) if counted else float('nan')


def markdown(rows):
  """The rows as a table, in columns that also line up as plain text."""
  heads = list(dict.fromkeys(key for row in rows for key in row))
  cells = [heads] + [[_cell(row.get(h, '')) for h in heads] for row in rows]
  widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
  cells.insert(1, ['-' * width for width in widths])
  return ''.join(
    '| ' + ' | '.join(c.ljust(w) for c, w in zip(line, widths)) + ' |\n'
    for line in cells
  )


def _cell(value):
  return f'{value:.3f}' if isinstance(value, float) else value
