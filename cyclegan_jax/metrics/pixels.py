"""How far two pictures are from each other, pixel by pixel."""

import numpy as np
import tensorflow as tf

from cyclegan_jax.metrics.labels import IGNORED, nearest_colour


def l1(fake, real):
  """Mean absolute difference in [0, 2]; lower is better."""
  return float(np.abs(fake - real).mean())


def psnr(fake, real):
  """Peak signal-to-noise ratio in dB, at most 100; higher is better."""
  return min(100.0, float(tf.image.psnr(fake, real, max_val=2.0)))


def ssim(fake, real):
  """Structural similarity (Wang et al. 2004), gaussian window of 11 pixels.

  Smaller pictures take the largest window that fits.
  """
  window = min(11, *real.shape[:2])
  return float(
    tf.image.ssim(
      tf.cast(fake, tf.float32),
      tf.cast(real, tf.float32),
      max_val=2.0,
      filter_size=window,
    )
  )


# name -> (translated, true) -> number, for images [h, w, c] in [-1, 1]
PAIRED_METRICS = {'L1': l1, 'PSNR': psnr, 'SSIM': ssim}


def pixel_accuracy(image, labels, colours, ignored=IGNORED):
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
