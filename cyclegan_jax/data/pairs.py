"""True pairs by the names of pictures, as `data.paired` has it."""

import collections
from collections.abc import Mapping

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data.picture import Picture

PAIRED = ('auto', 'yes', 'no')  # the values of data.paired
DENIED = 'data.paired=no says that the data has no pairs'
_BOTH = {'a': 'b', 'b': 'a'}

Domains = Mapping[str, list[Picture]]


def by_name(pictures: Domains, folders: Mapping[str, object]):
  """Finds the pairs of pictures whose names agree one by one.

  Names agree if they are equal without their endings, and without A's `_A` and
  B's `_B`.

  Args:
    pictures: {'a', 'b'}: [Picture], files.
    folders: {'a', 'b'}: where they are, for the user.

  Returns:
    The pictures as {'a', 'b'}, a pair at each place, or None if there is a
    picture without a counterpart; and a text that names the first such picture.
  """
  keys = {
    d: [p.data.stem.removesuffix(f'_{d.upper()}') for p in pictures[d]]
    for d in ('a', 'b')
  }
  if keys['a'] == keys['b']:
    return dict(pictures), ''
  for domain, other in _BOTH.items():
    left = collections.Counter(keys[other])
    for picture, key in zip(pictures[domain], keys[domain]):
      left[key] -= 1
      if left[key] < 0:
        return None, (
          f'{picture.name} has no counterpart of its name in {folders[other]}'
        )
  order = {
    d: sorted(range(len(keys[d])), key=keys[d].__getitem__) for d in keys
  }
  return {d: [pictures[d][i] for i in order[d]] for d in order}, ''


def check(missing: Mapping[str, object], tests: str, training: str) -> None:
  """Holds data.paired=yes against what there is.

  Args:
    missing: {domain: folder} of the test pictures that are not there.
    tests: why the test pictures are no pairs, or ''.
    training: the same of the training pictures, all there are where both
      folders of test pictures are missing.

  Raises:
    UserError: they are no pairs.
  """
  reason = training if len(missing) == 2 else tests
  if len(missing) == 1:
    (folder,) = missing.values()
    reason = f'there is no folder {folder} with the counterparts'
  if reason:
    raise UserError(
      f'data.paired=yes, but {reason}: names agree as 1.jpg and 1.jpg, or '
      '1_A.jpg and 1_B.jpg; correct that or leave data.paired at auto'
    )


def agree(folders: str, what: str) -> str:
  """The line that says what is taken for pairs, and how not to."""
  return (
    f'names in {folders} agree: the pictures are taken for true pairs {what} '
    '(if they are none: --config.data.paired=no)'
  )
