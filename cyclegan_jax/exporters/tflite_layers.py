"""Computes the layers of generators by operators that TFLite has built in.

Images are float32 [batch, height, width, channels]. Between `pad_to_multiple`
and `crop_to` no operator takes a size as an input, so that runtimes can use
their fast code for sizes known in advance.
"""

import itertools

import numpy as np

from cyclegan_jax.data.tf import tf
from cyclegan_jax.nets.blur import DOWN
from cyclegan_jax.nets.layers import EPSILON

# The filters of `nets.blur.UP` for even and for odd output pixels.
_UP = ((0.25, 0.75, 0), (0, 0.75, 0.25))
_SIDES = (1, 2)


def pad(x, places):
  """Adds copies of pixels near the edge at every edge of an image.

  The copies are slices, because TFLite's MirrorPad is slow: it took half of the
  time of a network.

  Args:
    x: the images, float32 [batch, height, width, channels].
    places: distance from the edge of each pixel that is copied, from the
      innermost copy to the outermost. 0 is the pixel at the edge.
  """
  for axis in _SIDES:
    before = [_slice(x, axis, i, i + 1) for i in reversed(places)]
    after = [_slice(x, axis, -1 - i, -i or None) for i in places]
    x = tf.concat([*before, x, *after], axis)
  return x


def _slice(x, axis, start, end):
  return x[(slice(None),) * axis + (slice(start, end),)]


def convolve(x, params, *, stride=1, padding=0):
  """Returns a convolution of x.

  Args:
    x: the images, float32 [batch, height, width, channels].
    params: {'kernel': [height, width, inputs, outputs], 'bias': [outputs]}; the
      bias may be missing.
    stride: stride of the kernel.
    padding: zeros that are added at each edge.
  """
  kernel = params['kernel']
  edges = [(padding, padding)] * 2
  return _shift(_convolve(x, kernel, edges, stride), params)


def convolve_transposed(x, params):
  """Returns a transposed convolution of x, of twice the height and width.

  The result is computed by four convolutions, one for each combination of even
  or odd rows and columns. TFLite's own operator takes a size as an input.

  Args:
    x: the images, float32 [batch, height, width, channels].
    params: {'kernel': [height, width, inputs, outputs], 'bias': [outputs]}; the
      bias may be missing.
  """
  kernel = params['kernel'][::-1, ::-1]  # i adds to pixels 2 i - 1, 2 i, ...
  parts = []
  for first in itertools.product((0, 1), repeat=2):
    rows, columns = (slice(1 - odd, None, 2) for odd in first)
    part = kernel[rows, columns][::-1, ::-1]
    edges = [(taps - 1 - odd, odd) for taps, odd in zip(part.shape, first)]
    parts.append(_convolve(x, part, edges))
  return _shift(_interleave(parts), params)


def _convolve(x, kernel, edges, stride=1):
  if np.any(edges):
    x = tf.pad(x, [(0, 0), *edges, (0, 0)])
  return tf.nn.conv2d(x, kernel, stride, 'VALID')


def _shift(x, params):
  return x + params['bias'] if 'bias' in params else x


def double(x):
  """Doubles height and width by repeating every pixel.

  Args:
    x: the images, float32 [batch, height, width, channels].
  """
  return _interleave([x] * 4)


def blur_down(x):
  """Blurs x and keeps every other pixel, as `nets.blur.down` does.

  Args:
    x: the images, float32 [batch, height, width, channels].
  """
  return _blur(pad(x, [1]), DOWN, DOWN, 2)


def blur_up(x):
  """Doubles height and width with a blur, as `nets.blur.up` does.

  Args:
    x: the images, float32 [batch, height, width, channels].
  """
  x = pad(x, [0])
  return _interleave([_blur(x, *way) for way in itertools.product(_UP, _UP)])


def _blur(x, rows, columns, stride=1):
  kernel = np.outer(rows, columns).astype(np.float32)[:, :, None, None]
  kernel = np.tile(kernel, (1, 1, x.shape[-1], 1))
  return tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], 'VALID')


def _interleave(parts):
  """Returns the image whose even and odd rows and columns are given.

  Args:
    parts: four images: even rows and even columns, even rows and odd columns,
      odd rows and even columns, odd rows and odd columns.
  """
  return tf.nn.depth_to_space(tf.concat(parts, -1), 2)


def normalize(x, params, norm):
  """Returns x after a norm.

  The norm 'batch_frozen' uses the running averages mean and var in `params`.
  Every other norm uses the statistics of each image.

  Args:
    x: the images, float32 [batch, height, width, channels].
    params: any of scale, bias, mean and var. Missing ones have no effect.
    norm: a name in `layers.NORMS`. 'batch' computes as for a batch of one
      image.
  """
  if norm == 'none':
    return x
  if norm == 'batch_frozen':
    mean, variance = params['mean'], params['var']
  else:
    mean = _mean(x)
    variance = _mean(tf.square(x - mean))
  factor = tf.math.rsqrt(variance + EPSILON) * params.get('scale', 1)
  return _shift((x - mean) * factor, params)


def _mean(x):
  # One axis at a time: a runtime's plain sum over both loses more digits.
  for axis in _SIDES:
    x = tf.reduce_mean(x, axis, keepdims=True)
  return x


def pad_to_multiple(x, multiple):
  """Adds mirrored edges, so that height and width are multiples of a number.

  The result is that of `nets.layers.pad_to_multiple`, also for sizes that are
  known only at run time. It is computed by indices, because an image that is
  smaller than its padding is mirrored repeatedly.

  Args:
    x: the images, float32 [batch, height, width, channels].
    multiple: the number.

  Returns:
    (padded image, (top, left)), the corner at which the image begins in it.
  """
  corner = []
  for axis, size in zip(_SIDES, sizes(x)):
    extra = -size % multiple
    before = extra // 2
    corner.append(before)
    if isinstance(extra, int) and not extra:
      continue
    period = tf.maximum(2 * size - 2, 1)
    places = tf.range(-before, size + extra - before) % period
    x = tf.gather(x, tf.minimum(places, period - places), axis=axis)
  return x, corner


def crop_to(x, images, corner):
  """Returns x without the edges that `pad_to_multiple` added.

  Args:
    x: an image of the padded size.
    images: the image before padding, which gives the size.
    corner: (top, left), the second result of `pad_to_multiple`.
  """
  (height, width), (top, left) = sizes(images), corner
  return x[:, top : top + height, left : left + width]


def sizes(x):
  """Returns [height, width] of x: numbers, or tensors if not known yet.

  Args:
    x: the images, float32 [batch, height, width, channels].
  """
  return [x.shape[axis] or tf.shape(x)[axis] for axis in _SIDES]
