"""Skipping of unusable pictures, for data.on_bad_image=skip."""

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
  """Prints a warning on standard error, once per process.

  Args:
    line: text of the warning, without 'warning: '.
    key: identifies the kind of warning; of all lines with the same key only the
      first is printed. None uses the line itself as the key.
  """
  with _warning:
    if (key or line) not in _warned:
      _warned.add(key or line)
      print(f'warning: {line}', file=sys.stderr, flush=True)


def stand_in(read, pictures, index, bad):
  """Returns the first usable picture at or after an index, and its index.

  The search continues at the start of the list when the end is reached. Which
  picture replaces an unusable picture therefore depends on the index only. A
  warning is printed for each unusable picture.

  Args:
    read: index -> image; raises `UserError` if the picture cannot be used.
    pictures: a list of `Picture`, for the messages.
    index: index of the first picture to try.
    bad: set of the indices known to be unusable, which are not read again;
      indices that fail are added to the set.

  Returns:
    (index, image) of the picture found; the image is what `read` returned.

  Raises:
    UserError: no picture in the list can be used.
  """
  for i in itertools.chain(range(index, len(pictures)), range(index)):
    if i not in bad:
      try:
        return i, read(i)
      except UserError as e:
        bad.add(i)
        warn_once(f'{e} (skipped because of data.on_bad_image=skip)')
  raise UserError(
    f'{pictures[0].name}: neither this picture nor any other of the '
    f'{len(pictures)} pictures of its domain can be used: run '
    'cyclegan_jax.check_data'
  )


def good_pairs(source, read):
  """Returns a paired `Source` without its unusable test pairs.

  A pair is unusable if one of its two pictures, or its label map, cannot be
  read. The label maps of removed pairs are removed, too, and a warning is
  printed for each removed pair.

  Args:
    source: a `Source` whose `paired` is True.
    read: (domain, index) -> test image; raises `UserError` if the picture
      cannot be used.

  Raises:
    UserError: no test pair is left.
  """

  def good(index):
    try:
      for domain in source.test:
        read(domain, index)
      if source.labels:
        load(source.labels.pictures[index], 1)
    except UserError as e:
      warn_once(f'{e} (data.on_bad_image=skip: its test pair is skipped)')
      return False
    return True

  count = len(source.test['a'])
  with concurrent.futures.ThreadPoolExecutor() as pool:
    kept = [i for i, fine in enumerate(pool.map(good, range(count))) if fine]
  if not kept:
    raise UserError(
      f'{source.test["a"][0].name}: neither this test pair nor any other can '
      'be used: run cyclegan_jax.check_data'
    )

  def keep(pictures):
    return [pictures[i] for i in kept]

  labels = source.labels
  return source._replace(
    test={domain: keep(source.test[domain]) for domain in source.test},
    labels=labels and labels._replace(pictures=keep(labels.pictures)),
  )
