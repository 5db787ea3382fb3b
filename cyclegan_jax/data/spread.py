"""Statistics of the values of pictures: types, channels, extremes, percentiles.

Percentiles are of a sample: values spread evenly over each picture, the same
each time.
"""

import concurrent.futures
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Num
from tqdm import tqdm

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import raw
from cyclegan_jax.data.arrays.base import ArrayFormat
from cyclegan_jax.data.decode import open_by
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.values import Values

_SAMPLED = 2**23  # values of each channel, over all pictures
_LEAST = 256  # values of each channel of a picture
_THREADS = 8


class Spread(NamedTuple):
  """Statistics of a picture's values.

  Attributes:
    dtype: NumPy's name of the type of the values.
    low: the smallest value of each channel; NaN does not count.
    high: the largest.
    sample: [count, channels], values spread evenly over the picture.
  """

  dtype: str
  low: Num[np.ndarray, ' channels']
  high: Num[np.ndarray, ' channels']
  sample: Num[np.ndarray, 'count channels']


def read(picture: Picture, values: Values) -> raw.Raw:
  """The values of a picture as its file has them.

  Raises:
    UserError: the file can't be read, or has other channels.
  """
  where = open_by(picture, values)
  if isinstance(where, ArrayFormat):
    return raw.read(picture, where, values)
  with where as image:
    return raw.of_pillow(picture, image, values)


def of_array(
  array: Num[np.ndarray, 'height width channels'], count: int
) -> Spread:
  """The `Spread` of a picture's values, with at most `count` of a channel."""
  flat = array.reshape(-1, array.shape[-1])
  places = np.linspace(0, len(flat) - 1, min(count, len(flat))).astype(int)
  with np.errstate(invalid='ignore'):
    low, high = np.fmin.reduce(flat), np.fmax.reduce(flat)
  return Spread(array.dtype.name, low, high, flat[places])


def share_of(count: int) -> int:
  """Values to sample from each of `count` pictures, per channel."""
  return max(_LEAST, _SAMPLED // max(count, 1))


def percentiles(
  pictures: Sequence[Picture],
  values: Values,
  points: Sequence[float],
  skips: bool = False,
) -> tuple[str, Num[np.ndarray, 'points channels']]:
  """Percentiles of each channel over some pictures, with a progress bar.

  Args:
    pictures: the pictures; each is read once.
    values: of their domain; the range does not matter.
    points: percentages from 0 to 100.
    skips: whether to go on without pictures that can't be read.

  Returns:
    The common type of the values by NumPy's name, and the percentiles.

  Raises:
    UserError: a picture that can't be read, or none that has finite values.
  """
  count = share_of(len(pictures))

  def spread(picture):
    try:
      return of_array(read(picture, values).array, count)
    except UserError:
      if skips:
        return None
      raise

  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    found = list(
      tqdm(
        pool.map(spread, pictures),
        total=len(pictures),
        desc=f'measuring {values.option}',
        unit='picture',
        delay=2,
        leave=False,
        disable=None,  # where there is no terminal
      )
    )
  there = [x for x in found if x is not None]
  samples = [x.sample for x in there]
  sample = np.concatenate(samples) if samples else np.zeros((0, 1))
  sample = sample[np.isfinite(sample).all(axis=-1)]
  if not len(sample):
    raise UserError(
      f'{pictures[0].name}: neither it nor another picture of its domain has '
      'finite values to measure: run cyclegan_jax.check_data'
    )
  dtype = np.result_type(*{x.dtype for x in there}).name
  return dtype, np.percentile(sample.astype(np.float64), points, axis=0)
