"""Statistics of the values of pictures: type, extremes and percentiles.

Percentiles are computed from a sample of the values. The sample is taken at
even distances in each picture, so the result is reproducible.
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

_SAMPLED = 2**23  # sampled values per channel, over all pictures
_LEAST = 256  # least number of sampled values per channel and picture
_THREADS = 8


class Spread(NamedTuple):
  """Statistics of the values of one picture.

  Attributes:
    dtype: NumPy's name of the type of the values, such as 'uint16'.
    low: the smallest value of each channel; NaN is ignored.
    high: the largest value of each channel; NaN is ignored.
    sample: [count, channels], values of pixels at even distances.
  """

  dtype: str
  low: Num[np.ndarray, ' channels']
  high: Num[np.ndarray, ' channels']
  sample: Num[np.ndarray, 'count channels']


def read(picture: Picture, values: Values) -> raw.Raw:
  """Reads a picture with its values as stored in the file.

  Args:
    picture: a `Picture`.
    values: `Values` (channels and value range) of its domain. The range is not
      used.

  Raises:
    UserError: the file cannot be read, or has another number of channels than
      the domain.
  """
  where = open_by(picture, values)
  if isinstance(where, ArrayFormat):
    return raw.read(picture, where, values)
  with where as image:
    return raw.of_pillow(picture, image, values)


def of_array(
  array: Num[np.ndarray, 'height width channels'], count: int
) -> Spread:
  """Returns the `Spread` of the values of a picture.

  Args:
    array: values of the picture.
    count: maximum number of sampled values per channel.
  """
  flat = array.reshape(-1, array.shape[-1])
  places = np.linspace(0, len(flat) - 1, min(count, len(flat))).astype(int)
  with np.errstate(invalid='ignore'):
    low, high = np.fmin.reduce(flat), np.fmax.reduce(flat)
  return Spread(array.dtype.name, low, high, flat[places])


def share_of(count: int) -> int:
  """Returns the number of values per channel to sample from each picture.

  Args:
    count: number of pictures.
  """
  return max(_LEAST, _SAMPLED // max(count, 1))


def percentiles(
  pictures: Sequence[Picture],
  values: Values,
  points: Sequence[float],
  skips: bool = False,
) -> tuple[str, Num[np.ndarray, 'points channels']]:
  """Measures percentiles of the values of pictures, per channel.

  Reads each picture once and shows a progress bar on a terminal.

  Args:
    pictures: the pictures of one domain.
    values: `Values` (channels and value range) of the domain. The range is not
      used.
    points: percentages from 0 to 100.
    skips: whether pictures that cannot be read are left out instead of raising
      an error.

  Returns:
    (dtype, percentiles): NumPy's name of the common type of the values, and the
    percentiles as float64 [points, channels].

  Raises:
    UserError: a picture cannot be read, or no picture has finite values.
  """
  count = share_of(len(pictures))

  def spread(picture):
    """Returns the `Spread` of a picture; None if the picture is left out."""
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
        disable=None,  # hides the bar if there is no terminal
      )
    )
  there = [x for x in found if x is not None]
  samples = [x.sample for x in there]
  sample = np.concatenate(samples) if samples else np.zeros((0, 1))
  sample = sample[np.isfinite(sample).all(axis=-1)]
  if not len(sample):
    raise UserError(
      f'{pictures[0].name}: neither this picture nor any other of its domain '
      'has finite values to measure: run cyclegan_jax.check_data'
    )
  dtype = np.result_type(*{x.dtype for x in there}).name
  return dtype, np.percentile(sample.astype(np.float64), points, axis=0)
