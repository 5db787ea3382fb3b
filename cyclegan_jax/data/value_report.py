"""Facts of the values of a domain for check_data, and proposed options."""

import collections
from collections.abc import Sequence

import numpy as np

from cyclegan_jax.data import raw
from cyclegan_jax.data.arrays.base import ArrayFormat
from cyclegan_jax.data.decode import SPAN, open_by
from cyclegan_jax.data.partly import NARROW
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.spread import Spread, of_array, read
from cyclegan_jax.data.values import Values

_POINTS = (1, 50, 99)  # percentages
_SHOWN = 4  # channels in a line
_OUTSIDE = 0.02  # share of values that a range may well leave out
_PER_LEVEL = 257  # of 16 bits


def of_decoded(image, count: int) -> Spread:
  """The `Spread` of a picture as `decode.decoded` gave it."""
  if isinstance(image, raw.Raw):
    return of_array(image.array, count)
  array = np.asarray(image)
  if SPAN in image.info and array.dtype != np.uint8:
    array = (array * _PER_LEVEL).round().astype(np.uint16)
  return of_array(array.reshape(*array.shape[:2], -1), count)


def of_file(picture: Picture, values: Values, count: int) -> Spread | None:
  """The `Spread` of a picture that its domain does not take; None if broken."""
  try:
    where = open_by(picture, values)
    if isinstance(where, ArrayFormat):
      channels = raw.facts(picture, where).channels
      values = values._replace(channels=channels)
    else:
      where.close()
    return of_array(read(picture, values).array, count)
  except Exception:  # that it is broken is said elsewhere
    return None


def facts(found: Sequence[Spread], outside: float, values: Values) -> dict:
  """Facts of the values of a domain's pictures, in plain values.

  Args:
    found: of each picture.
    outside: share of all values that the range does not hold.
    values: what the domain takes.

  Returns:
    {'types': {type: pictures}, 'channels': {number: pictures}, 'low', 'high',
    'percentiles': {percentage: [per channel]}, 'outside', 'proposed': options};
    the numbers are of the pictures with the most frequent number of channels.
  """
  if not found:
    return {}
  channels = collections.Counter(len(x.low) for x in found)
  common = channels.most_common(1)[0][0]
  same = [x for x in found if len(x.low) == common]
  sample = np.concatenate([x.sample for x in same]).astype(np.float64)
  sample = sample[np.isfinite(sample).all(axis=-1)]
  if not len(sample):
    sample = np.zeros((1, common))
  types = collections.Counter(x.dtype for x in found)
  known = {
    'types': dict(types.most_common()),
    'channels': {str(n): count for n, count in channels.most_common()},
    'low': np.fmin.reduce([x.low for x in same]).tolist(),
    'high': np.fmax.reduce([x.high for x in same]).tolist(),
    'percentiles': {
      str(p): row.tolist()
      for p, row in zip(_POINTS, np.percentile(sample, _POINTS, axis=0))
    },
    'outside': outside,
  }
  return known | {'proposed': _proposed(known, common, values)}


def _proposed(known, channels, values):
  """Options that fit the pictures better than those of now."""
  options = []
  wants = values.channels
  if channels != wants and {channels, wants} != {1, 3}:
    options.append(f'--config.{values.channels_option}={channels}')
  if _is_poor(known, values):
    options.append(f'--config.{values.option}=percentile:1,99')
  return options


def _is_poor(known, values):
  """Returns True for a range that is missing, too wide or too narrow."""
  if values.low:
    return known['outside'] > _OUTSIDE
  for name in known['types']:
    dtype = np.dtype(name)
    if np.issubdtype(dtype, np.floating):
      return True
    if dtype.itemsize > 1:
      low, high = values.range_of(dtype)
      used = max(known['percentiles']['99']) - min(known['percentiles']['1'])
      return bool(used < NARROW * (high - low)[0])
  return False


def lines(domain: str, known: dict) -> list[str]:
  """The facts of a domain, in lines to read."""
  if not known:
    return []
  types = ', '.join(f'{n} {kind}' for kind, n in known['types'].items())
  counts = ', '.join(
    f'{n} with {c} channel{"" if c == "1" else "s"}'
    for c, n in known['channels'].items()
  )
  points = '; '.join(
    f'{p}% below {_numbers(row)}' for p, row in known['percentiles'].items()
  )
  found = [
    '',
    f'values of {domain.upper()}: {types}; {counts}',
    f'  from {_numbers(known["low"])} to {_numbers(known["high"])}; {points}',
  ]
  if known['outside']:
    found.append(f'  outside the range: {100 * known["outside"]:.2g}% of them')
  if known['proposed']:
    found.append(f'  proposed: {" ".join(known["proposed"])}')
  return found


def _numbers(row):
  text = ', '.join(f'{x:.5g}' for x in row[:_SHOWN])
  return f'{text}, ...' if len(row) > _SHOWN else text
