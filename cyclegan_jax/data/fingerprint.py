"""Fingerprint of a dataset from the names, sizes and contents of its files.

Only part of the bytes of a large dataset is read. A copy of a dataset has the
same fingerprint: modification times and the parent folder are ignored.
"""

import concurrent.futures
import hashlib
import itertools
import json
import os
import zlib
from collections.abc import Collection, Sequence

import numpy as np

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.source import Source

# Increase when the entries of unchanged pictures change.
VERSION = 1
# Most files of a list whose bytes are read, spread evenly over the list.
_SAMPLED = 4096
_SAMPLED_REMOTE = 64  # in a bucket, where each file costs a request
_BYTES = 2**27  # most bytes read per list
_PARTS = 3  # parts read of a file that is larger than its share of _BYTES
_THREADS = 16

# Name within the dataset, size in bytes, CRC-32; None for values not read.
Entry = list  # [str, int | None, int | None]


def listing(source: Source) -> dict[str, list[Entry]]:
  """Returns the entries of all pictures and label maps of a `Source`.

  Args:
    source: the `Source`. Training pictures that stand in for missing test
      pictures are not listed a second time.

  Returns:
    A dict from list name to entries [[name, bytes, CRC-32], ...], with the keys
    'trainA', 'trainB', 'testA', 'testB' and 'testLabels'. Lists that the source
    lacks are missing.
  """
  lists = {f'train{d.upper()}': x for d, x in source.train.items()}
  for domain, pictures in source.test.items():
    if domain not in source.stands_in:
      lists[f'test{domain.upper()}'] = pictures
  if source.labels and 'a' not in source.stands_in:
    lists['testLabels'] = source.labels.pictures
  found: list[tuple[list, list[Entry]]] = []
  for pictures in lists.values():
    data = [picture.data for picture in pictures]
    # Both halves of side-by-side pairs are in the same files: read them once.
    same = [entries for known, entries in found if known == data]
    found.append((data, same[0] if same else entries_of(pictures, source.root)))
  return dict(zip(lists, (entries for _, entries in found)))


def digest(entries: Sequence[Entry]) -> str:
  """Returns a hash of a list of entries, 32 hexadecimal digits.

  Args:
    entries: [[name, bytes, CRC-32], ...], as `listing` returns for each list.
  """
  text = json.dumps(entries, separators=(',', ':'))
  return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def difference(
  old: Sequence[Entry], new: Sequence[Entry], mended: Collection[str] = ()
) -> str:
  """Returns a text on the first difference between two lists of entries.

  Sizes and checksums are compared only if both lists have them.

  Args:
    old: the earlier entries [[name, bytes, CRC-32], ...].
    new: the present entries, in the same form.
    mended: names of files whose size and contents may differ.

  Returns:
    A text such as 'trainA/1.png is missing'; '' if there is no difference.
  """
  names = [[entry[0] for entry in entries] for entries in (old, new)]
  if names[0] != names[1]:
    return _other_name(*names)
  for (name, *before), (_, *now) in zip(old, new):
    for what, x, y in zip(('bytes', 'contents'), before, now):
      if None in (x, y) or x == y or name in mended:
        continue
      if what == 'bytes':
        return f'{name} had {x:,} bytes, now has {y:,}'
      return f'{name} has changed contents'
  return ''


def _other_name(old, new):
  """Returns a text on the first difference between two lists of names."""
  were, are = set(old), set(new)
  for i in range(max(len(old), len(new))):
    if i < len(old) and old[i] not in are:
      return f'{old[i]} is missing'
    if i < len(new) and new[i] not in were:
      return f'{new[i]} is new'
  return 'the same names are in another order'


def entries_of(
  pictures: Sequence[Picture], root: files.Path | None
) -> list[Entry]:
  """Returns the entry [name, bytes, CRC-32] of each picture.

  Size and checksum are None for a file in a bucket that is not read; the
  checksum alone is None for a local file that is not read.

  Args:
    pictures: a list of `Picture`.
    root: the dataset's folder, which names are relative to; None to use the
      `Picture.name`.
  """
  # The slices of a volume are in one file, which is read once.
  cuts = itertools.groupby(pictures, lambda picture: picture.data)
  groups = [list(group) for _, group in cuts]
  remote = any(
    not isinstance(p.data, bytes) and files.remote(p.data) for p in pictures[:1]
  )
  count = min(len(groups), _SAMPLED_REMOTE if remote else _SAMPLED)
  places = np.linspace(0, len(groups) - 1, count).round().astype(int).tolist()
  # Depends on _SAMPLED only, so that a copy in a bucket has the same checksums.
  share = _BYTES // max(min(len(groups), _SAMPLED), 1)
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    sums = dict(
      zip(places, pool.map(lambda i: _sum(groups[i][0].data, share), places))
    )
  return [
    [name_of(picture, root), *(sums.get(i) or (_size(picture.data), None))]
    for i, group in enumerate(groups)
    for picture in group
  ]


def name_of(picture: Picture, root: files.Path | None) -> str:
  """Returns a picture's path relative to the dataset's folder.

  A slice of a volume has its number appended, as in 'brain.nii[2,17]'.

  Args:
    picture: the `Picture`.
    root: the dataset's folder. If it is None, or the picture has no path, the
      result is `Picture.name`.
  """
  if root is None or not isinstance(picture.data, os.PathLike):
    return picture.name
  path = os.fspath(picture.data).removeprefix(f'{root}/')
  return path + picture.cut.text


def _size(data):
  """Returns the bytes of a local file or `bytes`; None for other data."""
  if isinstance(data, bytes):
    return len(data)
  if files.remote(data):
    return None
  try:
    return os.stat(data).st_size
  except OSError:  # reading the picture raises the error
    return None


def _sum(data, share):
  """Returns (size, CRC-32) of a file, (None, None) if it cannot be read.

  The CRC-32 of a file of more than `share` bytes covers only some parts.
  """
  try:
    if not isinstance(data, bytes) and not files.remote(data):
      return _sum_of_file(data, share)
    content = data if isinstance(data, bytes) else data.read_bytes()
  except (OSError, UserError):
    return None, None
  parts = _parts(len(content), share)
  return len(content), _crc(content[a:b] for a, b in parts)


def _sum_of_file(path, share):
  with open(path, 'rb', buffering=0) as file:
    size = os.fstat(file.fileno()).st_size
    parts = [os.pread(file.fileno(), b - a, a) for a, b in _parts(size, share)]
  return size, _crc(parts)


def _parts(size, share):
  """Returns [(first, end)] of the bytes to read, at most `share` in all.

  Of a file with more bytes, parts at the start, in the middle and at the end
  are read.
  """
  if size <= share:
    return [(0, size)]
  length = share // _PARTS
  starts = np.linspace(0, size - length, _PARTS).astype(int).tolist()
  return [(start, start + length) for start in starts]


def _crc(parts):
  value = 0
  for part in parts:
    value = zlib.crc32(part, value)
  return value
