"""What a translation is measured by, by name."""

import numpy as np
import tensorflow as tf


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


def pixel_accuracy(image, labels, colours, ignored=255):
  """Share of pixels whose nearest class colour is of the true class.

  Args:
    image: [h, w, 3] in [-1, 1].
    labels: [h, w], class numbers.
    colours: for each class a list of RGB colours in [0, 255].
    ignored: the label that does not count.

  Returns:
    (right, counted) pixels.
  """
  palette = np.concatenate([np.reshape(c, (-1, 3)) for c in colours])
  owner = np.repeat(np.arange(len(colours)), [len(c) for c in colours])
  pixels = (np.asarray(image)[..., None, :] + 1) * 127.5
  nearest = owner[np.sum((pixels - palette) ** 2, axis=-1).argmin(-1)]
  counted = labels != ignored
  return int((nearest == labels)[counted].sum()), int(counted.sum())
