"""Values of a domain's pictures: channels, and the range that is [-1, 1].

`data.range_a` is one of these texts:

  auto                   what the integer type means: 0 to 255 of 8 bits
  LOW,HIGH               for all channels
  LOW,HIGH;LOW,HIGH;...  a pair per channel
  percentile:P,Q         measured over the training pictures, per channel

A run records the type of its pictures and what it measured behind the text:
percentile:1,99=int16:-90,1200, or auto=uint16.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Num

from cyclegan_jax.common.errors import UserError

AUTO, PERCENTILE = 'auto', 'percentile:'
TOP = 255.0  # of levels


class Values(NamedTuple):
  """Channels of a domain's pictures and the range of their values.

  Attributes:
    channels: number of channels.
    low: value that is -1, one for all channels or one per channel; empty for
      the range of each file's integer type.
    high: value that is 1, as `low`.
    dtype: NumPy's name of the type of the training pictures, which
      translations are written in; '' where it was not recorded.
    option: name of the option, for messages.
  """

  channels: int = 3
  low: tuple[float, ...] = ()
  high: tuple[float, ...] = ()
  dtype: str = ''
  option: str = 'data.range_a'

  @property
  def channels_option(self) -> str:
    """Name of the option of the channels, for messages."""
    return self.option.replace('range', 'channels')

  @property
  def plain(self) -> bool:
    """Returns True for gray or RGB pictures of the range of their type."""
    return not self.low and self.channels in (1, 3)

  def range_of(
    self, dtype: np.dtype
  ) -> tuple[Float32[np.ndarray, ' n'], Float32[np.ndarray, ' n']]:
    """(low, high) of values of a type, each [1] or [channels].

    Raises:
      UserError: values without a range of their own.
    """
    if self.low:
      return np.array(self.low, np.float32), np.array(self.high, np.float32)
    if np.issubdtype(dtype, np.bool_):
      return np.zeros(1, np.float32), np.ones(1, np.float32)
    if not np.issubdtype(dtype, np.integer):
      raise UserError(
        f'values of type {dtype} have no range of their own: set '
        f'--config.{self.option}=LOW,HIGH or percentile:1,99'
      )
    info = np.iinfo(dtype)
    return np.array([info.min], np.float32), np.array([info.max], np.float32)

  def outside(
    self, array: Num[np.ndarray, '*shape channels'], dtype: np.dtype
  ) -> int:
    """Number of values that the range does not hold; NaN is outside."""
    if not self.low:
      return 0
    low, high = self.range_of(dtype)
    return int(array.size - np.count_nonzero((array >= low) & (array <= high)))

  def levels(
    self, array: Num[np.ndarray, '*shape channels'], dtype: np.dtype
  ) -> Float32[np.ndarray, '*shape channels']:
    """Levels of values: the range becomes 0 to 255, the rest is clipped.

    Args:
      array: the values.
      dtype: type of the file that they are from.

    Returns:
      The levels; NaN becomes 0.
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
    """Values of images in [-1, 1], rounded and clipped for integers.

    Args:
      image: the images.
      dtype: type to give; None for the recorded one.
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
  """The `Values` that an option's text stands for.

  Args:
    text: see above. A percentile that was not measured yet gives the range of
      the file's type.
    channels: number of channels.
    option: name of the option, for messages.

  Raises:
    UserError: it is no such text, or not of so many channels.
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
      f'{option}={text!r} has {len(low)} pairs, and there are {channels} '
      'channels: give one pair, or one per channel'
    )
  return Values(channels, low, high, _known(dtype, text, option), option)


def _known(dtype, text, option):
  if not dtype:
    return ''
  try:
    if np.dtype(dtype).kind in 'biuf':
      return dtype
  except TypeError:
    pass
  raise UserError(f'{option}={text!r}: {dtype!r} is no type of numbers')


def _pairs(spec, text, option):
  try:
    pairs = [
      [float(x) for x in pair.split(',')] for pair in spec.split(';') if pair
    ]
    ((*low,), (*high,)) = zip(*pairs, strict=True)
  except ValueError:
    raise UserError(
      f'{option}={text!r} is no range: give auto, LOW,HIGH (or such pairs, one '
      'per channel, with semicolons), or percentile:1,99'
    ) from None
  for x, y in zip(low, high):
    if not (math.isfinite(x) and math.isfinite(y) and x < y):
      raise UserError(
        f'{option}={text!r}: {x:g} must be below {y:g}, and both be finite'
      )
  return tuple(low), tuple(high)


def percentiles(text: str, option: str) -> tuple[float, float]:
  """(P, Q) of a text 'percentile:P,Q'.

  Raises:
    UserError: they are no such numbers.
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
  """The text of an option with what it stands for behind it."""
  asked_for = asked(text)
  if not values.low:
    return f'{asked_for}={values.dtype}'
  pairs = ';'.join(f'{x:.9g},{y:.9g}' for x, y in zip(values.low, values.high))
  return f'{asked_for}={values.dtype}:{pairs}'


def asked(text: str) -> str:
  """The text that the user gave, without what a run recorded behind it."""
  return text.partition('=')[0]
