"""Label maps of a folder in the official layout."""

import json

import numpy as np

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data.picture import named
from cyclegan_jax.data.source import Labels


def of_folder(top, train, test, missing):
  """Label maps of A's test and training pictures, and lines on missing ones."""
  parts = [x for x in ('testLabels', 'trainLabels') if (top / x).is_dir()]
  if not (top / 'classes.json').is_file():
    named = ' and '.join(parts)
    if not parts:
      return None, None, []
    return None, None, [f'no file {top / "classes.json"}: {named} not used']
  notes = []
  labels = train_labels = None
  if 'trainLabels' in parts:
    train_labels = _labels(top, 'trainLabels', train['a'])
  if 'a' in missing:
    labels = train_labels
    if 'testLabels' in parts:
      notes = [f'no folder {missing["a"]}: {top / "testLabels"} is not used']
  elif 'testLabels' in parts:
    labels = _labels(top, 'testLabels', test['a'])
  else:
    notes = [f'no folder {top / "testLabels"}: classes are not measured']
  return labels, train_labels, notes


def _labels(root, part, of):
  try:
    classes = json.loads((root / 'classes.json').read_text())
    pictures = [root / part / f'{p.data.stem}.png' for p in of]
    missing = [p for p in pictures if not p.is_file()]
    if missing:
      raise UserError(f'no label map {missing[0]} beside its picture')
    return Labels(
      [named(p) for p in pictures],
      list(classes),
      [np.reshape(c, (-1, 3)).astype(float).tolist() for c in classes.values()],
    )
  except (ValueError, AttributeError) as e:
    if isinstance(e, UserError):
      raise
    raise UserError(f'{root / "classes.json"}: {e}') from e
