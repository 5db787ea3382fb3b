"""Instance norm, activation and padding as one, with its gradient by hand.

Each pass over a picture costs a TPU about as much as a convolution's output. A
norm here takes the sums of its input, in one pass where rounding allows, and
one pass for the padded result; its gradient takes one pass for its sums and
one for the result, and keeps nothing but the input.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from cyclegan_jax.nets.conv import strips

# The name under which jax.checkpoint policies know mean and deviation.
STATISTICS = 'statistics'


class Rest(NamedTuple):
  """All that is constant of a norm, its activation and the padding behind it.

  Attributes:
    strips: number of strips of each picture, see `strips.cut`.
    slope: of the activation for negative values; 1 for none.
    rows: to pad above and below.
    columns: to pad left and right.
    mode: of `strips.pad`.
    packed: whether pictures are packed, see `edges`.
    epsilon: added to the variance.
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
  """The normalized, activated and padded pictures.

  Args:
    x: [batch x strips, height / strips, width, channels].
    scale: [channels], float32; None for 1.
    bias: [channels], float32; None for 0, with `scale`.
    rest: a `Rest`.

  Returns:
    [batch x strips, height / strips + 2 rows, width + 2 columns, channels], of
    x's dtype. Statistics are float32 at least.
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
  """The pictures padded, without norm and activation."""
  rows, columns = (rest.rows,) * 2, (rest.columns,) * 2
  return strips.pad(x, rest.strips, rows, columns, rest.mode, rest.packed)


def _scaled(normal, scale, bias, rest):
  if scale is None:
    return normal
  return normal * _of_channels(scale, rest) + _of_channels(bias, rest)


def _activate(y, slope):
  if slope == 1:
    return y
  return jnp.where(y > 0, y, slope * y) if slope else jnp.maximum(y, 0)


def _statistics(x, rest):
  """Mean and 1 / deviation of each picture [batch x strips, 1, 1, channels]."""
  y = _wide(x)
  mean = _means(y.sum((1, 2)), x, rest)
  if y.dtype == x.dtype:
    variance = _means(((y - mean) ** 2).sum((1, 2)), x, rest)
  else:
    # One pass. What the difference of squares loses, bfloat16 has lost before.
    squares = _means((y * y).sum((1, 2)), x, rest)
    variance = jnp.maximum(squares - mean * mean, 0)
  return mean, lax.rsqrt(variance + rest.epsilon)


def _wide(x):
  """x in float32, or wider as it is."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _means(sums, x, rest):
  """Means over each picture, from the sums [batch x strips, channels]."""
  parts = rest.strips * (4 if rest.packed else 1)
  channels = sums.shape[-1] * rest.strips // parts
  whole = sums.reshape(-1, parts, channels).sum(1)
  whole = whole / (parts * x.shape[1] * x.shape[2])
  return jnp.repeat(_each(whole, rest), rest.strips, axis=0)[:, None, None]


def _each(x, rest):
  """Values of channels [..., channels], once for each pixel of a pack."""
  return jnp.concatenate([x] * 4, axis=-1) if rest.packed else x


def _of_channels(x, rest):
  """Values [channels] as they meet pictures: [1, 1, 1, channels]."""
  return _each(x, rest).reshape(1, 1, 1, -1)
