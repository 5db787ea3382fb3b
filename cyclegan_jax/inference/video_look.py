"""Reads the times, colours and rotation of a video's frames."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from cyclegan_jax.common.errors import UserError

_MICROSECOND = Fraction(1, 10**6)  # FFmpeg's unit for a whole file
# A part cut out of a longer recording may keep the clock of the recording.
_LATEST_START = 10  # seconds
_FINEST_CLOCK = 10**6  # ticks per second; MP4 allows 2**31 between frames
_USUAL_CLOCK = Fraction(1, 90000)
_USUAL_RATE = Fraction(25)
# Codes of ITU-T H.273. FFmpeg assumes BT.601 if a file gives no matrix.
_BT601, _BT2020, _BT2020_CL, _UNKNOWN = 6, 9, 10, 2
_MATRICES = (1, 4, 5, _BT601, 7, _BT2020)
_PRIMARIES = (1, *range(4, 13), 22)
_TRANSFERS = (1, *range(4, 19))


def library():
  """Imports and returns PyAV (the module `av`).

  Raises:
    UserError: PyAV is not installed.
  """
  try:
    import av
  except ImportError as e:
    raise UserError('videos need PyAV: pip install av') from e
  return av


class Look(NamedTuple):
  """Properties of a video, from its header and its first frame.

  Attributes:
    size: (height, width) of all frames, after rotation.
    turn: matrix ((a, b), (c, d)) by which a player turns and mirrors frames;
      None without rotation.
    aspect: width / height of a pixel, after rotation.
    matrix: code of the matrix between RGB and YUV (ITU-T H.273).
    primaries: code of the colour primaries (ITU-T H.273).
    transfer: code of the transfer function (ITU-T H.273).
    clock: length of a tick in seconds.
    start: time in seconds on the clock of the file that becomes time 0.
    rate: average number of frames per second.
    total: approximate number of frames, or None if unknown.
    end: time in seconds on the clock of the file at which the file ends by its
      header, or None if unknown.
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
  """Returns the `Look` of a video: its size, rotation, colours and times.

  Args:
    container: PyAV's input container.
    video: PyAV's video stream in the container.
    first: PyAV's first frame of the stream.
  """
  rate = video.average_rate or video.guessed_rate or _USUAL_RATE
  began = (container.start_time or 0) * _MICROSECOND
  end = _end(container, video, began, rate)
  # A recorded broadcast starts and ends anywhere; its header gives no end.
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
  """Returns the end of a file in seconds on its clock, or None if unknown."""
  form = container.format.name
  if form == 'avi' and video.frames:
    # FFmpeg's duration is wrong if the index of the file was cut short.
    return began + video.frames / rate
  if not container.duration:
    return None
  length = container.duration * _MICROSECOND
  return length if form.startswith('matroska') else began + length


def _flag_of_streams():
  return library().format.Flags.ts_discont.value


def _start(video, first, began, streamed):
  """Returns the time, in seconds on a file's clock, that becomes time 0."""
  if streamed or began > _LATEST_START:
    return began
  shown = Times(video).of(first) or 0
  return min(Fraction(0), shown * video.time_base)


def _code(code, known, other=_UNKNOWN):
  code = _BT2020 if code == _BT2020_CL and known is _MATRICES else code
  return code if code in known else other


def pixels(frame, look):
  """Returns the RGB pixels of a frame, upright and scaled to `look.size`.

  Args:
    frame: PyAV's video frame.
    look: the `Look` of the video.

  Returns:
    uint8 [height, width, 3].
  """
  height, width = look.size[::-1] if _across(look.turn) else look.size
  if not frame.format.is_rgb:
    frame.colorspace = look.matrix
  # The conversion of FFmpeg's programs, with the same result on any machine.
  # `Writer.frame` undoes it, so an untranslated frame keeps its colours.
  flags = library().video.reformatter.Interpolation
  flags = flags.BICUBIC | flags.BITEXACT
  rgb = frame.reformat(width, height, 'rgb24', interpolation=flags)
  return _upright(rgb.to_ndarray(), look.turn)


def _turn(frame):
  """Returns the `Look.turn` of a frame, or None if it has no rotation.

  To be called for the first frame only: PyAV's object of the rotation keeps the
  pixels of a frame in memory until garbage collection.
  """
  side_data = frame.side_data.get('DISPLAYMATRIX')
  if side_data is None:
    return None
  a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
  return (a, b), (c, d)


def _across(turn):
  """Returns True if a turn, rounded to right angles, swaps rows and columns."""
  return turn is not None and abs(turn[0][1]) > abs(turn[0][0])


def _upright(pixels, turn):
  """Turns and mirrors pixels: (x, y) moves to (a x + c y, b x + d y)."""
  if turn is None:
    return pixels
  (a, b), (c, d) = turn
  if _across(turn):
    pixels, a, d = pixels.swapaxes(0, 1), c, b
  return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


class Times:
  """Chooses the times of frames as FFmpeg does.

  Call `of` for each frame, in the order of decoding.
  """

  def __init__(self, video):
    self._start = video.start_time
    self._held = None
    self._last = {'pts': None, 'dts': None}
    self._faulty = {'pts': 0, 'dts': 0}

  def of(self, frame):
    """Returns the time at which a frame is shown, or None if unknown.

    Args:
      frame: PyAV's next frame of the stream.

    Returns:
      The time in ticks of the stream (its `time_base`).
    """
    pts, dts = frame.pts, frame.dts
    if self._held is None:
      self._held = 0
      if None not in (dts, self._start) and pts is None:
        # AVI has decoding times only. A decoder that reorders frames delays
        # every frame as long as the first one.
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
