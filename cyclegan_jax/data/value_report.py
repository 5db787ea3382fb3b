"""Report of check_data on the values of a domain, with proposed options."""

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

_POINTS = (1, 50, 99)  # percentiles, in percent
_SHOWN = 4  # channels shown in a line
_OUTSIDE = 0.02  # share of values outside a range that is still acceptable
_PER_LEVEL = 257  # 16-bit values per 8-bit level: 65535 / 255


def of_decoded(image, count: int) -> Spread:
  """Returns the `Spread` of a decoded picture.

  Args:
    image: result of `decode.decoded`, a Pillow image or a `Raw`.
    count: maximum number of sampled values per channel.
  """
  if isinstance(image, raw.Raw):
    return of_array(image.array, count)
  array = np.asarray(image)
  if SPAN in image.info and array.dtype != np.uint8:
    array = (array * _PER_LEVEL).round().astype(np.uint16)
  return of_array(array.reshape(*array.shape[:2], -1), count)


def of_file(picture: Picture, values: Values, count: int) -> Spread | None:
  """Returns the `Spread` of a picture that its domain does not accept.

  The file may have another number of channels than the domain.

  Args:
    picture: a `Picture`.
    values: `Values` (channels and value range) of its domain.
    count: maximum number of sampled values per channel.

  Returns:
    The `Spread`; None if the file cannot be read.
  """
  try:
    where = open_by(picture, values)
    if isinstance(where, ArrayFormat):
      channels = raw.facts(picture, where).channels
      values = values._replace(channels=channels)
    else:
      where.close()
    return of_array(read(picture, values).array, count)
  except Exception:  # `inspect` reports the broken file
    return None


def facts(found: Sequence[Spread], outside: float, values: Values) -> dict:
  """Summarises the values of a domain's pictures as plain values.

  Args:
    found: one `Spread` per picture.
    outside: share in [0, 1] of the values that are outside the domain's range.
    values: `Values` (channels and value range) of the domain.

  Returns:
    A dict; {} if `found` is empty. Its keys are as follows.
    'types': {NumPy type name: number of pictures};
    'channels': {number of channels as text: number of pictures};
    'low' and 'high': the smallest and largest value, one number per channel;
    'percentiles': {percentage as text: one number per channel};
    'outside': the argument `outside`;
    'proposed': list of command-line options that fit the pictures better.
    'low', 'high' and 'percentiles' are of the pictures with the most frequent
    number of channels.
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
  """Returns command-line options that fit the pictures better than `values`.

  Args:
    known: the facts without 'proposed'.
    channels: most frequent number of channels of the pictures.
    values: `Values` (channels and value range) of the domain.
  """
  options = []
  wants = values.channels
  if channels != wants and {channels, wants} != {1, 3}:
    options.append(f'--config.{values.channels_option}={channels}')
  if _is_poor(known, values):
    options.append(f'--config.{values.option}=percentile:1,99')
  return options


def _is_poor(known, values):
  """Returns True if a domain's range is missing, too wide or too narrow."""
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
  """Returns the lines that check_data prints on the values of a domain.

  Args:
    domain: 'a' or 'b'.
    known: the dict that `facts` returns; if it is empty, so is the result.
  """
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
    found.append(
      f'  outside the range: {100 * known["outside"]:.2g}% of the values'
    )
  if known['proposed']:
    found.append(f'  proposed: {" ".join(known["proposed"])}')
  return found


def _numbers(row):
  """Returns the numbers of the first channels as text."""
  text = ', '.join(f'{x:.5g}' for x in row[:_SHOWN])
  return f'{text}, ...' if len(row) > _SHOWN else text
