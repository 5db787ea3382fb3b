"""Channels of a domain and the range of values that is scaled to [-1, 1].

The options data.range_a and data.range_b are one of these texts:

  auto                   the range of the integer type: 0 to 255 for 8 bits
  LOW,HIGH               one range for all channels
  LOW,HIGH;LOW,HIGH;...  one range per channel
  percentile:P,Q         measured over the training pictures, per channel

A run appends the type of its pictures and the measured ranges to the text, as
in percentile:1,99=int16:-90,1200 or auto=uint16.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Num

from cyclegan_jax.common.errors import UserError

AUTO, PERCENTILE = 'auto', 'percentile:'
TOP = 255.0  # the largest level


class Values(NamedTuple):
  """Number of channels and range of values of the pictures of a domain.

  The methods scale values of files to images in [-1, 1] and back.

  Attributes:
    channels: number of channels.
    low: values that are scaled to -1: one for all channels or one per channel.
      Empty to use the range of each file's integer type.
    high: values that are scaled to 1, as many as in `low`.
    dtype: NumPy's name of the type of the training pictures, in which
      translations are written; '' if the type was not recorded.
    option: name of the range option, for messages.
  """

  channels: int = 3
  low: tuple[float, ...] = ()
  high: tuple[float, ...] = ()
  dtype: str = ''
  option: str = 'data.range_a'

  @property
  def channels_option(self) -> str:
    """Name of the domain's channels option, such as 'data.channels_a'."""
    return self.option.replace('range', 'channels')

  @property
  def plain(self) -> bool:
    """True for 1 or 3 channels with the range of each file's integer type."""
    return not self.low and self.channels in (1, 3)

  def range_of(
    self, dtype: np.dtype
  ) -> tuple[Float32[np.ndarray, ' n'], Float32[np.ndarray, ' n']]:
    """Returns the range that is scaled to [-1, 1].

    Args:
      dtype: NumPy type of the values. Its range is used if the domain has no
        range: all numbers of an integer type, or 0 to 1 for booleans.

    Returns:
      (low, high): float32 arrays of one number, or of one number per channel.

    Raises:
      UserError: the domain has no range, and `dtype` is a floating-point type.
    """
    if self.low:
      return np.array(self.low, np.float32), np.array(self.high, np.float32)
    if np.issubdtype(dtype, np.bool_):
      return np.zeros(1, np.float32), np.ones(1, np.float32)
    if not np.issubdtype(dtype, np.integer):
      raise UserError(
        f'values of type {dtype} need a range: set '
        f'--config.{self.option}=LOW,HIGH or percentile:1,99'
      )
    info = np.iinfo(dtype)
    return np.array([info.min], np.float32), np.array([info.max], np.float32)

  def outside(
    self, array: Num[np.ndarray, '*shape channels'], dtype: np.dtype
  ) -> int:
    """Returns the number of values outside the range of the domain.

    Args:
      array: the values. NaN counts as outside.
      dtype: type of the values in the file.

    Returns:
      The number of values; 0 if the domain has no range.
    """
    if not self.low:
      return 0
    low, high = self.range_of(dtype)
    return int(array.size - np.count_nonzero((array >= low) & (array <= high)))

  def levels(
    self, array: Num[np.ndarray, '*shape channels'], dtype: np.dtype
  ) -> Float32[np.ndarray, '*shape channels']:
    """Scales values from the range of the domain to [0, 255].

    Args:
      array: the values.
      dtype: type of the values in the file, whose range is used if the domain
        has none.

    Returns:
      The levels, float32, not rounded. Values outside the range are clipped,
      and NaN becomes 0.

    Raises:
      UserError: the domain has no range, and `dtype` is a floating-point type.
    """
    low, high = self.range_of(dtype)
    levels = (array.astype(np.float32) - low) * (TOP / (high - low))
    np.nan_to_num(levels, copy=False, nan=0.0, posinf=TOP, neginf=0.0)
    return np.clip(levels, 0, TOP, out=levels)

  def of_image(
    self,
    image: Float32[np.ndarray, '*shape channels'],
    dtype: np.dtype | None = None,
  ) -> Num[np.ndarray, '*shape channels']:
    """Scales images from [-1, 1] to the range of the domain.

    Args:
      image: one or more images in [-1, 1].
      dtype: type of the result; None for the recorded type `self.dtype`, or
        uint8 if no type was recorded.

    Returns:
      The values. For an integer type they are rounded and clipped to the range
      of the type; for booleans the result is True above 0.5.

    Raises:
      UserError: the domain has no range, and the type of the result is a
        floating-point type.
    """
    kind = np.dtype(dtype or self.dtype or np.uint8)
    low, high = (x.astype(np.float64) for x in self.range_of(kind))
    array = low + (np.asarray(image, np.float64) + 1) * ((high - low) / 2)
    if np.issubdtype(kind, np.bool_):
      return array > 0.5
    if not np.issubdtype(kind, np.integer):
      return array.astype(kind)
    info = np.iinfo(kind)
    return array.round().clip(info.min, info.max).astype(kind)


def parse(text: str, channels: int, option: str) -> Values:
  """Parses the text of data.range_a or data.range_b.

  Args:
    text: value of the option, in a form that the module's docstring lists, with
      or without recorded type and ranges. A percentile that is not measured yet
      is treated like 'auto'.
    channels: number of channels of the domain.
    option: name of the option, for messages.

  Returns:
    The `Values` of the domain.

  Raises:
    UserError: the text has none of the forms, its numbers are not valid, or it
      has another number of ranges than 1 or `channels`.
  """
  asked, is_recorded, fixed = text.partition('=')
  if asked == AUTO:
    return Values(channels, dtype=_known(fixed, text, option), option=option)
  dtype, _, pairs = fixed.rpartition(':') if is_recorded else ('', '', asked)
  if pairs.startswith(PERCENTILE):
    percentiles(pairs, option)
    return Values(channels, option=option)
  low, high = _pairs(pairs, text, option)
  if len(low) not in (1, channels):
    raise UserError(
      f'{option}={text!r}: has {len(low)} ranges, but there are {channels} '
      'channels: give one range, or one range per channel'
    )
  return Values(channels, low, high, _known(dtype, text, option), option)


def _known(dtype, text, option):
  """Returns a recorded type name after a check; '' if none was recorded."""
  if not dtype:
    return ''
  try:
    if np.dtype(dtype).kind in 'biuf':
      return dtype
  except TypeError:
    pass
  raise UserError(f'{option}={text!r}: {dtype!r} is not a number type')


def _pairs(spec, text, option):
  """Returns (lows, highs) of a text LOW,HIGH;LOW,HIGH;..., as tuples.

  Raises:
    UserError: `spec` has another form, a number is not finite, or LOW is not
      below HIGH. The message shows `text`, the whole value of the option.
  """
  try:
    pairs = [
      [float(x) for x in pair.split(',')] for pair in spec.split(';') if pair
    ]
    ((*low,), (*high,)) = zip(*pairs, strict=True)
  except ValueError:
    raise UserError(
      f'{option}={text!r}: not a range: give auto, LOW,HIGH for all channels, '
      'LOW,HIGH;LOW,HIGH;... with one range per channel, or percentile:1,99'
    ) from None
  for x, y in zip(low, high):
    if not (math.isfinite(x) and math.isfinite(y) and x < y):
      raise UserError(
        f'{option}={text!r}: {x:g} must be below {y:g}, and both must be finite'
      )
  return tuple(low), tuple(high)


def percentiles(text: str, option: str) -> tuple[float, float]:
  """Returns (P, Q) of a text 'percentile:P,Q'.

  Args:
    text: value of a range option that starts with 'percentile:'.
    option: name of the option, for messages.

  Raises:
    UserError: P and Q are not two numbers with 0 <= P < Q <= 100.
  """
  try:
    low, high = map(float, text.removeprefix(PERCENTILE).split(','))
  except ValueError:
    low, high = 1.0, 0.0
  if not 0 <= low < high <= 100:
    raise UserError(
      f'{option}={text!r}: give two percentages from 0 to 100, the lower one '
      'first, such as percentile:1,99'
    )
  return low, high


def recorded(text: str, values: Values) -> str:
  """Returns the text of a range option with type and measured ranges appended.

  Args:
    text: value of data.range_a or data.range_b.
    values: the `Values` to record.

  Returns:
    Text such as 'percentile:1,99=int16:-90,1200', or 'auto=uint16' if `values`
    has no range.
  """
  asked_for = asked(text)
  if not values.low:
    return f'{asked_for}={values.dtype}'
  pairs = ';'.join(f'{x:.9g},{y:.9g}' for x, y in zip(values.low, values.high))
  return f'{asked_for}={values.dtype}:{pairs}'


def asked(text: str) -> str:
  """Returns the text of a range option as the user gave it.

  The type and ranges that a run appended (`recorded`) are cut off:
  'auto=uint16' becomes 'auto'.
  """
  return text.partition('=')[0]
