"""A run's pictures as run.json and pictures.json have them, and compared."""

import pathlib
import zlib
from collections.abc import Iterator

from cyclegan_jax.data import fingerprint
from cyclegan_jax.data.fingerprint import Entry
from cyclegan_jax.data.source import Source

Listing = dict[str, list[Entry]]


def facts(source: Source, listing: Listing) -> dict:
  """Entries of run.json on the pictures.

  Args:
    source: a `Source`.
    listing: its `fingerprint.listing`.
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
    # All that test figures depend on.
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
  """A checksum of names alone, which earlier versions compare."""
  names = [pathlib.PurePath(picture.name).name for picture in pictures]
  return zlib.crc32('/'.join(names).encode(errors='surrogateescape'))


class Before:
  """The pictures of a run as its folder has them; none of a new one."""

  def __init__(self, run: dict, listing: Listing) -> None:
    """Takes the contents of run.json and pictures.json.

    Runs of earlier versions have counts and checksums of names alone.
    """
    self._known = run.get('listing') == fingerprint.VERSION
    self._pictures = run.get('pictures', {})
    self._tests = run.get('tests', {}) if self._known else {}
    self._listing = listing
    self._mended = run.get('unusable', ())

  def other_training(self, now: dict, listing: Listing) -> Iterator[str]:
    """Yields a line on each domain whose training pictures are others.

    Args:
      now: `facts` of now.
      listing: the listing behind them.
    """
    keys = ('count', 'names', *(['files'] if self._known else []))
    for domain, there in now['pictures'].items():
      was, name = self._pictures.get(domain, {}), f'train{domain.upper()}'
      if all(was.get(key) == there[key] for key in keys):
        continue
      change = self._first(name, was, listing)
      if change is not None:
        yield (
          f'{there["count"]} training pictures of {domain.upper()} are not the '
          f'{was.get("count", 0)} of before{change and f", as {change}"}'
        )

  def other_tests(self, now: dict, listing: Listing) -> str:
    """The first difference between test pictures, in words.

    Args:
      now: `facts` of now.
      listing: the listing behind them.

    Returns:
      The words; '' if they are the same, or nobody knows.
    """
    if not self._tests:
      return ''
    before, there = self._tests, now['tests']
    rest = ('pairs', 'colours')  # which other pictures may bring along
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
    """The first difference of a list: '' if unknown, None if there is none."""
    entries = self._listing.get(name)
    if entries is None or fingerprint.digest(entries) != was.get('files'):
      return ''
    change = fingerprint.difference(entries, listing[name], self._mended)
    return change or None


def _words(name, was, is_now):
  if name == 'pairs':
    return 'they are now ' + ('true pairs' if is_now else 'no pairs')
  if name == 'colours':
    return 'the colours of their classes'
  return f'{name} is {"missing" if is_now is None else "new"}'
