"""Going on without pictures that can't be used: data.on_bad_image=skip."""

import concurrent.futures
import itertools
import sys
import threading

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data.decode import load

ON_BAD_IMAGE = ('stop', 'skip')  # the values of data.on_bad_image

_warned = set()
_warning = threading.Lock()


def warn_once(line, key=None):
  """Prints a line on standard error, the first time it comes.

  Args:
    line: the line.
    key: lines of the same key count as the same; None: each is its own.
  """
  with _warning:
    if (key or line) not in _warned:
      _warned.add(key or line)
      print(f'warning: {line}', file=sys.stderr, flush=True)


def stand_in(read, pictures, index, bad):
  """The first picture from an index on, cyclically, that can be used.

  So what is taken for a bad picture follows from its index alone.

  Args:
    read: index -> image; raises `UserError`.
    pictures: a list of `Picture`.
    index: where to begin.
    bad: a set of indices not to read again; those met are added.

  Returns:
    (index, image) of it.

  Raises:
    UserError: there is none.
  """
  for i in itertools.chain(range(index, len(pictures)), range(index)):
    if i not in bad:
      try:
        return i, read(i)
      except UserError as e:
        bad.add(i)
        warn_once(f'{e} (data.on_bad_image=skip: goes on without it)')
  raise UserError(
    f'{pictures[0].name}: neither it nor another of the {len(pictures)} '
    'pictures of its domain can be used: run cyclegan_jax.check_data'
  )


def good_pairs(source, read):
  """A paired `Source` without the test pairs that can't be used, labels too.

  Args:
    source: a `Source`.
    read: (domain, index) -> test image; raises `UserError`.

  Raises:
    UserError: no pair is left.
  """

  def good(index):
    try:
      for domain in source.test:
        read(domain, index)
      if source.labels:
        load(source.labels.pictures[index], 1)
    except UserError as e:
      warn_once(f'{e} (data.on_bad_image=skip: its test pair is left out)')
      return False
    return True

  count = len(source.test['a'])
  with concurrent.futures.ThreadPoolExecutor() as pool:
    kept = [i for i, fine in enumerate(pool.map(good, range(count))) if fine]
  if not kept:
    raise UserError(
      f'{source.test["a"][0].name}: neither this test picture nor any other '
      'can be used with its pair: run cyclegan_jax.check_data'
    )

  def keep(pictures):
    return [pictures[i] for i in kept]

  labels = source.labels
  return source._replace(
    test={domain: keep(source.test[domain]) for domain in source.test},
    labels=labels and labels._replace(pictures=keep(labels.pictures)),
  )
