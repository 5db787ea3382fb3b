"""Data sets of Hugging Face's library `datasets` as sources of pictures."""

import functools
import os
import pathlib

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, choose
from cyclegan_jax.data import hf_sets, pairs
from cyclegan_jax.data.fetched import Fetched
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.source import Source


def hf(
  root: str | os.PathLike[str],
  name: str,
  paired: str = 'auto',
  *,
  columns: str = '',
  splits: str = '',
) -> Source:
  """Pictures of Hugging Face data sets, each read when it is needed.

  Rows without a picture in a column are left out.

  Args:
    root: the folder that `name` is below; of a name on the Hub, the cache.
      Empty for the working directory, and the library's own cache.
    name: 'OWNER/NAME' or 'OWNER/NAME:SUBSET' on the Hub, a folder made by
      `save_to_disk`, or a folder or pattern of parquet files; two of them with
      a semicolon for A and B.
    paired: 'yes' takes pictures of a row for a pair, where A and B are columns
      of the same rows; otherwise no pairs are known.
    columns: the column of pictures, or those of A and B with a comma; empty to
      go by their types.
    splits: 'train', 'train,test' or 'trainA,trainB,testA,testB' by the names
      that the set has; empty to go by these names.

  Raises:
    UserError: the package is missing, there is no such data set, split or
      column, or A and B would be the same.
  """
  choose(pairs.PAIRED, paired, 'data.paired')
  names = [x.strip() for x in name.split(';')]
  if len(names) > 2 or not (root or all(names)):
    raise UserError(
      f'data.name={name!r}: give a data set of Hugging Face, as '
      'huggan/horse2zebra, its folder, or two with a semicolon'
    )
  sets = dict(zip('ab', [hf_sets.opened(root, x) for x in names] * 2))
  chosen = hf_sets.choose_splits(sets, splits)
  one_row = len(names) == 1 and len(set(chosen['train'].values())) == 1
  found = hf_sets.choose_columns(sets, chosen, columns, one_row)
  if one_row and found['a'] == found['b']:
    raise UserError(
      f'{sets["a"].name}: A and B would both be column {found["a"]} of split '
      f'{chosen["train"]["a"]}: give two columns or splits (data.columns, '
      'data.splits)'
    )
  lists = {
    part: {
      d: split and _pictures(sets[d], split, found[d], d if names[1:] else '')
      for d, split in of_domains.items()
    }
    for part, of_domains in chosen.items()
  }
  one_row = one_row and len(set(chosen['test'].values())) == 1
  return _source(lists, chosen, paired, one_row)


def _pictures(a_set, split, column, domain):
  """One `Picture` per row, None for a row without one."""
  from datasets import Image

  rows = a_set.splits[split].with_format(None).select_columns([column])
  rows = rows.cast_column(column, Image(decode=False))
  before = f'{domain.upper()} ' * bool(domain)
  found = []
  for is_empty, path in _paths(rows, column):
    name = f'{before}{split} {len(found)} {column}'
    fetch = functools.partial(_read, name, rows, column, len(found))
    file = os.path.basename(path or '')
    found.append(None if is_empty else Picture(name, Fetched(file, fetch)))
  if not any(found):
    raise UserError(
      f'{a_set.name}: no row of split {split} has a picture in column {column}'
    )
  return found


def _paths(rows, column):
  """For each row, whether there is no picture, and its path or None.

  The bytes of pictures stay on the disk.
  """
  for chunk in rows.data.column(column).chunks:
    content, path = chunk.flatten()
    is_empty = content.is_null().to_numpy(zero_copy_only=False)
    paths = path.to_pylist()
    yield from ((e and not p, p) for e, p in zip(is_empty.tolist(), paths))


def _read(name, rows, column, index):
  """The bytes of a picture, called by several threads."""
  cell = rows[index][column]
  if cell['bytes'] is not None:
    return cell['bytes']
  try:
    return pathlib.Path(cell['path']).read_bytes()
  except OSError as e:
    raise UserError(
      f'{name}: {cell["path"]} cannot be read ({files.failed(e)}): save the '
      'data set with its pictures in it, or remove the row'
    ) from e


def _source(lists, chosen, paired, one_row):
  """The `Source` of {part: {domain: [Picture or None], or None}}."""
  if paired == 'yes' and not one_row:
    raise UserError(
      'data.paired=yes: pictures of A and B are pairs where they are columns '
      'of the same rows: give data.columns=A,B of one split, or leave '
      'data.paired at auto'
    )
  note = pairs.DENIED if paired == 'no' else ''
  if paired == 'auto':
    note = (
      'rows are taken for pairs only with --config.data.paired=yes'
      if one_row
      else 'A and B are no columns of the same rows (data.columns)'
    )
  full = {
    part: {d: x and [p for p in x if p] for d, x in of_domains.items()}
    for part, of_domains in lists.items()
  }
  train, test = full['train'], full['test']
  missing = {d: f'test split of {d.upper()}' for d, x in test.items() if not x}
  train_pairs = None
  if paired == 'yes':
    train_pairs = _rows_of_both(lists['train'])
    test = train_pairs if missing else _rows_of_both(lists['test'])
  return Source(
    train=train,
    test={d: train[d] if x is None else x for d, x in test.items()},
    paired=paired == 'yes' and not missing,
    train_pairs=train_pairs,
    stands_in=missing,
    notes=(*_empty_notes(lists, chosen), *_stand_in_notes(missing)),
    pairs_note=note,
  )


def _rows_of_both(lists):
  rows = [row for row in zip(lists['a'], lists['b']) if all(row)]
  if not rows:
    raise UserError(
      'data.paired=yes: no row has pictures of both A and B (data.columns)'
    )
  return dict(zip('ab', map(list, zip(*rows))))


def _empty_notes(lists, chosen):
  """A line on each list with rows that are left out."""
  for part, of_domains in lists.items():
    for d, found in of_domains.items():
      if found and (count := found.count(None)):
        yield (
          f'{count} of {len(found)} rows of split {chosen[part][d]} have no '
          f'picture of {d.upper()} and are left out'
        )


def _stand_in_notes(missing):
  if missing:
    domains = ' and '.join(domain.upper() for domain in missing)
    yield (
      f'no test split: training pictures of {domains} are shown in place of '
      'test pictures'
    )
