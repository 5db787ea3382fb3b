"""Sources of pictures from datasets of Hugging Face's library `datasets`."""

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
  """Returns the pictures of one or two Hugging Face datasets as a `Source`.

  Each picture is read only when it is needed. Rows without a picture are
  skipped, with a note.

  Args:
    root: the folder that `name` is relative to. For a name on the Hugging Face
      Hub, the cache folder of downloads. Empty for the working directory and
      the default cache of `datasets`.
    name: 'OWNER/NAME' or 'OWNER/NAME:SUBSET' on the Hub, a folder made by
      `save_to_disk`, or a folder or glob pattern of parquet files. Two of them,
      separated by a semicolon, are the datasets of A and B.
    paired: 'yes' makes the pictures of each row a true pair, and requires that
      A and B are two columns of the same rows. With 'auto' and 'no' the source
      has no true pairs.
    columns: names of the columns of pictures: 'COLUMN' for both domains, or
      'A,B'. Empty to use the columns of type `datasets.Image`.
    splits: names of the splits: 'TRAIN', 'TRAIN,TEST' or
      'TRAIN_A,TRAIN_B,TEST_A,TEST_B'. Empty to use trainA, trainB, testA and
      testB, or train and one of test, validation and val, or the only split.

  Raises:
    UserError: the package `datasets` is not installed; the dataset, a split or
      a column does not exist; A and B would be the same pictures; a column has
      no pictures; or `paired` is 'yes', but there are no pairs.
  """
  choose(pairs.PAIRED, paired, 'data.paired')
  names = [x.strip() for x in name.split(';')]
  if len(names) > 2 or not (root or all(names)):
    raise UserError(
      f'data.name={name!r}: give a Hugging Face dataset such as '
      'huggan/horse2zebra, the folder of a dataset, or two of them with a '
      'semicolon between them'
    )
  sets = dict(zip('ab', [hf_sets.opened(root, x) for x in names] * 2))
  chosen = hf_sets.choose_splits(sets, splits)
  one_row = len(names) == 1 and len(set(chosen['train'].values())) == 1
  found = hf_sets.choose_columns(sets, chosen, columns, one_row)
  if one_row and found['a'] == found['b']:
    raise UserError(
      f'{sets["a"].name}: A and B would both be column {found["a"]} of split '
      f'{chosen["train"]["a"]}: give two columns (data.columns) or two splits '
      '(data.splits)'
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
  """Returns one `Picture` per row of a column; None for a row without one."""
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
  """Yields (True if the row has no picture, path or None) per row.

  The bytes of the pictures are not loaded.
  """
  for chunk in rows.data.column(column).chunks:
    content, path = chunk.flatten()
    is_empty = content.is_null().to_numpy(zero_copy_only=False)
    paths = path.to_pylist()
    yield from ((e and not p, p) for e, p in zip(is_empty.tolist(), paths))


def _read(name, rows, column, index):
  """Returns the encoded bytes of a row's picture; called by several threads."""
  cell = rows[index][column]
  if cell['bytes'] is not None:
    return cell['bytes']
  try:
    return pathlib.Path(cell['path']).read_bytes()
  except OSError as e:
    raise UserError(
      f'{name}: {cell["path"]} cannot be read ({files.failed(e)}): save the '
      'dataset with its pictures embedded, or remove the row'
    ) from e


def _source(lists, chosen, paired, one_row):
  """Returns the `Source` of the lists of pictures.

  Args:
    lists: {'train' or 'test': {domain: one `Picture` or None per row}}; None in
      place of the list of a missing test split.
    chosen: the split names, as `hf_sets.choose_splits` returns them.
    paired: 'auto', 'yes' or 'no'.
    one_row: True if A and B are columns of the same rows.
  """
  if paired == 'yes' and not one_row:
    raise UserError(
      'data.paired=yes: true pairs need A and B to be two columns of the same '
      'rows: give data.columns=A,B of one split, or leave data.paired at auto'
    )
  note = pairs.DENIED if paired == 'no' else ''
  if paired == 'auto':
    note = (
      'the pictures of a row are true pairs only with --config.data.paired=yes'
      if one_row
      else 'A and B are not columns of the same rows (data.columns)'
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
  """Returns {domain: [Picture]} of the rows with pictures of A and of B."""
  rows = [row for row in zip(lists['a'], lists['b']) if all(row)]
  if not rows:
    raise UserError(
      'data.paired=yes: no row has pictures of both A and B (data.columns)'
    )
  return dict(zip('ab', map(list, zip(*rows))))


def _empty_notes(lists, chosen):
  """Yields a line on each list with rows that have no picture."""
  for part, of_domains in lists.items():
    for d, found in of_domains.items():
      if found and (count := found.count(None)):
        yield (
          f'{count} of {len(found)} rows of split {chosen[part][d]} have no '
          f'picture of {d.upper()} and are skipped'
        )


def _stand_in_notes(missing):
  """Yields a line if training pictures stand in for test pictures."""
  if missing:
    domains = ' and '.join(domain.upper() for domain in missing)
    yield (
      f'no test split: training pictures of {domains} are shown in place of '
      'test pictures'
    )
