"""The layers of generators, in operators that TFLite has built in.

Pictures are float32 [batch, height, width, channels]. Between `pad_to_multiple`
and `crop_to` no operator is told a size, so that runtimes use their fast code
for sizes known beforehand.
"""

import itertools

import numpy as np

from cyclegan_jax.data.tf import tf
from cyclegan_jax.nets.blur import DOWN
from cyclegan_jax.nets.layers import EPSILON

# The filters of `nets.blur.UP` for even and for odd places.
_UP = ((0.25, 0.75, 0), (0, 0.75, 0.25))
_SIDES = (1, 2)


def pad(x, places):
  """Adds pixels of the picture at every edge, the last ones outermost.

  By slices: TFLite's MirrorPad is slow, and took half of a network's time.

  Args:
    x: the picture.
    places: how far each added pixel is from the edge; 0 is the edge.
  """
  for axis in _SIDES:
    before = [_slice(x, axis, i, i + 1) for i in reversed(places)]
    after = [_slice(x, axis, -1 - i, -i or None) for i in places]
    x = tf.concat([*before, x, *after], axis)
  return x


def _slice(x, axis, start, end):
  return x[(slice(None),) * axis + (slice(start, end),)]


def convolve(x, params, *, stride=1, padding=0):
  """A convolution by kernel [h, w, inputs, outputs] and bias, if any."""
  kernel = params['kernel']
  edges = [(padding, padding)] * 2
  return _shift(_convolve(x, kernel, edges, stride), params)


def convolve_transposed(x, params):
  """A transposed convolution that doubles height and width.

  Made of four convolutions, one for the even or odd rows and columns of the
  result: TFLite's own needs to be told a size.
  """
  kernel = params['kernel'][::-1, ::-1]  # pixel i to places 2 i - 1, 2 i, ...
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
  """Repeats every pixel: twice the height and width."""
  return _interleave([x] * 4)


def blur_down(x):
  """Blurs and takes every other pixel, as `nets.blur.down` does."""
  return _blur(pad(x, [1]), DOWN, DOWN, 2)


def blur_up(x):
  """Doubles height and width, as `nets.blur.up` does."""
  x = pad(x, [0])
  return _interleave([_blur(x, *way) for way in itertools.product(_UP, _UP)])


def _blur(x, rows, columns, stride=1):
  kernel = np.outer(rows, columns).astype(np.float32)[:, :, None, None]
  kernel = np.tile(kernel, (1, 1, x.shape[-1], 1))
  return tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], 'VALID')


def _interleave(parts):
  """A picture from its even rows' even and odd columns, and its odd rows'."""
  return tf.nn.depth_to_space(tf.concat(parts, -1), 2)


def normalize(x, params, norm):
  """A norm: by each picture's statistics, or by averages among `params`.

  Args:
    x: the picture.
    params: what there is of scale, bias, mean, var.
    norm: a name of `layers.NORMS`; 'batch' as for a batch of one picture.
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
  # Side by side: runtimes add one number to the next, and few keep more digits.
  for axis in _SIDES:
    x = tf.reduce_mean(x, axis, keepdims=True)
  return x


def pad_to_multiple(x, multiple):
  """Pads as `layers.pad_to_multiple`, to the size that is known at run time.

  By indices: a picture smaller than what is added is mirrored again and again.

  Returns:
    The padded picture, and where its height and width begin in it.
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
  """The part of x that stands where `pad_to_multiple` put `images`."""
  (height, width), (top, left) = sizes(images), corner
  return x[:, top : top + height, left : left + width]


def sizes(x):
  """[height, width]: numbers, or tensors for what is not known yet."""
  return [x.shape[axis] or tf.shape(x)[axis] for axis in _SIDES]
