"""Metrics that compare two images pixel by pixel: L1, PSNR, SSIM, Dice."""

import numpy as np
from jaxtyping import Float, Integer
from numpy.lib.stride_tricks import sliding_window_view

from cyclegan_jax.common.types import Colours, Image
from cyclegan_jax.metrics.labels import IGNORED, nearest_colour

_RANGE = 2.0  # width of the value range [-1, 1] of images
_MOST_DB = 100.0
_SIGMA, _K1, _K2 = 1.5, 0.01, 0.03  # SSIM (Wang et al. 2004, Sec. III)


def l1(fake: Image, real: Image) -> float:
  """Returns the mean absolute difference of two images; lower is better.

  Args:
    fake: the translated image, [height, width, channels] in [-1, 1].
    real: the true image, of the same shape.

  Returns:
    A float in [0, 2].
  """
  return float(np.abs(fake - real).mean())


def psnr(fake: Image, real: Image) -> float:
  """Returns the peak signal-to-noise ratio of two images; higher is better.

  Args:
    fake: the translated image, [height, width, channels] in [-1, 1].
    real: the true image, of the same shape.

  Returns:
    A float in dB, at most 100 (also for equal images).
  """
  error = np.mean(np.square(fake - real), dtype=np.float64)
  if error == 0:
    return _MOST_DB
  return min(_MOST_DB, float(10 * np.log10(_RANGE**2 / error)))


def ssim(fake: Image, real: Image) -> float:
  """Returns the structural similarity of two images; higher is better.

  Computed as `tf.image.ssim` does (Wang et al. 2004): a Gaussian window of 11
  pixels at every position where the window lies inside the image, averaged over
  positions and channels. In images below 11 pixels the window has the length of
  the shorter side.

  Args:
    fake: the translated image, [height, width, channels] in [-1, 1].
    real: the true image, of the same shape.

  Returns:
    A float in [-1, 1]; 1 for equal images.
  """
  window = _gaussian(min(11, *real.shape[:2]))
  x, y = np.asarray(fake, np.float64), np.asarray(real, np.float64)
  c1, c2 = (_K1 * _RANGE) ** 2, (_K2 * _RANGE) ** 2
  mean_x, mean_y = _blur(x, window), _blur(y, window)
  products, squares = mean_x * mean_y, mean_x**2 + mean_y**2
  luminance = (2 * products + c1) / (squares + c1)
  covariance = 2 * (_blur(x * y, window) - products)
  variances = _blur(x**2 + y**2, window) - squares
  return float(np.mean(luminance * (covariance + c2) / (variances + c2)))


def dice(fake: Image, real: Image) -> float:
  """Returns the Dice coefficient of two images as masks; higher is better.

  The mask of a channel contains the pixels above 0, the middle of [-1, 1]. The
  coefficient of masks x and y is `2 |x and y| / (|x| + |y|)` (Dice 1945), and 1
  if both are empty. The result is the mean over channels.

  Args:
    fake: the translated image, [height, width, channels] in [-1, 1].
    real: the true image, of the same shape.

  Returns:
    A float in [0, 1], or NaN if an image contains NaN.
  """
  if np.isnan(fake).any() or np.isnan(real).any():
    return float('nan')
  x, y = (np.asarray(image) > 0 for image in (fake, real))
  both, sizes = (x & y).sum((0, 1)), x.sum((0, 1)) + y.sum((0, 1))
  return float(np.where(sizes, 2 * both / np.maximum(sizes, 1), 1).mean())


def _gaussian(size):
  """Returns the weights [size] of a Gaussian window; their sum is 1."""
  places = np.arange(size) - (size - 1) / 2
  weights = np.exp(-0.5 * (places / _SIGMA) ** 2)
  return weights / weights.sum()


def _blur(image, weights):
  """Returns weighted means of all windows inside an image [h, w, c]."""
  for axis in (0, 1):
    image = sliding_window_view(image, len(weights), axis=axis) @ weights
  return image


# name -> function (translated, true) -> number of images [h, w, c] in [-1, 1]
PAIRED_METRICS = {'L1': l1, 'PSNR': psnr, 'SSIM': ssim}


def pixel_accuracy(
  image: Float[np.ndarray, 'height width 3'],
  labels: Integer[np.ndarray, 'height width'],
  colours: Colours,
  ignored: int = IGNORED,
) -> tuple[int, int]:
  """Counts the pixels whose nearest class colour belongs to the true class.

  Args:
    image: a translated label picture, [height, width, 3] in [-1, 1].
    labels: true class numbers, integers [height, width].
    colours: for each class a list of RGB colours in [0, 255].
    ignored: class number of pixels that are not scored.

  Returns:
    (number of correct pixels, number of scored pixels); their ratio is the
    accuracy.
  """
  right = nearest_colour(image, colours) == labels
  counted = labels != ignored
  return int(right[counted].sum()), int(counted.sum())
