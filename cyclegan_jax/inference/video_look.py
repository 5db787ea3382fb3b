"""The storage of a video: times, colours, and rotation."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from cyclegan_jax.common.errors import UserError

_MICROSECOND = Fraction(1, 10**6)  # FFmpeg's unit for a whole file
# A recording cut out of a longer one may keep the clock of that one.
_LATEST_START = 10  # seconds
_FINEST_CLOCK = 10**6  # ticks per second: MP4 has 2**31 between two frames
_USUAL_CLOCK = Fraction(1, 90000)
_USUAL_RATE = Fraction(25)
# Codes of ITU-T H.273. FFmpeg takes BT.601 where a file gives no matrix.
_BT601, _BT2020, _BT2020_CL, _UNKNOWN = 6, 9, 10, 2
_MATRICES = (1, 4, 5, _BT601, 7, _BT2020)
_PRIMARIES = (1, *range(4, 13), 22)
_TRANSFERS = (1, *range(4, 19))


def library():
  """Imports PyAV.

  Raises:
    UserError: it is not installed.
  """
  try:
    import av
  except ImportError as e:
    raise UserError('videos need PyAV: pip install av') from e
  return av


class Look(NamedTuple):
  """Properties of a video, from its header and its first frame.

  Attributes:
    size: (height, width) of all frames, upright.
    turn: how a player turns and mirrors frames, as in `_upright`; None for not.
    aspect: width / height of a pixel.
    matrix: code of the matrix between RGB and YUV (ITU-T H.273).
    primaries: code of the primaries.
    transfer: code of the transfer function.
    clock: seconds per tick.
    start: seconds on the clock of the file that become 0.
    rate: frames per second, on average.
    total: number of frames, about; or None.
    end: seconds on the clock of the file at which it ends, or None.
  """

  size: tuple[int, int]
  turn: tuple | None
  aspect: Fraction
  matrix: int
  primaries: int
  transfer: int
  clock: Fraction
  start: Fraction
  rate: Fraction
  total: int | None
  end: Fraction | None


def look(container, video, first):
  """Returns the `Look` of a video.

  Args:
    container: PyAV's, for input.
    video: its stream of frames.
    first: the first frame.
  """
  rate = video.average_rate or video.guessed_rate or _USUAL_RATE
  began = (container.start_time or 0) * _MICROSECOND
  end = _end(container, video, began, rate)
  # A stream is cut at any place, and its header knows no end.
  streamed = container.format.flags & _flag_of_streams()
  clock = video.time_base
  size = first.height, first.width
  turn = _turn(first)
  aspect = video.sample_aspect_ratio or Fraction(1)
  return Look(
    size=size[::-1] if _across(turn) else size,
    turn=turn,
    aspect=1 / aspect if _across(turn) else aspect,
    matrix=_code(first.colorspace, _MATRICES, _BT601),
    primaries=_code(first.color_primaries, _PRIMARIES),
    transfer=_code(first.color_trc, _TRANSFERS),
    clock=clock if 1 / clock <= _FINEST_CLOCK else _USUAL_CLOCK,
    start=_start(video, first, began, streamed),
    rate=rate,
    total=video.frames or (end and round((end - began) * rate)) or None,
    end=None if streamed else end,
  )


def _end(container, video, began, rate):
  """Seconds on the clock of a file at which it ends by its header, or None."""
  form = container.format.name
  if form == 'avi' and video.frames:
    return began + video.frames / rate  # FFmpeg's is of an index cut short
  if not container.duration:
    return None
  length = container.duration * _MICROSECOND
  return length if form.startswith('matroska') else began + length


def _flag_of_streams():
  return library().format.Flags.ts_discont.value


def _start(video, first, began, streamed):
  """Seconds on the clock of a file that become 0: 0 where that is possible."""
  if streamed or began > _LATEST_START:
    return began
  shown = Times(video).of(first) or 0
  return min(Fraction(0), shown * video.time_base)


def _code(code, known, other=_UNKNOWN):
  code = _BT2020 if code == _BT2020_CL and known is _MATRICES else code
  return code if code in known else other


def pixels(frame, look):
  """The RGB pixels of a frame, upright and of the size of the first frame."""
  height, width = look.size[::-1] if _across(look.turn) else look.size
  if not frame.format.is_rgb:
    frame.colorspace = look.matrix
  # As FFmpeg's programs convert, and the same on any machine. `Writer.frame`
  # undoes it, so colours and their edges stay where nothing is translated.
  flags = library().video.reformatter.Interpolation
  flags = flags.BICUBIC | flags.BITEXACT
  rgb = frame.reformat(width, height, 'rgb24', interpolation=flags)
  return _upright(rgb.to_ndarray(), look.turn)


def _turn(frame):
  """The turn of a player, ((a, b), (c, d)) as in `_upright`; None for none.

  Not for every frame: PyAV's objects for it wait for the garbage collector,
  and the pixels with them.
  """
  side_data = frame.side_data.get('DISPLAYMATRIX')
  if side_data is None:
    return None
  a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
  return (a, b), (c, d)


def _across(turn):
  """Returns True if rows become columns; angles are rounded to right ones."""
  return turn is not None and abs(turn[0][1]) > abs(turn[0][0])


def _upright(pixels, turn):
  """Turns and mirrors pixels: (x, y) goes to (a x + c y, b x + d y)."""
  if turn is None:
    return pixels
  (a, b), (c, d) = turn
  if _across(turn):
    pixels, a, d = pixels.swapaxes(0, 1), c, b
  return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


class Times:
  """Chooses the time of each frame, as FFmpeg's programs do."""

  def __init__(self, video):
    self._start = video.start_time
    self._held = None
    self._last = {'pts': None, 'dts': None}
    self._faulty = {'pts': 0, 'dts': 0}

  def of(self, frame):
    """Ticks of the stream at which a frame is shown, or None."""
    pts, dts = frame.pts, frame.dts
    if self._held is None:
      self._held = 0
      if None not in (dts, self._start) and pts is None:
        # AVI has times of decoding only. A decoder that sorts frames holds the
        # first one for as long as any other.
        self._held = dts - self._start
    if self._held:
      return None if dts is None else dts - self._held
    for name, time in (('pts', pts), ('dts', dts)):
      if time is not None:
        last = self._last[name]
        self._faulty[name] += last is not None and time <= last
        self._last[name] = time
    better = self._faulty['pts'] <= self._faulty['dts']
    return pts if pts is not None and (better or dts is None) else dts
