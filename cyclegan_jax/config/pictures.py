"""Pictures of a run, as recorded in run.json and pictures.json, compared."""

import pathlib
import zlib
from collections.abc import Iterator

from cyclegan_jax.data import fingerprint
from cyclegan_jax.data.fingerprint import Entry
from cyclegan_jax.data.source import Source

Listing = dict[str, list[Entry]]


def facts(source: Source, listing: Listing) -> dict:
  """Returns the entries of run.json that describe the pictures.

  Args:
    source: the `Source` of the pictures.
    listing: names, sizes and checksums of the pictures, the result of
      `fingerprint.listing(source)`.

  Returns:
    {'listing': version of the listing, 'pictures': {domain: {'count', 'names',
    'files'}} of the training pictures, 'tests': what test results depend on}.
    'names' and 'files' are checksums.
  """
  return {
    'listing': fingerprint.VERSION,
    'pictures': {
      domain: {
        'count': len(pictures),
        'names': _names(pictures),
        'files': fingerprint.digest(listing[f'train{domain.upper()}']),
      }
      for domain, pictures in source.train.items()
    },
    # Everything that test results depend on.
    'tests': {
      'pairs': source.paired,
      'colours': source.labels.colours if source.labels else None,
      **{
        name: {'count': len(entries), 'files': fingerprint.digest(entries)}
        for name, entries in listing.items()
        if name.startswith('test')
      },
    },
  }


def _names(pictures):
  """Returns a checksum of the names only, which earlier versions compare."""
  names = [pathlib.PurePath(picture.name).name for picture in pictures]
  return zlib.crc32('/'.join(names).encode(errors='surrogateescape'))


class Before:
  """Pictures of a run, as recorded in its run folder when it started.

  `other_training` and `other_tests` tell how the pictures of today differ.
  """

  def __init__(self, run: dict, listing: Listing) -> None:
    """Stores the records of a run; runs of earlier versions have fewer.

    Args:
      run: contents of run.json; {} for a new run.
      listing: contents of pictures.json; {} for a new run, or for a run of an
        earlier version, which has counts and checksums of names only.
    """
    self._known = run.get('listing') == fingerprint.VERSION
    self._pictures = run.get('pictures', {})
    self._tests = run.get('tests', {}) if self._known else {}
    self._listing = listing
    self._mended = run.get('unusable', ())

  def other_training(self, now: dict, listing: Listing) -> Iterator[str]:
    """Yields a line for each domain whose training pictures have changed.

    Args:
      now: `facts` of the current pictures.
      listing: the `fingerprint.listing` that `now` was made from: names, sizes
        and checksums.
    """
    keys = ('count', 'names', *(['files'] if self._known else []))
    for domain, there in now['pictures'].items():
      was, name = self._pictures.get(domain, {}), f'train{domain.upper()}'
      if all(was.get(key) == there[key] for key in keys):
        continue
      change = self._first(name, was, listing)
      if change is not None:
        yield (
          f'the {there["count"]} training pictures of {domain.upper()} differ '
          f'from the {was.get("count", 0)} of the run{change and f", {change}"}'
        )

  def other_tests(self, now: dict, listing: Listing) -> str:
    """Returns the first difference between the test pictures, in words.

    Args:
      now: `facts` of the current pictures.
      listing: the `fingerprint.listing` that `now` was made from: names, sizes
        and checksums.

    Returns:
      The words; '' if nothing has changed, or if nothing is recorded.
    """
    if not self._tests:
      return ''
    before, there = self._tests, now['tests']
    rest = ('pairs', 'colours')  # last: other pictures may cause the change
    names = sorted((before.keys() | there.keys()) - set(rest))
    for name in [*names, *rest]:
      was, is_now = before.get(name), there.get(name)
      if was == is_now:
        continue
      if not isinstance(was, dict) or not isinstance(is_now, dict):
        return _words(name, was, is_now)
      change = self._first(name, was, listing)
      if change is not None:
        return change or name
    return ''

  def _first(self, name, was, listing):
    """Returns the first difference of a split, '' if unknown, None if equal.

    Args:
      name: the split, such as 'trainA'.
      was: the recorded {'count', 'files'} of the split.
      listing: the current listing.
    """
    entries = self._listing.get(name)
    if entries is None or fingerprint.digest(entries) != was.get('files'):
      return ''
    change = fingerprint.difference(entries, listing[name], self._mended)
    return change or None


def _words(name, was, is_now):
  """Returns a change of the entry `name` of the test pictures, in words."""
  if name == 'pairs':
    return 'they are now ' + ('true pairs' if is_now else 'not true pairs')
  if name == 'colours':
    return 'the colours of their classes'
  return f'{name} is {"missing" if is_now is None else "new"}'
