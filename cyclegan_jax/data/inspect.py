"""Inspection of a dataset for check_data: facts, text and contact sheets."""

import collections
import concurrent.futures
import hashlib
import itertools
import os
from typing import NamedTuple

import numpy as np

from cyclegan_jax.common import images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import folders, headers, partly, spread, value_report
from cyclegan_jax.data.decode import SPAN, decoded, load, resized
from cyclegan_jax.data.picture import Picture, check_resized
from cyclegan_jax.data.raw import OUTSIDE
from cyclegan_jax.data.values import Values

_AHEAD = 256  # pictures handed to the threads at a time
_SHOWN = 20  # entries printed per list; report.json has all of them
_BAR = 40  # characters in the longest bar of a histogram


class Seen(NamedTuple):
  """Facts about one inspected picture.

  If the picture cannot be used, only `split`, `picture`, `problem` and, where
  the values can be read, `values` are set.

  Attributes:
    split: 'trainA', 'trainB', 'testA', 'testB' or 'testLabels'.
    picture: the `Picture`.
    problem: why the picture cannot be used, the text of a `UserError`; None if
      the picture can be used.
    size: (width, height) in pixels, of the half for a side-by-side pair.
    prepared: (width, height) in pixels after the resizing of
      `Preprocess.train_size` for a training picture, `Preprocess.test_size` for
      a test picture, none for a label map.
    header: the `headers.Header` of the file.
    span: share, in [0, 1], of the range of its 16-bit type that the picture
      uses; None for pictures of 8 bits.
    digest: hash of the decoded pixels, equal for pictures with equal pixels.
    outside: share, in [0, 1], of the values that are outside the range of the
      domain.
    values: the `spread.Spread` of the values; None for a label map and for a
      file that cannot be read.
  """

  split: str
  picture: Picture
  problem: str | None
  size: tuple | None = None
  prepared: tuple | None = None
  header: headers.Header | None = None
  span: float | None = None
  digest: bytes = b''
  outside: float = 0.0
  values: spread.Spread | None = None


def scan(dataset):
  """Decodes every picture of a dataset, in several threads.

  Args:
    dataset: a `Dataset`.

  Returns:
    {split: [Seen]}, in the order of the pictures. A domain without test
    pictures has no test split. 'testLabels' is there if the dataset has label
    maps of the test pictures of A.
  """
  source = dataset.source
  tests = {d: x for d, x in source.test.items() if d not in source.stands_in}
  parts = {'train': source.train, 'test': tests}
  splits = {
    f'{part}{domain.upper()}': (pictures, domain)
    for part, domains in parts.items()
    for domain, pictures in domains.items()
  }
  if source.labels and 'a' in tests:
    splits['testLabels'] = (source.labels.pictures, None)
  threads = min(8, os.cpu_count() or 1)  # a large picture takes a gigabyte
  count = spread.share_of(sum(len(x) for x, _ in splits.values()))
  with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    return {
      split: list(_look_at_all(pool, dataset, split, *rest, count))
      for split, rest in splits.items()
    }


def _look_at_all(pool, dataset, split, pictures, domain, count):
  """Yields the `Seen` of each picture of a split, in order."""
  pictures = iter(pictures)
  while some := list(itertools.islice(pictures, _AHEAD)):
    yield from pool.map(
      lambda p: _look_at(dataset, split, domain, p, count), some
    )


def _look_at(dataset, split, domain, picture, count):
  """Returns the `Seen` of one picture; `domain` is None for a label map."""
  prepare = dataset.preprocess
  values = dataset.values_of(domain) if domain else Values(1)
  try:
    header = headers.read(picture, values)
    image = decoded(picture, values)
    size = prepared = image.size
    if split.startswith('train'):
      prepared = prepare.train_size(*size)
      for other in dataset.preprocesses:
        other.check_crop(picture.name, *other.train_size(*size))
        check_resized(picture, *other.train_size(*size))
    elif domain:
      prepared = prepare.test_size(*size)
    check_resized(picture, *prepared)
    pixels = resized(picture, image, values, size)
  except UserError as e:
    there = domain and value_report.of_file(picture, values, count)
    return Seen(split, picture, str(e), values=there or None)
  digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
  digest.update(np.ascontiguousarray(pixels))
  return Seen(
    split,
    picture,
    None,
    size,
    prepared,
    header,
    image.info.get(SPAN),
    digest.digest(),
    image.info.get(OUTSIDE, 0.0),
    value_report.of_decoded(image, count) if domain else None,
  )


def report(dataset, seen):
  """Summarises the result of `scan` as plain values, ready for JSON.

  Args:
    dataset: the inspected `Dataset`.
    seen: {split: [Seen]}, the result of `scan`.

  Returns:
    A dict in which pictures are given by their names. Its keys are as follows.
    'splits': {split: {'pictures': count, 'usable': count, 'sizes': {'WxH':
    count}}}, the most frequent size first;
    'unusable': [{'split', 'picture', 'problem'}];
    'duplicates': one list [{'split', 'picture'}] per group of pictures with
    equal pixels;
    'converted': {'split: conversion': [picture]}, gray files that are used as
    RGB or colour files that are used as gray;
    'mixed_sizes': {split: number of sizes}, of training splits whose resized
    pictures differ in size, if the preprocessing mode does not crop;
    'partly_used': {'split: reason': ['picture: detail']};
    'ignored': {reason: [path]}, of files in the folders that are not read;
    'values': {'a': facts, 'b': facts}, from `value_report.facts`.
  """
  usable = {s: [x for x in found if not x.problem] for s, found in seen.items()}
  mixed = {}
  if not dataset.preprocess.crops:
    for split in ('trainA', 'trainB'):
      sizes = len({x.prepared for x in usable[split]})
      if sizes > 1:
        mixed[split] = sizes
  return {
    'splits': {
      split: {
        'pictures': len(seen[split]),
        'usable': len(found),
        'sizes': _sizes(found),
      }
      for split, found in usable.items()
    },
    'unusable': [
      {'split': x.split, 'picture': x.picture.name, 'problem': x.problem}
      for found in seen.values()
      for x in found
      if x.problem
    ],
    'duplicates': _duplicates(usable),
    'converted': _converted(dataset.channels, usable),
    'mixed_sizes': mixed,
    'partly_used': _partly_used(usable),
    'ignored': folders.by_reason(dataset.source.left_out),
    'values': {d: _values(dataset, seen, d) for d in ('a', 'b')},
  }


def _values(dataset, seen, domain):
  """Returns `value_report.facts` of the pictures of a domain, 'a' or 'b'."""
  found = [x for x in _pictures(seen) if x.split[-1].lower() == domain]
  spreads = [x.values for x in found if x.values]
  outside = np.mean([x.outside for x in found if not x.problem] or [0.0])
  return value_report.facts(spreads, float(outside), dataset.values_of(domain))


def _sizes(found):
  """Returns {'WxH': number of pictures}, the most frequent size first."""
  sizes = collections.Counter(x.size for x in found)
  return {f'{w}x{h}': count for (w, h), count in sizes.most_common()}


def _pictures(usable):
  """Returns the `Seen` of all splits in one list, without label maps."""
  return [x for split in usable if split != 'testLabels' for x in usable[split]]


def _duplicates(usable):
  """Returns the groups of two or more pictures with equal pixels."""
  groups = collections.defaultdict(list)
  for x in _pictures(usable):
    groups[x.digest].append({'split': x.split, 'picture': x.picture.name})
  return [group for group in groups.values() if len(group) > 1]


def _converted(channels, usable):
  """Returns {'split: conversion': [picture]} of files converted to gray or RGB.

  Args:
    channels: {'a', 'b'}: number of channels of the domain.
    usable: {split: [Seen]} of the pictures that can be used.
  """
  names = collections.defaultdict(list)
  for x in _pictures(usable):
    gray = channels[x.split[-1].lower()] == 1
    if x.header.gray != gray:
      what = 'colour files, used as gray' if gray else 'gray files, used as RGB'
      names[f'{x.split}: {what}'].append(x.picture.name)
  return dict(names)


def _partly_used(usable):
  """Returns {'split: reason': ['picture: detail']} of partly used pictures.

  The reasons are the kinds of `partly.Tally`: unused pages, bands or bits, and
  clipped values.
  """
  found = {}
  for x in _pictures(usable):
    tally = partly.Tally()
    tally.add(x.picture.name, x.header)
    tally.add_span(x.picture.name, x.span)
    tally.add_outside(x.picture.name, x.outside)
    for kind, (name,) in tally.found():
      found.setdefault(f'{x.split}: {kind}', []).append(name)
  return found


def contact_sheet(found, values, show=None, count=64, columns=8, side=128):
  """Draws a contact sheet: a grid of small pictures of one domain.

  Args:
    found: [Seen] of one split. Pictures that cannot be used are left out.
    values: `Values` (channels and value range) of the domain of the pictures.
    show: one or three numbers of the channels to show, counted from 1; None for
      the choice of `images.shown`: gray, or the first three.
    count: maximum number of pictures, taken at even distances from `found`.
    columns: number of columns of the grid.
    side: longer side of a small picture, in pixels. Smaller pictures are not
      enlarged.

  Returns:
    The contact sheet, uint8 [height, width, 3]; None if no picture can be used.

  Raises:
    UserError: a picture can no longer be read.
  """
  pictures = [x.picture for x in found if not x.problem]
  if not pictures:
    return None
  places = np.linspace(0, len(pictures) - 1, min(count, len(pictures)))

  def small(width, height):
    """Returns the (width, height) of the small picture."""
    scale = min(1, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))

  shown = [
    images.shown(images.from_pixels(load(pictures[i], values, small)), show)
    for i in places.round().astype(int)
  ]
  return images.grid(
    [shown[i : i + columns] for i in range(0, len(shown), columns)]
  )


def text(facts):
  """Returns the text that check_data prints for the facts of `report`.

  Args:
    facts: the dict that `report` returns.

  Returns:
    Several lines in one string. Each list is cut off after 20 entries.
  """
  lines = [f'{"split":<12}{"pictures":>9}{"usable":>9}  sizes']
  for split, x in facts['splits'].items():
    sizes = list(x['sizes'])
    range_ = f'all {sizes[0]}' if sizes else 'none'
    if len(sizes) > 1:
      range_ = f'{len(sizes)} sizes, most often {sizes[0]}'
    lines.append(f'{split:<12}{x["pictures"]:>9}{x["usable"]:>9}  {range_}')
  for split, x in facts['splits'].items():
    if len(x['sizes']) > 1:
      lines += ['', f'short sides of {split}, in pixels:']
      lines += _histogram(x['sizes'])
  lines += _listed(
    'cannot be used',
    [f'{x["split"]}: {x["problem"]}' for x in facts['unusable']],
  )
  groups = facts['duplicates']
  across = sum(len({x['split'][:4] for x in group}) > 1 for group in groups)
  lines += _listed(
    f'groups of equal pictures, {across} of them in both train and test',
    [' = '.join(f'{x["split"]}: {x["picture"]}' for x in g) for g in groups],
  )
  for what, names in facts['converted'].items():
    lines += _listed(f'of {what}', names)
  for what, names in facts['partly_used'].items():
    lines += _listed(f'of {what}', names)
  for domain, known in facts['values'].items():
    lines += value_report.lines(domain, known)
  return '\n'.join(lines)


def _histogram(sizes):
  """Yields one line per power of two, with a bar for the number of pictures.

  Args:
    sizes: {'WxH': number of pictures}; the shorter side of each size counts.
  """
  counts = collections.Counter()
  for size, count in sizes.items():
    counts[min(map(int, size.split('x'))).bit_length()] += count
  most = max(counts.values())
  for bits in range(min(counts), max(counts) + 1):
    bar = '#' * -(-counts[bits] * _BAR // most)
    span = f'{2 ** (bits - 1)}-{2**bits - 1}'
    yield f'  {span:>12} {counts[bits]:>8} {bar}'.rstrip()


def _listed(what, items):
  """Returns the lines of a list with the heading `N what:`; [] if it is empty.

  After 20 items the list is cut off with a hint to report.json.
  """
  if not items:
    return []
  lines = ['', f'{len(items)} {what}:', *(f'  {x}' for x in items[:_SHOWN])]
  if len(items) > _SHOWN:
    lines.append(f'  and {len(items) - _SHOWN} more, see report.json')
  return lines
