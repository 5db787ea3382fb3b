"""Data sets of Hugging Face: opened, their splits and columns chosen."""

import functools
import glob
import itertools
import logging
import re
import sys
import textwrap
from typing import Any, NamedTuple

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError

_HUB_NAME = re.compile(r'[\w-][\w.-]*(/[\w-][\w.-]*)?(:[\w.-]+)?')
_TESTS = ('test', 'validation', 'val')
_ON_DISK = ('dataset_dict.json', 'state.json')  # files of save_to_disk
_TEXTS = ('binary', 'large_binary', 'string', 'large_string')  # bytes or paths


class Set(NamedTuple):
  """A data set, for messages its name as it was given, and {split: rows}."""

  name: str
  splits: dict[str, Any]


def opened(root, name):
  """Opens the data set of one name; no picture is read.

  Args:
    root: as for `hf.hf`.
    name: one of the names there.

  Returns:
    A `Set`.

  Raises:
    UserError: there is none, or it can't be read.
  """
  try:
    import datasets  # slow to import, so only where it is used
  except ImportError as e:
    raise UserError(
      "data.source=hf needs the package datasets: pip install -e '.[hf]'"
    ) from e
  place = files.place(root) / name if root else files.place(name)
  if files.remote(place):
    raise UserError(
      f'{place} (data.root): data.source=hf reads folders of this machine'
    )
  logging.getLogger('huggingface_hub').setLevel(logging.ERROR)
  if not sys.stderr.isatty():
    datasets.disable_progress_bars()
  local = _local_loader(datasets, place)
  if not local and not _HUB_NAME.fullmatch(name):
    raise UserError(
      f'no folder or files {place} (data.name): give a folder made by '
      'save_to_disk, a folder or pattern of parquet files, or a name on the '
      'Hugging Face Hub'
    )
  try:
    found = local() if local else _from_hub(datasets, root, name)
  except Exception as e:  # network, disk, formats: it raises all kinds
    raise _unopened(place, name, bool(local), e) from e
  if not isinstance(found, dict):
    found = {str(found.split or 'train'): found}
  return Set(name or str(place), dict(found))


def _local_loader(datasets, place):
  """() -> data set of a folder or pattern; None if nothing is there."""
  if place.is_dir():
    if any((place / name).is_file() for name in _ON_DISK):
      return functools.partial(
        datasets.load_from_disk, str(place), keep_in_memory=False
      )
    if any(place.rglob('*.parquet')):
      return functools.partial(
        datasets.load_dataset, 'parquet', data_dir=str(place)
      )
    raise UserError(
      f'{place} (data.name) holds neither what save_to_disk writes nor parquet '
      'files'
    )
  found = sorted(glob.glob(str(place), recursive=True))
  if not found:
    return None
  return functools.partial(
    datasets.load_dataset, 'parquet', data_files=found, split=None
  )


def _from_hub(datasets, root, name):
  name, _, subset = name.partition(':')
  cache = files.expanded(root) if root else None
  return datasets.load_dataset(name, subset or None, cache_dir=cache)


def _unopened(place, name, is_local, error):
  text = ' '.join(f'{type(error).__name__}: {error}'.split())
  reason = textwrap.shorten(text, 200)
  if is_local:
    return UserError(f'{place} (data.name) cannot be read ({reason})')
  return UserError(
    f'data.name={name!r} is no folder here and could not be had from the '
    f'Hugging Face Hub ({reason}): check the name (OWNER/NAME or '
    'OWNER/NAME:SUBSET) and the network, or set data.root to a cache or folder '
    'that holds it'
  )


def choose_splits(sets, text):
  """{'train', 'test'}: {'a', 'b'}: the name of a split; None for no test.

  Args:
    sets: {'a', 'b'}: `Set`.
    text: the option data.splits.

  Raises:
    UserError: there is no such split.
  """
  if not text:
    found = {d: _usual_splits(a_set, d) for d, a_set in sets.items()}
    return {
      part: {d: found[d][i] for d in 'ab'}
      for i, part in enumerate(('train', 'test'))
    }
  names = [x.strip() or None for x in text.split(',')]
  if len(names) in (1, 2):
    names = [x for x in [*names, None][:2] for _ in 'ab']
  if len(names) != 4 or None in names[:2]:
    raise UserError(
      f'data.splits={text!r}: give train or train,test or '
      'trainA,trainB,testA,testB'
    )
  for d, split in zip('abab', names):
    if split and split not in sets[d].splits:
      raise _no_split(sets[d], f'no split {split} (data.splits)')
  return {
    'train': dict(zip('ab', names[:2])),
    'test': dict(zip('ab', names[2:])),
  }


def _usual_splits(a_set, domain):
  """The splits for training and for tests, or None, by their names."""
  there, suffix = a_set.splits, domain.upper()
  if f'train{suffix}' in there:
    test = f'test{suffix}'
    return f'train{suffix}', test if test in there else None
  if 'train' in there:
    return 'train', next((x for x in _TESTS if x in there), None)
  if len(there) == 1:
    return *there, None
  raise _no_split(a_set, f'no split train or train{suffix}')


def _no_split(a_set, problem):
  return UserError(
    f'{a_set.name}: {problem}: there are {", ".join(a_set.splits)}: choose by '
    '--config.data.splits=TRAIN,TEST or TRAIN_A,TRAIN_B,TEST_A,TEST_B'
  )


def choose_columns(sets, chosen, text, one_row):
  """{'a', 'b'}: the column of pictures.

  Args:
    sets: {'a', 'b'}: `Set`.
    chosen: as `choose_splits` gives it.
    text: the option data.columns.
    one_row: whether A and B are in the rows of one split.

  Raises:
    UserError: there is no such column, or it holds no pictures.
  """
  names = [x.strip() for x in text.split(',')] if text else []
  if len(names) > 2 or '' in names:
    raise UserError(f'data.columns={text!r}: give a column, or A,B')
  if not names and one_row:
    names = _image_columns(sets['a'], chosen['train']['a'], 2)
  elif not names:
    names = [_image_columns(sets[d], chosen['train'][d], 1)[0] for d in 'ab']
  found = dict(zip('ab', names * 2))
  for part, d in itertools.product(chosen, found):
    if split := chosen[part][d]:
      _check_column(sets[d], split, found[d])
  return found


def _image_columns(a_set, split, count):
  """The columns of type Image, as many as asked for."""
  from datasets import Image

  features = a_set.splits[split].features
  found = [x for x, feature in features.items() if isinstance(feature, Image)]
  if len(found) != count:
    raise UserError(
      f'{a_set.name}: split {split} has {len(found)} columns of pictures '
      f'({", ".join(found) or "of all: " + ", ".join(features)}), not {count}: '
      'choose by --config.data.columns=A,B or COLUMN'
    )
  return found


def _check_column(a_set, split, column):
  from datasets import Image

  features = a_set.splits[split].features
  if column not in features:
    raise UserError(
      f'{a_set.name}: no column {column} (data.columns) in split {split}: '
      f'there are {", ".join(features)}'
    )
  feature = features[column]
  is_struct = isinstance(feature, dict) and {'bytes', 'path'} & set(feature)
  is_text = getattr(feature, 'dtype', None) in _TEXTS
  if not (isinstance(feature, Image) or is_struct or is_text):
    raise UserError(
      f'{a_set.name}: column {column} (data.columns) holds no pictures: it is '
      f'{textwrap.shorten(str(feature), 80)}'
    )
