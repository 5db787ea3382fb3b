"""Label maps of a dataset folder in the official layout."""

import json

import numpy as np

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data.picture import named
from cyclegan_jax.data.source import Labels


def of_folder(top, train, test, missing):
  """Finds the label maps of domain A in a dataset folder.

  A label map is a PNG file in testLabels or trainLabels with the name of its
  picture in testA or trainA. Label maps are used only if the folder has a file
  classes.json, {class name: [r, g, b] or [[r, g, b], ...]}, with the colours
  that stand for each class in pictures of B.

  Args:
    top: path of the dataset folder.
    train: {'a', 'b'}: [Picture] of the training set.
    test: {'a', 'b'}: [Picture] of the test set.
    missing: {domain: path} of the test folders that do not exist. If 'a' is
      among them, training pictures stand in for the test pictures of A.

  Returns:
    (test_labels, train_labels, notes): the `Labels` of the pictures test['a']
    and train['a'], each None if there are none, and a list of lines that tell
    the user which label maps or files are missing or not used.

  Raises:
    UserError: a picture has no label map, or classes.json cannot be parsed.
  """
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
  """Returns the `Labels` of the pictures `of`, from the folder root/part.

  Raises:
    UserError: a picture has no label map, or classes.json cannot be parsed.
  """
  try:
    classes = json.loads((root / 'classes.json').read_text())
    pictures = [root / part / f'{p.data.stem}.png' for p in of]
    missing = [p for p in pictures if not p.is_file()]
    if missing:
      raise UserError(
        f'no label map {missing[0]}: each picture of A needs a label map of '
        'the same name; add the file, or remove the folder of the label maps'
      )
    return Labels(
      [named(p) for p in pictures],
      list(classes),
      [np.reshape(c, (-1, 3)).astype(float).tolist() for c in classes.values()],
    )
  except (ValueError, AttributeError) as e:
    if isinstance(e, UserError):
      raise
    raise UserError(
      f'{root / "classes.json"}: not classes with their RGB colours ({e}): '
      'correct the file or remove it'
    ) from e
