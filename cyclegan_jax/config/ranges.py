"""Ranges of pixel values: measured once by a run, then kept in its config."""

import json

import numpy as np

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import spread, values
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.data.values import Values
from cyclegan_jax.training.workdir import Workdir


def of_config(config) -> dict[str, Values]:
  """Returns {domain: `Values`} of the options data.channels_* and data.range_*.

  Raises:
    UserError: the text of a range is invalid.
  """
  return {
    d: values.parse(
      config.data[f'range_{d}'], config.data[f'channels_{d}'], f'data.range_{d}'
    )
    for d in 'ab'
  }


def fix(config, data: Dataset, workdir=None) -> Dataset:
  """Measures the ranges `auto` and `percentile`, and records them in a config.

  A resumed run keeps the ranges that it recorded when it started. Nothing is
  recorded for 8-bit gray or RGB pictures and for 16-bit gray pictures.

  Args:
    config: a ConfigDict, modified: the measured numbers are appended to the
      texts data.range_a and data.range_b.
    data: the `Dataset` of the training pictures.
    workdir: the run folder, or None.

  Returns:
    The `Dataset` with these ranges.

  Raises:
    UserError: the pictures cannot be read, or all values of a channel are
      equal.
  """
  before = _recorded(workdir)
  found = {}
  for domain in 'ab':
    option, key = f'data.range_{domain}', f'range_{domain}'
    text = config.data[key]
    # The config of an earlier version has no ranges.
    was = before and before.get(key, values.AUTO)
    if was and values.asked(was) == text:
      text = was
    elif '=' not in text:
      text = _measured(data, domain, text)
    config.data[key] = text
    found[domain] = values.parse(text, data.channels[domain], option)
  return data._replace(values=found)


def _recorded(workdir):
  """Returns the section `data` of a run's config.json; {} for a new run."""
  if workdir is None or not Workdir(workdir).has_checkpoints():
    return {}
  try:
    return json.loads(Workdir(workdir).config.read_text())['data']
  except (OSError, ValueError, KeyError, TypeError):
    return {}


def _measured(data, domain, text):
  """Returns the text of a range with the measured numbers appended.

  The text is returned unchanged if the pictures are 8-bit gray or RGB, or
  16-bit gray.
  """
  there, pictures = data.values_of(domain), data.train[domain]
  if text.startswith(values.PERCENTILE):
    points = values.percentiles(text, there.option)
    dtype, (low, high) = spread.percentiles(pictures, there, points, data.skips)
    if not (low < high).all():
      raise UserError(
        f'{there.option}={text}: all values of a channel are {low.min():g}, so '
        'there is no range to measure: give LOW,HIGH'
      )
    there = there._replace(low=tuple(low), high=tuple(high), dtype=dtype)
    return values.recorded(text, there)
  dtype = _type_of(data, pictures, there)
  there.range_of(dtype)
  # The range of 16-bit gray need not be recorded: translations are written with
  # the number of bits of their inputs.
  is_deep_gray = dtype == np.uint16 and there.channels == 1
  if there.plain and (dtype == np.uint8 or is_deep_gray):
    return text
  return values.recorded(text, there._replace(dtype=dtype.name))


def _type_of(data, pictures, there):
  """Returns the dtype of the values of the first picture that can be read.

  uint8 if no picture can be read. Without data.on_bad_image=skip, a picture
  that cannot be read raises `UserError`.
  """
  for picture in pictures:
    try:
      return spread.read(picture, there).dtype
    except UserError:
      if not data.skips:
        raise
  return np.dtype(np.uint8)
