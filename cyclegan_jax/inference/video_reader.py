"""Video files read by PyAV: upright RGB frames with their times, and sound."""

import contextlib
import sys
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import picture
from cyclegan_jax.inference import video_look

# Containers that hold all of a video in one file. Some of FFmpeg's others are
# lists of files and addresses, which it would open (HLS, DASH, concat).
_CONTAINERS = 'mov,mp4,avi,matroska,webm,mpegts,mpeg,flv,asf,ogg,m4v'
_SLACK = 0.5  # seconds by which a whole file may be shorter than it says


class Frame(NamedTuple):
  """A frame of a video.

  Attributes:
    pixels: uint8 [height, width, 3], upright.
    time: ticks of `Look.clock`; more than those of the frame before.
    length: ticks for which it is shown; only used for the last frame.
  """

  pixels: np.ndarray
  time: int
  length: int


class Source:
  """A video file.

  Attributes:
    look: a `video_look.Look`.
    damage: seconds at which something could not be read.
  """

  def __init__(self, path, name):
    """Reads the header and the first frame.

    Args:
      path: a file of this machine.
      name: name of the file in errors.

    Raises:
      UserError: PyAV is missing, or the file is no video that can be read.
    """
    self._av = video_look.library()
    self._path = path
    self._name = name
    self.damage = []
    with self._opened() as (container, video), self.guarded():
      with contextlib.closing(self._decoded(container, video, None)) as frames:
        first = next(frames, None)
      if first is None:
        raise UserError(
          f'{name}: no frame of it can be read (of at most '
          f'{picture.MAX_PIXELS:,} pixels): remove it or save it anew'
        )
      self.look = video_look.look(container, video, first)
    self._check_size(*self.look.size[::-1])
    self.damage = []

  def warn(self, text):
    """Says on standard error what of the file is left out."""
    tqdm.write(f'warning: {self._name}: {text}', file=sys.stderr)

  @contextlib.contextmanager
  def guarded(self):
    """Turns an error of FFmpeg into a `UserError`; leaves those of disks."""
    try:
      yield
    except self._av.FFmpegError as e:
      if isinstance(e, OSError):
        raise
      raise UserError(
        f'{self._name}: cannot be translated as a video ({_reason(e)}): '
        'remove it or save it anew'
      ) from e

  @contextlib.contextmanager
  def opened(self):
    """Opens the file to read all of it.

    Yields:
      (streams of sound, f), where f(on_sound) yields every `Frame` and, in
      between, calls on_sound(index of a stream, packet), or on_sound(index,
      None) where a stream ends.
    """
    with self._opened() as (container, video):
      yield (
        container.streams.audio,
        lambda on_sound: self._frames(container, video, on_sound),
      )

  @contextlib.contextmanager
  def _opened(self):
    limit = {'max_pixels': str(picture.MAX_PIXELS)}
    try:
      container = self._av.open(
        f'file:{self._path}',  # else a colon in a name ends a protocol
        options={
          'protocol_whitelist': 'file',
          'format_whitelist': _CONTAINERS,
          **limit,
        },
        metadata_errors='replace',
      )
    except (self._av.FFmpegError, OSError) as e:
      reason = _reason(e)
      if isinstance(e, (self._av.InvalidDataError, self._av.ArgumentError)):
        reason = 'of no kind known here, or its end is missing'
      raise UserError(
        f'{self._name}: cannot be read as a video ({reason}): remove it or '
        'save it anew'
      ) from e
    with container:
      # Times that are not in the file would be guessed, and wrong in AVI.
      container.flags &= ~self._av.container.Flags.gen_pts.value
      video = container.streams.best('video')
      cover = self._av.stream.Disposition.attached_pic  # the cover of sound
      if video is None or video.disposition & cover:
        raise UserError(f'{self._name}: it holds no video: remove it')
      if video.codec_context is None:
        raise UserError(
          f'{self._name}: FFmpeg has no decoder for it: save it as H.264'
        )
      self._check_size(video.codec_context.width, video.codec_context.height)
      video.codec_context.thread_type = 'AUTO'
      video.codec_context.options = limit
      yield container, video

  def _check_size(self, width, height):
    if width * height > picture.MAX_PIXELS:
      raise UserError(
        f'{self._name}: frames of {width}x{height} are too large, they may '
        f'have {picture.MAX_PIXELS:,} pixels: remove it or make it smaller'
      )
    if 0 < min(width, height) < picture.MIN_SIDE:
      raise UserError(
        f'{self._name}: frames of {width}x{height} are too small, they need '
        f'at least {picture.MIN_SIDE}x{picture.MIN_SIDE} pixels: remove it'
      )

  def _frames(self, container, video, on_sound):
    look, last, longest = self.look, None, 0
    times = video_look.Times(video)
    usual = max(1, round(1 / look.rate / look.clock))
    for frame in self._decoded(container, video, on_sound):
      time = times.of(frame)
      if time is not None:
        time = round((time * video.time_base - look.start) / look.clock)
      else:
        time = 0 if last is None else last + usual
      if last is not None:
        time = max(time, last + 1)
        longest = max(longest, time - last)
      last = time
      length = round((frame.duration or 0) * video.time_base / look.clock)
      yield Frame(video_look.pixels(frame, look), time, max(0, length) or usual)
    # The last frame may be shown for as long as another, where no file tells.
    slack = max(_SLACK, longest * look.clock)
    if look.end is not None and look.end - self._end > slack:
      self.damage.append(self._end)

  def _decoded(self, container, video, on_sound):
    """Yields the frames as PyAV's, and notes what is damaged."""
    self._end = Fraction(0)
    for stream, packet in self._packets(container):
      if packet is not None:
        self._end = max(self._end, _end_of(packet, stream))
      if stream.type == 'audio' and on_sound:
        on_sound(stream.index, packet)
      if stream.index != video.index:
        continue
      if packet is not None and packet.is_corrupt:
        self.damage.append(self._end)
      try:
        frames = video.codec_context.decode(packet)
      except self._av.FFmpegError:
        self.damage.append(self._end)
        continue
      for frame in frames:
        if frame.is_corrupt:
          self.damage.append(self._end)
        yield frame

  def _packets(self, container):
    """Yields (stream, packet), and at the end (stream, None) for each."""
    packets = container.demux()
    while True:
      try:
        packet = next(packets, None)
      except self._av.FFmpegError:
        self.damage.append(self._end)  # what is behind it cannot be found
        break
      if packet is None:
        break
      if packet.size:
        yield packet.stream, packet
    for stream in container.streams:
      if stream.type in ('video', 'audio') and stream.codec_context:
        yield stream, None


def _end_of(packet, stream):
  time = packet.pts if packet.pts is not None else packet.dts or 0
  return (time + (packet.duration or 0)) * stream.time_base


def _reason(error):
  text = getattr(error, 'strerror', None) or str(error)
  return ' '.join(text.split())[:200] or type(error).__name__
