"""Opening Hugging Face datasets and choosing their splits and columns."""

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
  """An opened dataset.

  Attributes:
    name: the name that the user gave, for messages.
    splits: {split name: `datasets.Dataset`, the rows of the split}.
  """

  name: str
  splits: dict[str, Any]


def opened(root, name):
  """Opens one Hugging Face dataset by its name; no picture is read.

  Args:
    root: the option data.root. If `name` is a local path, the folder that the
      path is relative to. If `name` is on the Hugging Face Hub, the cache
      folder of downloads. '' for the working directory and the default cache.
    name: a folder made by `save_to_disk`, a folder or glob pattern of parquet
      files, or 'OWNER/NAME' or 'OWNER/NAME:SUBSET' on the Hub. A local path
      that exists is preferred to the Hub.

  Returns:
    A `Set`: the name, and the rows of each split.

  Raises:
    UserError: the package `datasets` is not installed, or the dataset does not
      exist or cannot be read.
  """
  try:
    import datasets  # slow to import, so only here
  except ImportError as e:
    raise UserError(
      "data.source=hf needs the package datasets: pip install -e '.[hf]'"
    ) from e
  place = files.place(root) / name if root else files.place(name)
  if files.remote(place):
    raise UserError(f'{place} (data.root): data.source=hf needs a local folder')
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
  except Exception as e:  # any exception, by network, disk or format
    raise _unopened(place, name, bool(local), e) from e
  if not isinstance(found, dict):
    found = {str(found.split or 'train'): found}
  return Set(name or str(place), dict(found))


def _local_loader(datasets, place):
  """Returns a function that loads a dataset from local files.

  Args:
    datasets: the module `datasets`.
    place: the path of a folder, or a glob pattern of parquet files.

  Returns:
    A function without arguments; None if no file or folder matches `place`.

  Raises:
    UserError: the folder has neither a saved dataset nor parquet files.
  """
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
      f'{place} (data.name) has neither a dataset written by save_to_disk nor '
      'parquet files: give the folder of a dataset'
    )
  found = sorted(glob.glob(str(place), recursive=True))
  if not found:
    return None
  return functools.partial(
    datasets.load_dataset, 'parquet', data_files=found, split=None
  )


def _from_hub(datasets, root, name):
  """Loads a dataset from the Hub or its cache, with NAME or NAME:SUBSET."""
  name, _, subset = name.partition(':')
  cache = files.expanded(root) if root else None
  return datasets.load_dataset(name, subset or None, cache_dir=cache)


def _unopened(place, name, is_local, error):
  """Returns the `UserError` for a dataset that failed to load."""
  text = ' '.join(f'{type(error).__name__}: {error}'.split())
  reason = textwrap.shorten(text, 200)
  if is_local:
    return UserError(f'{place} (data.name) cannot be read ({reason})')
  return UserError(
    f'data.name={name!r} is not a local folder and cannot be loaded from the '
    f'Hugging Face Hub ({reason}): check the name (OWNER/NAME or '
    'OWNER/NAME:SUBSET) and the network, or set data.root to the cache or '
    'folder of the dataset'
  )


def choose_splits(sets, text):
  """Returns the names of the training and test splits of both domains.

  Args:
    sets: {domain: `Set`}.
    text: the option data.splits: 'TRAIN', 'TRAIN,TEST' or
      'TRAIN_A,TRAIN_B,TEST_A,TEST_B'; empty to choose by the usual names.

  Returns:
    A dict {'train': {domain: name}, 'test': {domain: name}}. The name of a
    test split is None if there is no test split.

  Raises:
    UserError: a split does not exist, no split has a usual name, or `text` has
      another form.
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
  """Returns a domain's (training split, test split or None) by usual names."""
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
  """Returns the `UserError` for a missing split."""
  return UserError(
    f'{a_set.name}: {problem}: the splits are {", ".join(a_set.splits)}: '
    'choose with --config.data.splits=TRAIN,TEST or '
    'TRAIN_A,TRAIN_B,TEST_A,TEST_B'
  )


def choose_columns(sets, chosen, text, one_row):
  """Returns {domain: name of its column of pictures}.

  Args:
    sets: {domain: `Set`}.
    chosen: the return value of `choose_splits`.
    text: the option data.columns: 'COLUMN' for both domains, or 'A,B'; empty to
      choose the columns of type `datasets.Image`.
    one_row: True if A and B are in the rows of one split.

  Raises:
    UserError: a column does not exist in one of the splits or has no pictures,
      the number of columns of type `datasets.Image` does not fit, or `text` has
      another form.
  """
  names = [x.strip() for x in text.split(',')] if text else []
  if len(names) > 2 or '' in names:
    raise UserError(f'data.columns={text!r}: give a column, or two as A,B')
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
  """Returns the names of a split's columns of type `datasets.Image`.

  Raises:
    UserError: there are not `count` of them.
  """
  from datasets import Image

  features = a_set.splits[split].features
  found = [x for x, feature in features.items() if isinstance(feature, Image)]
  if len(found) != count:
    raise UserError(
      f'{a_set.name}: split {split} has {len(found)} columns of pictures '
      f'({", ".join(found) or "of all: " + ", ".join(features)}), not '
      f'{count}: choose with --config.data.columns=A,B or COLUMN'
    )
  return found


def _check_column(a_set, split, column):
  """Raises `UserError` if a split has no such column of pictures."""
  from datasets import Image

  features = a_set.splits[split].features
  if column not in features:
    raise UserError(
      f'{a_set.name}: no column {column} (data.columns) in split {split}: '
      f'the columns are {", ".join(features)}'
    )
  feature = features[column]
  is_struct = isinstance(feature, dict) and {'bytes', 'path'} & set(feature)
  is_text = getattr(feature, 'dtype', None) in _TEXTS
  if not (isinstance(feature, Image) or is_struct or is_text):
    raise UserError(
      f'{a_set.name}: column {column} (data.columns) has no pictures: its '
      f'type is {textwrap.shorten(str(feature), 80)}'
    )
