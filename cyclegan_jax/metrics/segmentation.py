"""The FCN score: whether translations show the right classes, and where.

One confusion matrix for a test set, and the three numbers read from it.
"""

import numpy as np

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.metrics.labels import IGNORED


def confusion(predicted, true, classes, ignored=IGNORED):
  """Counts of pixels of each true and predicted class, to add up over a set.

  Args:
    predicted: [h, w], class numbers.
    true: the same of the true label map.
    classes: how many there are.
    ignored: the true label of pixels that do not count.

  Returns:
    int64 [classes, classes]; rows are the true classes.

  Raises:
    UserError: the maps differ in size, or a pixel that counts is of no class.
  """
  predicted, true = np.asarray(predicted), np.asarray(true)
  if predicted.shape != true.shape:
    raise UserError(
      f'a predicted label map of {_size(predicted)} pixels for a true one of '
      f'{_size(true)}: they have to be equal'
    )
  counted = true != ignored
  predicted, true = predicted[counted], true[counted]
  for kind, labels in (('predicted', predicted), ('true', true)):
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
      raise UserError(
        f'a {kind} label map holds {wrong[0]}: classes go from 0 to '
        f'{classes - 1}'
      )
  pairs = true.astype(np.int64) * classes + predicted.astype(np.int64)
  return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def scores(confusion):
  """The three numbers of the FCN score, in [0, 1]; higher is better.

  Per-pixel accuracy, per-class accuracy and class IoU of Long et al. (2015,
  Sec. 5: pixel acc., mean acc., mean IU), as in the paper (Sec. 5.1.1) over one
  matrix for the whole test set. The means leave out classes that can't be
  scored: without a true pixel for the accuracy, neither true nor predicted for
  the IoU. The official scripts/eval_cityscapes counts these as 0, which is the
  same wherever every class occurs in the truth, as in Cityscapes.

  Args:
    confusion: [classes, classes], a sum of what `confusion` gives.

  Returns:
    {'pixel accuracy', 'class accuracy', 'class IoU'}; empty if no pixel counts.
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
  return 'x'.join(map(str, labels.shape[::-1]))
