"""Instance norm, activation and padding as one operation, with its gradient.

On a TPU each pass over an image costs about as much as the output of a
convolution. The forward computation here takes one pass for the statistics (two
in float32, for precision) and one for the padded result. The hand-written
gradient takes one pass for its sums and one for its result, and stores no
image but the input.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from cyclegan_jax.nets.conv import strips

# Name of the mean and the deviation in jax.checkpoint policies.
STATISTICS = 'statistics'


class Rest(NamedTuple):
  """Constants of a norm and of the activation and padding that follow it.

  Attributes:
    strips: number of strips of rows that each image is cut into (`strips.cut`);
      1 for whole images.
    slope: slope of the activation for negative values; 1 for no activation.
    rows: number of rows to add above, and below.
    columns: number of columns to add left, and right.
    mode: mode of the padding: 'reflect', 'replicate' or 'zeros'.
    packed: whether the images are packed, with 2x2 pixels stored as one pixel
      (see `edges.pack`).
    epsilon: number added to the variance.
  """

  strips: int = 1
  slope: float = 1.0
  rows: int = 0
  columns: int = 0
  mode: str = 'reflect'
  packed: bool = False
  epsilon: float = 1e-5


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def instance_norm(x, scale, bias, rest):
  """Applies instance norm, then an activation, then padding.

  Args:
    x: images cut into strips of rows, [batch x strips, height / strips, width,
      channels].
    scale: scale of the norm, float32 [channels]; None for 1.
    bias: bias of the norm, float32 [channels]; must be None if `scale` is None.
    rest: the constants, a `Rest`: number of strips, activation and padding.

  Returns:
    [batch x strips, height / strips + 2 rows, width + 2 columns, channels], of
    x's dtype. Statistics are computed in float32 or wider.
  """
  return _forward(x, scale, bias, rest)[0]


def _forward(x, scale, bias, rest):
  mean, inverse = (checkpoint_name(s, STATISTICS) for s in _statistics(x, rest))
  y = _wide(padded(x, rest))
  y = _scaled((y - mean) * inverse, scale, bias, rest)
  return _activate(y, rest.slope).astype(x.dtype), (
    x,
    scale,
    bias,
    mean,
    inverse,
  )


def _backward(rest, residuals, grad):
  x, scale, bias, mean, inverse = residuals
  _, unpad = jax.vjp(lambda x: padded(x, rest), x)
  (grad,) = unpad(grad)
  normal = (_wide(x) - mean) * inverse
  grad = _wide(grad)
  if rest.slope != 1:
    positive = _scaled(normal, scale, bias, rest) > 0
    grad = jnp.where(positive, grad, rest.slope * grad)
  sums = grad.sum((1, 2)), (grad * normal).sum((1, 2))
  of_mean, of_inverse = (_means(s, x, rest) for s in sums)
  gradient = inverse * (grad - of_mean - normal * of_inverse)
  if scale is None:
    return gradient.astype(x.dtype), None, None
  of_bias, of_scale = (s.reshape(-1, len(scale)).sum(0) for s in sums)
  gradient *= _of_channels(scale, rest)
  return gradient.astype(x.dtype), of_scale, of_bias


instance_norm.defvjp(_forward, _backward)


def padded(x, rest):
  """Applies only the padding of `instance_norm`, without norm and activation.

  Args:
    x: images cut into strips of rows, [batch x strips, height / strips, width,
      channels].
    rest: the constants, a `Rest`: number of strips, activation and padding.

  Returns:
    [batch x strips, height / strips + 2 rows, width + 2 columns, channels].
  """
  rows, columns = (rest.rows,) * 2, (rest.columns,) * 2
  return strips.pad(x, rest.strips, rows, columns, rest.mode, rest.packed)


def _scaled(normal, scale, bias, rest):
  """Returns normal * scale + bias; `normal` itself if scale is None."""
  if scale is None:
    return normal
  return normal * _of_channels(scale, rest) + _of_channels(bias, rest)


def _activate(y, slope):
  """Returns the (leaky) ReLU of y with a slope for negative values."""
  if slope == 1:
    return y
  return jnp.where(y > 0, y, slope * y) if slope else jnp.maximum(y, 0)


def _statistics(x, rest):
  """Returns means and 1 / deviations per image, each [b x strips, 1, 1, c]."""
  y = _wide(x)
  mean = _means(y.sum((1, 2)), x, rest)
  if y.dtype == x.dtype:
    variance = _means(((y - mean) ** 2).sum((1, 2)), x, rest)
  else:
    # One pass. The difference of squares loses no more precision than bfloat16
    # inputs already lack.
    squares = _means((y * y).sum((1, 2)), x, rest)
    variance = jnp.maximum(squares - mean * mean, 0)
  return mean, lax.rsqrt(variance + rest.epsilon)


def _wide(x):
  """Returns x in float32, or unchanged if its dtype is wider."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _means(sums, x, rest):
  """Returns means per image, [b x strips, 1, 1, c], from sums per strip."""
  parts = rest.strips * (4 if rest.packed else 1)
  channels = sums.shape[-1] * rest.strips // parts
  whole = sums.reshape(-1, parts, channels).sum(1)
  whole = whole / (parts * x.shape[1] * x.shape[2])
  return jnp.repeat(_each(whole, rest), rest.strips, axis=0)[:, None, None]


def _each(x, rest):
  """Repeats values [..., channels] for the 4 pixels of a packed pixel."""
  return jnp.concatenate([x] * 4, axis=-1) if rest.packed else x


def _of_channels(x, rest):
  """Reshapes values [channels] to [1, 1, 1, channels of the images]."""
  return _each(x, rest).reshape(1, 1, 1, -1)
