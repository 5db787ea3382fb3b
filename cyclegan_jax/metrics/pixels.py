"""How far two pictures are from each other, pixel by pixel."""

import numpy as np
from jaxtyping import Float, Integer
from numpy.lib.stride_tricks import sliding_window_view

from cyclegan_jax.common.types import Colours, Image
from cyclegan_jax.metrics.labels import IGNORED, nearest_colour

_RANGE = 2.0  # of images in [-1, 1]
_MOST_DB = 100.0
_SIGMA, _K1, _K2 = 1.5, 0.01, 0.03  # of SSIM (Wang et al. 2004, Sec. III)


def l1(fake: Image, real: Image) -> float:
  """Mean absolute difference in [0, 2]; lower is better."""
  return float(np.abs(fake - real).mean())


def psnr(fake: Image, real: Image) -> float:
  """Peak signal-to-noise ratio in dB, at most 100; higher is better."""
  error = np.mean(np.square(fake - real), dtype=np.float64)
  if error == 0:
    return _MOST_DB
  return min(_MOST_DB, float(10 * np.log10(_RANGE**2 / error)))


def ssim(fake: Image, real: Image) -> float:
  """Structural similarity (Wang et al. 2004), gaussian window of 11 pixels.

  As `tf.image.ssim` computes it: windows that fit into the picture, the mean
  over pixels and channels. Smaller pictures take the largest window that fits.
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
  """Dice coefficient of masks in [0, 1], mean of channels; higher is better.

  A channel's mask is where it is above 0, the middle of [-1, 1]. Of masks x and
  y the coefficient is 2 |x and y| / (|x| + |y|) (Dice 1945), and 1 of two empty
  ones. An image with NaN has no masks: the result is NaN.
  """
  if np.isnan(fake).any() or np.isnan(real).any():
    return float('nan')
  x, y = (np.asarray(image) > 0 for image in (fake, real))
  both, sizes = (x & y).sum((0, 1)), x.sum((0, 1)) + y.sum((0, 1))
  return float(np.where(sizes, 2 * both / np.maximum(sizes, 1), 1).mean())


def _gaussian(size):
  """Weights [size] of a gaussian window, their sum 1."""
  places = np.arange(size) - (size - 1) / 2
  weights = np.exp(-0.5 * (places / _SIGMA) ** 2)
  return weights / weights.sum()


def _blur(image, weights):
  """Weighted means of the windows that fit into an image [h, w, c]."""
  for axis in (0, 1):
    image = sliding_window_view(image, len(weights), axis=axis) @ weights
  return image


# name -> (translated, true) -> number, for images [h, w, c] in [-1, 1]
PAIRED_METRICS = {'L1': l1, 'PSNR': psnr, 'SSIM': ssim}


def pixel_accuracy(
  image: Float[np.ndarray, 'height width 3'],
  labels: Integer[np.ndarray, 'height width'],
  colours: Colours,
  ignored: int = IGNORED,
) -> tuple[int, int]:
  """Share of pixels whose nearest class colour is of the true class.

  Args:
    image: [h, w, 3] in [-1, 1].
    labels: [h, w], class numbers.
    colours: for each class a list of RGB colours in [0, 255].
    ignored: the label that does not count.

  Returns:
    (right, counted) pixels.
  """
  right = nearest_colour(image, colours) == labels
  counted = labels != ignored
  return int(right[counted].sum()), int(counted.sum())
