"""Pictures of which only a part is used: several pages, bands, 16 bits."""

import threading
from collections.abc import Sequence
from typing import TypeGuard

from cyclegan_jax.data.bad_pictures import warn_once
from cyclegan_jax.data.headers import Header

# A picture of 16 bits that makes use of less looks dark or flat: 14 bits do.
NARROW = 0.25


SEE_ALL = (
  'python -m cyclegan_jax.check_data with the same --config options lists all'
)


# What there is to say of a picture.
FRAMES = 'several pages or frames, of which only the first is used'
BANDS = 'extra bands, which are dropped or taken for transparency'
SPAN = (
  '16 bits that fill less than a quarter of their range, which comes out dark '
  'or flat'
)
DEPTH = '16 bits per colour, of which 8 are used'
OUTSIDE = 'values outside data.range_a or data.range_b, which are clipped'
_KINDS = (FRAMES, BANDS, DEPTH, SPAN, OUTSIDE)


class Tally:
  """Pictures of which only a part is used, as they are met by any thread."""

  def __init__(self) -> None:
    self._found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    self._lock = threading.Lock()

  def add(self, name: str, header: Header) -> None:
    """Takes note of a picture by its header."""
    if header.frames:
      self._add(FRAMES, name)
    if header.bands > header.used:
      self._add(BANDS, f'{name}: {bands(header)}')
    if header.shallow:
      self._add(DEPTH, name)

  def add_span(self, name: str, span: float | None) -> None:
    """Takes note of a picture by the share of 16 bits that it makes use of."""
    if narrow(span):
      self._add(SPAN, f'{name}: {percent(span)}')

  def add_outside(self, name: str, share: float | None) -> None:
    """Takes note of a picture by the share of its values that are clipped."""
    if share:
      self._add(OUTSIDE, f'{name}: {_share(share)}')

  def _add(self, kind, text):
    with self._lock:
      self._found[kind].append(text)

  def found(self) -> list[tuple[str, list[str]]]:
    """[(kind, such pictures)] of the kinds that there are."""
    return [(kind, names) for kind, names in self._found.items() if names]

  def line(self, total: int) -> str:
    """One line on all there are, `total` pictures; '' if there is none."""
    said = [
      f'{kind}: {len(names)} of {total} pictures ({_examples(names)})'
      for kind, names in self.found()
    ]
    return '; '.join(said)


def warn(name: str, span: float | None) -> None:
  """Warns of the first picture that makes use of so little of 16 bits."""
  if narrow(span):
    warn_once(
      f'{name}: {SPAN} ({percent(span)}): data.range_a or data.range_b='
      f'percentile:1,99 spreads them; there may be more: {SEE_ALL}',
      SPAN,
    )


class Clipped:
  """Shares of the values of pictures that a range did not hold."""

  def __init__(self) -> None:
    self._shares: dict[str, list[float]] = {}
    self._lock = threading.Lock()

  def add(self, option: str, share: float) -> None:
    """Takes note of a picture that was read for the range of an option."""
    with self._lock:
      self._shares.setdefault(option, []).append(share)

  def lines(self) -> list[str]:
    """A line per option of which values were clipped."""
    with self._lock:
      found = {x: shares for x, shares in self._shares.items() if any(shares)}
      return [
        f'{_share(sum(shares) / len(shares))} of the values read were outside '
        f'{option} and clipped, in {sum(map(bool, shares))} of {len(shares)} '
        'pictures read'
        for option, shares in sorted(found.items())
      ]


clipped = Clipped()  # of the pictures that this process trains on


def warn_outside(name: str, share: float, option: str) -> None:
  """Counts what is `clipped`, and warns of the first picture with any."""
  clipped.add(option, share)
  if share:
    warn_once(
      f'{name}: {_share(share)} of its values are outside {option} and are '
      f'clipped; there may be more: {SEE_ALL}',
      OUTSIDE,
    )


def _share(share):
  return f'{100 * share:.2g}%'


def _examples(found: Sequence[str]) -> str:
  return found[0] if len(found) == 1 else f'the first is {found[0]}'


def bands(header: Header) -> str:
  """Returns what is used of the bands of a picture."""
  return f'the first {header.used} of {header.bands} bands'


def percent(span: float) -> str:
  """A share of a range in words."""
  return f'{100 * span:.1f}% of its range'


def narrow(span: float | None) -> TypeGuard[float]:
  """Returns True if a picture uses so little of 16 bits that it looks flat.

  Args:
    span: see `decode.SPAN`; None for pictures of 8 bits.
  """
  return span is not None and 0 < span < NARROW
