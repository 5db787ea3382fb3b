"""Checks that pictures fit the options of training, by reading headers only."""

import collections
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import headers, partly
from cyclegan_jax.data.bad_pictures import warn_once
from cyclegan_jax.data.picture import Picture, check_resized
from cyclegan_jax.data.preprocess import Preprocess, text
from cyclegan_jax.data.source import Source
from cyclegan_jax.data.values import Values

_SHOWN = 5  # most pictures named in a message
_SKIP = '--config.data.on_bad_image=skip'

Size = tuple[int, int]


class _Seen(NamedTuple):
  """A picture with its header, or with the problem why it cannot be used."""

  picture: Picture
  header: headers.Header | None
  problem: str = ''


def check(
  source: Source,
  skips: bool = False,
  prepares: Sequence[Preprocess] = (),
  paired: bool = False,
  values: Mapping[str, Values] = MappingProxyType({}),
) -> dict[str, Size]:
  """Checks every picture and label map of a `Source` by its header.

  Unusable files thus stop a run before its first step. A warning is printed for
  pictures of which only a part is used, such as the first of several pages.

  Args:
    source: the `Source` to check.
    skips: True if the run skips unusable pictures.
    prepares: each `Preprocess` of training, all of the same mode; empty to
      check no sizes after scaling.
    paired: True if `source.train` contains true pairs, whose two pictures need
      the same size.
    values: {domain: `Values`}: the channels and value range of each domain.

  Returns:
    The most frequent size of the scaled training pictures of each domain, as
    {domain: (width, height)}, for modes that do not crop. An empty dict for
    modes that crop, and without `prepares`.

  Raises:
    UserError: some pictures cannot be used; the message names them. With
      `skips`, only if no picture of a split can be used.
  """
  look = _Looks()
  resizes = [prepare.train_size for prepare in prepares]
  train = {
    d: look.all(x, resizes, values.get(d)) for d, x in source.train.items()
  }
  tests = {d: x for d, x in source.test.items() if x is not source.train.get(d)}
  resizes = [prepare.test_size for prepare in prepares[:1]]
  others = [look.all(x, resizes, values.get(d)) for d, x in tests.items()]
  if source.labels:
    others.append(look.all(source.labels.pictures))
  look.warn()
  splits = [*train.values(), *others]
  # A picture that is large enough for a crop at the smallest scale is large
  # enough at every scale.
  prepare = min(prepares, key=lambda x: x.load_size, default=None)
  if skips:
    for seen in splits:
      _check_any(seen, prepare if seen in train.values() else None)
    return _sizes(train, prepare)
  problems = list(_unusable(splits))
  if prepare:
    problems += [*_below_crop(train, prepare), *_mixed(train, prepare)]
  if paired:
    problems += _unequal(train)
  if problems:
    raise UserError('; '.join(problems))
  return _sizes(train, prepare)


class _Looks:
  """Reads headers, and counts the pictures of which only a part is used.

  Call `all` for each list of pictures, then `warn`.
  """

  def __init__(self):
    self._tally = partly.Tally()
    self._count = 0
    self._of_pairs = {}

  def all(self, pictures, resizes=(), values=None):
    """Returns the `_Seen` of each picture.

    Args:
      pictures: a list of `Picture`.
      resizes: functions (width, height) -> (width, height); a picture is
        unusable if one of the resulting sizes is too large.
      values: `Values` (channels and value range) of the domain; None for label
        maps.
    """
    return [self._look(picture, resizes, values) for picture in pictures]

  def _look(self, picture, resizes, values):
    try:
      header = self._header(picture, values)
      for resize in resizes:
        check_resized(picture, *resize(*header.size))
      return _Seen(picture, header)
    except UserError as e:
      return _Seen(picture, None, str(e))

  def _header(self, picture, values):
    # Both halves of a side-by-side pair have the same header: read it once.
    if picture.half is not None and picture.data in self._of_pairs:
      return self._of_pairs[picture.data]
    header = headers.read(picture, values)
    self._tally.add(picture.name, header)
    self._count += 1
    if picture.half is not None:
      self._of_pairs[picture.data] = header
    return header

  def warn(self):
    """Prints one warning on all pictures of which only a part is used."""
    from cyclegan_jax.common import hosts

    line = self._tally.line(self._count)
    if line and hosts.writes():
      warn_once(f'{line}: {partly.SEE_ALL}')


def _check_any(seen, prepare):
  """Raises `UserError` if no picture of a split can be used."""
  problems = []
  for x in seen:
    problem = x.problem
    if not problem and prepare:
      try:
        prepare.check_crop(x.picture.name, *prepare.train_size(*x.header.size))
      except UserError as e:
        problem = str(e)
    if not problem:
      return
    problems.append(problem)
  if problems:
    raise UserError(
      f'none of {len(problems)} pictures can be used; the first problem: '
      f'{problems[0]}'
    )


def _usable(train):
  """Returns {domain: [_Seen]} of the pictures that have a header."""
  return {d: [x for x in seen if x.header] for d, seen in train.items()}


def _sizes(train, prepare):
  """Returns the sizes that `check` returns."""
  if not prepare or prepare.crops:
    return {}
  return {
    d: _most_frequent(seen, prepare) for d, seen in _usable(train).items()
  }


def _most_frequent(seen, prepare):
  sizes = collections.Counter(prepare.train_size(*x.header.size) for x in seen)
  return sizes.most_common(1)[0][0]


def _unusable(splits):
  """Returns [] or [text] on the pictures that their headers rule out."""
  bad = {x.picture.name: x for seen in splits for x in seen if x.problem}
  if len(bad) == 1:
    return [x.problem for x in bad.values()]
  if not bad:
    return []
  how = _or_without(splits, lambda x: not x.problem)
  listed = _listed([x.problem for x in bad.values()], '; ')
  return [f'{len(bad)} pictures cannot be used: {listed}{how}']


def _below_crop(train, prepare):
  """Returns [] or [text] on the pictures that are smaller than the crop."""

  def fits(x):
    return not x.problem and prepare.holds_crop(
      *prepare.train_size(*x.header.size)
    )

  usable = _usable(train)
  small = [x for seen in usable.values() for x in seen if not fits(x)]
  if not small:
    return []
  verb = 'is' if len(small) == 1 else 'are'
  listed = _listed([_with_size(x, prepare) for x in small])
  return [
    f'{len(small)} of {_count(train)} training pictures {verb} smaller than '
    f'data.crop_size={prepare.crop_size}: {listed}: use {prepare.advice()}'
    f'{_or_without(train.values(), fits)}'
  ]


def _mixed(train, prepare):
  """Yields a text per domain whose pictures differ in size after scaling."""
  if prepare.crops:
    return
  usable = _usable(train)
  sides = [min(x.header.size) for seen in usable.values() for x in seen]
  for domain, seen in usable.items():
    if not seen:
      continue
    common = _most_frequent(seen, prepare)
    other = [x for x in seen if prepare.train_size(*x.header.size) != common]
    if other:
      listed = _listed([_with_size(x, prepare) for x in other])
      verb = 'differs' if len(other) == 1 else 'differ'
      yield (
        f'{len(other)} of {len(seen)} training pictures of {domain.upper()} '
        f'{verb} from the size {text(common)} of the others, and '
        f'data.preprocess={prepare.mode} does not crop to one size: {listed}: '
        f'use {prepare.advice(min(sides))}, or train without them: {_SKIP}'
      )


def _unequal(train):
  """Returns [] or [text] on the pairs whose two pictures differ in size."""
  pairs = list(zip(train['a'], train['b']))
  readable = [(a, b) for a, b in pairs if a.header and b.header]
  bad = [(a, b) for a, b in readable if a.header.size != b.header.size]
  if not bad:
    return []
  listed = _listed([f'{_with_size(a)} and {_with_size(b)}' for a, b in bad])
  how = f', or train without them: {_SKIP}' if len(bad) < len(readable) else ''
  return [
    f'{len(bad)} of {len(pairs)} pairs have pictures of different sizes: '
    f'{listed}: resize or remove them{how}'
  ]


def _count(train):
  return sum(map(len, train.values()))


def _with_size(x, prepare=None):
  """Returns the name and size of a picture, and its size after scaling."""
  size = x.header.size
  scaled = prepare.train_size(*size) if prepare else size
  more = '' if scaled == size else f', scaled to {text(scaled)}'
  return f'{x.picture.name} ({text(size)}{more})'


def _or_without(splits, fits):
  """Returns advice to skip pictures, or '' if a split would become empty."""
  if all(any(map(fits, seen)) for seen in splits):
    return f', or train without them: {_SKIP}'
  return ''


def _listed(items, comma=', '):
  more = len(items) - _SHOWN
  return comma.join(items[:_SHOWN]) + (f' and {more} more' if more > 0 else '')
