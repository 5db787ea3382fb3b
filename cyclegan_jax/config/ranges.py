"""Ranges of values that a run measures once and keeps."""

import json

import numpy as np

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import spread, values
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.data.values import Values
from cyclegan_jax.training.workdir import Workdir


def of_config(config) -> dict[str, Values]:
  """{domain: `Values`} of data.channels_a, data.range_a and those of B.

  Raises:
    UserError: a range that is none.
  """
  return {
    d: values.parse(
      config.data[f'range_{d}'], config.data[f'channels_{d}'], f'data.range_{d}'
    )
    for d in 'ab'
  }


def fix(config, data: Dataset, workdir=None) -> Dataset:
  """Measures what the ranges leave open, and records it in the config.

  A run that is resumed keeps what it recorded when it began. Domains of 8-bit
  gray or RGB pictures, and of 16-bit gray ones, have nothing to record.

  Args:
    config: a ConfigDict; what its ranges stand for is added to their texts.
    data: the `Dataset` that is trained on.
    workdir: the run's folder, or None.

  Returns:
    The `Dataset` with these ranges.

  Raises:
    UserError: pictures whose values can't be measured, or have no range.
  """
  before = _recorded(workdir)
  found = {}
  for domain in 'ab':
    option, key = f'data.range_{domain}', f'range_{domain}'
    text = config.data[key]
    # A run of an earlier version has no ranges.
    was = before and before.get(key, values.AUTO)
    if was and values.asked(was) == text:
      text = was
    elif '=' not in text:
      text = _measured(data, domain, text)
    config.data[key] = text
    found[domain] = values.parse(text, data.channels[domain], option)
  return data._replace(values=found)


def _recorded(workdir):
  """The data section of the config of a run that has begun, or nothing."""
  if workdir is None or not Workdir(workdir).has_checkpoints():
    return {}
  try:
    return json.loads(Workdir(workdir).config.read_text())['data']
  except (OSError, ValueError, KeyError, TypeError):
    return {}


def _measured(data, domain, text):
  """The text with what it stands for, or as it is if that is 8 bits."""
  there, pictures = data.values_of(domain), data.train[domain]
  if text.startswith(values.PERCENTILE):
    points = values.percentiles(text, there.option)
    dtype, (low, high) = spread.percentiles(pictures, there, points, data.skips)
    if not (low < high).all():
      raise UserError(
        f'{there.option}={text}: the values of a channel are all '
        f'{low.min():g}, which is no range: give LOW,HIGH'
      )
    there = there._replace(low=tuple(low), high=tuple(high), dtype=dtype)
    return values.recorded(text, there)
  dtype = _type_of(data, pictures, there)
  there.range_of(dtype)
  # Translations of deep gray are written with the bits of their inputs.
  is_deep_gray = dtype == np.uint16 and there.channels == 1
  if there.plain and (dtype == np.uint8 or is_deep_gray):
    return text
  return values.recorded(text, there._replace(dtype=dtype.name))


def _type_of(data, pictures, there):
  """The type of the values of the first picture that can be read."""
  for picture in pictures:
    try:
      return spread.read(picture, there).dtype
    except UserError:
      if not data.skips:
        raise
  return np.dtype(np.uint8)
