"""Pictures of which only a part is used: extra pages, bands, bits, values."""

import threading
from collections.abc import Sequence
from typing import TypeGuard

from cyclegan_jax.data.bad_pictures import warn_once
from cyclegan_jax.data.headers import Header

# A 16-bit picture that uses a smaller share of its range looks dark or flat.
# 14-bit values in a 16-bit file use a quarter and are not warned of.
NARROW = 0.25


SEE_ALL = (
  'python -m cyclegan_jax.check_data with the same --config options lists all'
)


# The kinds of partly used pictures, as texts for messages.
FRAMES = 'several pages or frames, of which only the first is used'
BANDS = 'extra bands, which are dropped or used as transparency'
SPAN = (
  '16-bit values that fill less than a quarter of their range, so the image is '
  'dark or flat'
)
DEPTH = '16 bits per colour, of which only 8 are used'
OUTSIDE = 'values outside data.range_a or data.range_b, which are clipped'
_KINDS = (FRAMES, BANDS, DEPTH, SPAN, OUTSIDE)


class Tally:
  """Collects pictures of which only a part is used. Safe for threads.

  The methods `add...` record a picture; `found` and `line` report all of them.
  """

  def __init__(self) -> None:
    self._found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    self._lock = threading.Lock()

  def add(self, name: str, header: Header) -> None:
    """Records unused pages, bands and bits of a picture.

    Args:
      name: name of the picture.
      header: `Header` of the picture.
    """
    if header.frames:
      self._add(FRAMES, name)
    if header.bands > header.used:
      self._add(BANDS, f'{name}: {bands(header)}')
    if header.shallow:
      self._add(DEPTH, name)

  def add_span(self, name: str, span: float | None) -> None:
    """Records a 16-bit picture that uses too little of its range.

    Args:
      name: name of the picture.
      span: share in [0, 1] of the range of 16 bits that the values use; None
        for pictures of 8 bits.
    """
    if narrow(span):
      self._add(SPAN, f'{name}: {percent(span)}')

  def add_outside(self, name: str, share: float | None) -> None:
    """Records a picture of which values are clipped.

    Args:
      name: name of the picture.
      share: share in [0, 1] of the values outside the range of the domain; None
        or 0 records nothing.
    """
    if share:
      self._add(OUTSIDE, f'{name}: {_share(share)}')

  def _add(self, kind, text):
    """Records the text of a picture under a kind."""
    with self._lock:
      self._found[kind].append(text)

  def found(self) -> list[tuple[str, list[str]]]:
    """Returns [(kind, pictures)] of the kinds that were recorded.

    Each picture is a text: its name, for most kinds with a detail after a
    colon.
    """
    return [(kind, names) for kind, names in self._found.items() if names]

  def line(self, total: int) -> str:
    """Returns a line that counts the pictures of each recorded kind.

    Args:
      total: number of all pictures, for the message.

    Returns:
      One line with the first picture of each kind as an example; '' if nothing
      was recorded.
    """
    said = [
      f'{kind}: {len(names)} of {total} pictures ({_examples(names)})'
      for kind, names in self.found()
    ]
    return '; '.join(said)


def warn(name: str, span: float | None) -> None:
  """Warns of a 16-bit picture that uses too little of its range, only once.

  Further pictures are not warned of in the same process.

  Args:
    name: name of the picture.
    span: share in [0, 1] of the range of 16 bits that the values use; None for
      pictures of 8 bits.
  """
  if narrow(span):
    warn_once(
      f'{name}: {SPAN} ({percent(span)}): data.range_a or data.range_b='
      'percentile:1,99 stretches them; there may be more such pictures: '
      f'{SEE_ALL}',
      SPAN,
    )


class Clipped:
  """Counts the clipped values of pictures, for each of the two range options.

  The range options are data.range_a and data.range_b. Call `add` for each
  picture that was read, then `lines` for the summary. Safe for threads.
  """

  def __init__(self) -> None:
    self._shares: dict[str, list[float]] = {}
    self._lock = threading.Lock()

  def add(self, option: str, share: float) -> None:
    """Records one picture that was read.

    Args:
      option: option of the range, such as 'data.range_a'.
      share: share in [0, 1] of the picture's values outside the range.
    """
    with self._lock:
      self._shares.setdefault(option, []).append(share)

  def lines(self) -> list[str]:
    """Returns one line per option whose range clipped any value.

    The line gives the mean share of clipped values and the number of pictures
    with clipped values.
    """
    with self._lock:
      found = {x: shares for x, shares in self._shares.items() if any(shares)}
      return [
        f'{_share(sum(shares) / len(shares))} of the values read were outside '
        f'{option} and clipped, in {sum(map(bool, shares))} of {len(shares)} '
        'pictures read'
        for option, shares in sorted(found.items())
      ]


clipped = Clipped()  # filled with the pictures that this process trains on


def warn_outside(name: str, share: float, option: str) -> None:
  """Records the clipped values of a picture, and warns of the first picture.

  The share is added to `clipped`. Only the first picture with clipped values is
  warned of.

  Args:
    name: name of the picture.
    share: share in [0, 1] of the picture's values outside the range.
    option: option of the range, such as 'data.range_a'.
  """
  clipped.add(option, share)
  if share:
    warn_once(
      f'{name}: {_share(share)} of its values are outside {option} and are '
      f'clipped; there may be more such pictures: {SEE_ALL}',
      OUTSIDE,
    )


def _share(share):
  """Returns a share in [0, 1] as a percentage, such as '2.5%'."""
  return f'{100 * share:.2g}%'


def _examples(found: Sequence[str]) -> str:
  """Returns the first of the texts, marked as the first if there are more."""
  return found[0] if len(found) == 1 else f'the first is {found[0]}'


def bands(header: Header) -> str:
  """Returns a text on the bands used, such as 'the first 3 of 4 bands'.

  Args:
    header: the `headers.Header` of a picture that uses only some of the bands
      in its file; the numbers are its `used` and `bands`.
  """
  return f'the first {header.used} of {header.bands} bands'


def percent(span: float) -> str:
  """Returns a share as a text such as '6.2% of its range'.

  Args:
    span: share in [0, 1] of the range of 16 bits that a picture uses.
  """
  return f'{100 * span:.1f}% of its range'


def narrow(span: float | None) -> TypeGuard[float]:
  """Returns True if a 16-bit picture uses less than `NARROW` of its range.

  Args:
    span: share in [0, 1] of the range of 16 bits that the values use; None for
      pictures of 8 bits. A picture of one value (0) does not count.
  """
  return span is not None and 0 < span < NARROW
