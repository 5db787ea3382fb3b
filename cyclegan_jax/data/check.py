"""Pictures held against what training needs of them, by their headers."""

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

_SHOWN = 5  # pictures that a message names
_SKIP = '--config.data.on_bad_image=skip'

Size = tuple[int, int]


class _Seen(NamedTuple):
  """A picture and its header, or the reason why there is none."""

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
  """Reads every header once, so wrong files stop a run before it starts.

  Pictures of which only a part is used are warned of.

  Args:
    source: a `Source`.
    skips: whether a run does without bad pictures.
    prepares: each `Preprocess` of training, all of one mode; none to look at no
      sizes.
    paired: whether `source.train` are pairs.
    values: {domain: `Values`}, what the domains take.

  Returns:
    Where a mode does not crop, {domain: the most frequent (width, height) of
    its prepared training pictures}: those that are used.

  Raises:
    UserError: names the pictures that cannot be used; with `skips` only where a
      split has no other.
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
  # A picture that holds a crop at the smallest size holds it at all.
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
  """Looks at headers, at each file once, and counts what is used in part."""

  def __init__(self):
    self._tally = partly.Tally()
    self._count = 0
    self._of_pairs = {}

  def all(self, pictures, resizes=(), values=None):
    """[_Seen] of some pictures, to be resized in each of some ways."""
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
    # The halves of a picture have one header.
    if picture.half is not None and picture.data in self._of_pairs:
      return self._of_pairs[picture.data]
    header = headers.read(picture, values)
    self._tally.add(picture.name, header)
    self._count += 1
    if picture.half is not None:
      self._of_pairs[picture.data] = header
    return header

  def warn(self):
    """Warns of pictures of which only a part is used."""
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
      f'none of {len(problems)} pictures can be used, the first is '
      f'{problems[0]}'
    )


def _usable(train):
  """{domain: [_Seen] with a header}."""
  return {d: [x for x in seen if x.header] for d, seen in train.items()}


def _sizes(train, prepare):
  """The result of `check`."""
  if not prepare or prepare.crops:
    return {}
  return {
    d: _most_frequent(seen, prepare) for d, seen in _usable(train).items()
  }


def _most_frequent(seen, prepare):
  sizes = collections.Counter(prepare.train_size(*x.header.size) for x in seen)
  return sizes.most_common(1)[0][0]


def _unusable(splits):
  """A text on pictures whose headers show that they cannot be used."""
  bad = {x.picture.name: x for seen in splits for x in seen if x.problem}
  if len(bad) == 1:
    return [x.problem for x in bad.values()]
  if not bad:
    return []
  how = _or_without(splits, lambda x: not x.problem)
  listed = _listed([x.problem for x in bad.values()], '; ')
  return [f'{len(bad)} pictures cannot be used: {listed}{how}']


def _below_crop(train, prepare):
  """A text on pictures that are smaller than the crop."""

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
  """A text for each domain whose pictures have several sizes after scaling."""
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
  """A text on pairs of two sizes."""
  pairs = list(zip(train['a'], train['b']))
  readable = [(a, b) for a, b in pairs if a.header and b.header]
  bad = [(a, b) for a, b in readable if a.header.size != b.header.size]
  if not bad:
    return []
  listed = _listed([f'{_with_size(a)} and {_with_size(b)}' for a, b in bad])
  how = f', or train without them: {_SKIP}' if len(bad) < len(readable) else ''
  return [
    f'{len(bad)} of {len(pairs)} pairs have two sizes, and a pair needs one: '
    f'{listed}: resize or remove them{how}'
  ]


def _count(train):
  return sum(map(len, train.values()))


def _with_size(x, prepare=None):
  """A picture's name and size, and the size that a mode scales it to."""
  size = x.header.size
  scaled = prepare.train_size(*size) if prepare else size
  more = '' if scaled == size else f', scaled to {text(scaled)}'
  return f'{x.picture.name} ({text(size)}{more})'


def _or_without(splits, fits):
  """The option that leaves pictures out, if some of every split are left."""
  if all(any(map(fits, seen)) for seen in splits):
    return f', or train without them: {_SKIP}'
  return ''


def _listed(items, comma=', '):
  more = len(items) - _SHOWN
  return comma.join(items[:_SHOWN]) + (f' and {more} more' if more > 0 else '')
