"""FCN score: agreement of the classes in translations with true label maps.

The score consists of three numbers, computed from one confusion matrix for the
whole test set.
"""

import numpy as np

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.metrics.labels import IGNORED


def confusion(predicted, true, classes, ignored=IGNORED):
  """Returns the confusion matrix of a predicted and a true label map.

  The matrix of a test set is the sum of the matrices of its pictures.

  Args:
    predicted: predicted class numbers, integers [height, width].
    true: true class numbers, integers [height, width].
    classes: number of classes.
    ignored: true class number of pixels that are not scored.

  Returns:
    Numbers of pixels, int64 [classes, classes]: rows are true classes, columns
    predicted classes.

  Raises:
    UserError: the label maps differ in size, or a scored pixel has a number
      outside 0 to classes - 1.
  """
  predicted, true = np.asarray(predicted), np.asarray(true)
  if predicted.shape != true.shape:
    raise UserError(
      f'a predicted label map has {_size(predicted)} pixels, but the true '
      f'label map has {_size(true)}: the sizes must be equal'
    )
  counted = true != ignored
  predicted, true = predicted[counted], true[counted]
  for kind, labels in (('predicted', predicted), ('true', true)):
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
      raise UserError(
        f'a {kind} label map holds {wrong[0]}: class numbers must be between 0 '
        f'and {classes - 1}'
      )
  pairs = true.astype(np.int64) * classes + predicted.astype(np.int64)
  return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def scores(confusion):
  """Returns the three numbers of the FCN score; higher is better.

  The numbers are the pixel accuracy, mean class accuracy and mean class IoU of
  Long et al. (2015, Sec. 5: pixel acc., mean acc., mean IU), computed from one
  matrix for the whole test set as in the CycleGAN paper (Sec. 5.1.1). The mean
  accuracy skips classes without a true pixel. The mean IoU skips classes
  without a true or predicted pixel. The official `scripts/eval_cityscapes`
  counts skipped classes as 0; results are equal if every class occurs in the
  true label maps, as in Cityscapes.

  Args:
    confusion: sum of the results of `confusion` for all pictures, integers
      [classes, classes].

  Returns:
    {'pixel accuracy': float, 'class accuracy': float, 'class IoU': float}, each
    in [0, 1]; an empty dict if no pixel is scored.
  """
  right = np.diag(confusion).astype(float)
  true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
  either = true + predicted - right
  if not true.any():
    return {}
  return {
    'pixel accuracy': float(right.sum() / true.sum()),
    'class accuracy': float(np.mean(right[true > 0] / true[true > 0])),
    'class IoU': float(np.mean(right[either > 0] / either[either > 0])),
  }


def _size(labels):
  """Returns the size of a label map as text, 'WIDTHxHEIGHT'."""
  return 'x'.join(map(str, labels.shape[::-1]))
