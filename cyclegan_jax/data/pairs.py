"""True pairs, found by the names of the pictures (option data.paired)."""

import collections
from collections.abc import Mapping

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data.picture import Picture

PAIRED = ('auto', 'yes', 'no')  # the values of data.paired
DENIED = 'data.paired=no says that the data has no pairs'
_BOTH = {'a': 'b', 'b': 'a'}

Domains = Mapping[str, list[Picture]]


def by_name(pictures: Domains, folders: Mapping[str, object]):
  """Finds true pairs by the file names of pictures.

  Two pictures are a pair if their file names are equal without the ending and
  without a final `_A` (in domain A) or `_B` (in domain B). Folders do not
  count.

  Args:
    pictures: {'a', 'b'}: [Picture], whose `data` are paths.
    folders: {'a', 'b'}: the folder of the pictures, for messages.

  Returns:
    (pairs, reason). If each picture has a counterpart, `pairs` is {'a', 'b'}:
    [Picture], where pictures at the same position are a pair, and `reason` is
    ''. Else `pairs` is None, and `reason` is a text that names the first
    picture without a counterpart.
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
          f'{picture.name} has no counterpart of that name in {folders[other]}'
        )
  order = {
    d: sorted(range(len(keys[d])), key=keys[d].__getitem__) for d in keys
  }
  return {d: [pictures[d][i] for i in order[d]] for d in order}, ''


def check(missing: Mapping[str, object], tests: str, training: str) -> None:
  """Checks that the pictures of a dataset are pairs, for data.paired=yes.

  The test pictures have to be pairs. If both test folders are missing, the
  training pictures have to be pairs instead.

  Args:
    missing: {domain: folder} of the test folders that do not exist.
    tests: reason why the test pictures are not pairs; '' if they are.
    training: reason why the training pictures are not pairs; '' if they are.

  Raises:
    UserError: the pictures are not pairs, or exactly one test folder exists.
  """
  reason = training if len(missing) == 2 else tests
  if len(missing) == 1:
    (folder,) = missing.values()
    reason = f'there is no folder {folder} with the counterparts'
  if reason:
    raise UserError(
      f'data.paired=yes, but {reason}: names have to agree, as 1.jpg and 1.jpg '
      'or 1_A.jpg and 1_B.jpg do; rename the pictures or use data.paired=auto'
    )


def agree(folders: str, what: str) -> str:
  """Returns the line that tells the user which pictures are used as true pairs.

  Args:
    folders: names of the two folders, such as 'testA and testB'.
    what: purpose of the pairs, such as 'to be measured'.
  """
  return (
    f'names in {folders} agree: the pictures are used as true pairs {what} '
    '(if they are not pairs, set --config.data.paired=no)'
  )
