"""Identity of a data set: names, sizes and contents, cheap for many files.

A copy of a data set has the same identity: times and the folder above it do not
count.
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

# Counted up when the same pictures would get other entries.
VERSION = 1
# Pictures of a list whose bytes are read, spread evenly; all have been opened
# for their headers before, and training reads them soon.
_SAMPLED = 4096
_SAMPLED_REMOTE = 64  # each takes a request, and so would a size
_BYTES = 2**27  # of a list
_PARTS = 3  # of a file that is larger than its share of these bytes
_THREADS = 16

# Name within the data set, bytes, CRC-32; None for what was not looked at.
Entry = list  # [str, int | None, int | None]


def listing(source: Source) -> dict[str, list[Entry]]:
  """Entries of the pictures and label maps that a run trains on or measures.

  Args:
    source: a `Source`; test pictures that are training pictures are left out.

  Returns:
    {'trainA', 'trainB', 'testA', 'testB', 'testLabels': entries}, without those
    that the source lacks.
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
    # The halves of pairs side by side are in the same files.
    same = [entries for known, entries in found if known == data]
    found.append((data, same[0] if same else entries_of(pictures, source.root)))
  return dict(zip(lists, (entries for _, entries in found)))


def digest(entries: Sequence[Entry]) -> str:
  """A text that differs for other entries."""
  text = json.dumps(entries, separators=(',', ':'))
  return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def difference(
  old: Sequence[Entry], new: Sequence[Entry], mended: Collection[str] = ()
) -> str:
  """The first difference between two lists of entries, or ''.

  Args:
    old: entries of before.
    new: entries of now.
    mended: names of files whose size and contents may differ.
  """
  names = [[entry[0] for entry in entries] for entries in (old, new)]
  if names[0] != names[1]:
    return _other_name(*names)
  for (name, *before), (_, *now) in zip(old, new):
    for what, x, y in zip(('bytes', 'contents'), before, now):
      if None in (x, y) or x == y or name in mended:
        continue
      if what == 'bytes':
        return f'{name} had {x:,} bytes, has {y:,}'
      return f'{name} has other contents'
  return ''


def _other_name(old, new):
  were, are = set(old), set(new)
  for i in range(max(len(old), len(new))):
    if i < len(old) and old[i] not in are:
      return f'{old[i]} is missing'
    if i < len(new) and new[i] not in were:
      return f'{new[i]} is new'
  return 'the same names in another order'


def entries_of(
  pictures: Sequence[Picture], root: files.Path | None
) -> list[Entry]:
  """Entries of a list of pictures.

  Args:
    pictures: a list of `Picture`.
    root: the folder that their names begin below, or None.
  """
  # The slices of a volume are in one file.
  cuts = itertools.groupby(pictures, lambda picture: picture.data)
  groups = [list(group) for _, group in cuts]
  remote = any(
    not isinstance(p.data, bytes) and files.remote(p.data) for p in pictures[:1]
  )
  count = min(len(groups), _SAMPLED_REMOTE if remote else _SAMPLED)
  places = np.linspace(0, len(groups) - 1, count).round().astype(int).tolist()
  # The same for a copy in a bucket, of which fewer are read.
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
  """The path below the data set's folder, or what the picture is called."""
  if root is None or not isinstance(picture.data, os.PathLike):
    return picture.name
  path = os.fspath(picture.data).removeprefix(f'{root}/')
  return path + picture.cut.text


def _size(data):
  if isinstance(data, bytes):
    return len(data)
  if files.remote(data):
    return None
  try:
    return os.stat(data).st_size
  except OSError:  # whoever reads the picture says so
    return None


def _sum(data, share):
  """The size and CRC-32 of a file, or of parts of a large one."""
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
  """[(first, end)] of the bytes to read: all, or some at both ends and amid."""
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
