"""Reads upright RGB frames, their times and sound of videos, by PyAV."""

import contextlib
import sys
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import picture
from cyclegan_jax.inference import video_look

# Containers that hold a whole video in one file. Other formats of FFmpeg (HLS,
# DASH, concat) list files and addresses, which FFmpeg would open.
_CONTAINERS = 'mov,mp4,avi,matroska,webm,mpegts,mpeg,flv,asf,ogg,m4v'
_SLACK = 0.5  # seconds by which an intact file may end before its stated end


class Frame(NamedTuple):
  """A frame of a video.

  Attributes:
    pixels: uint8 [height, width, 3], after rotation.
    time: time of the frame in ticks of `Look.clock`, later than the time of the
      previous frame.
    length: ticks for which the frame is shown. Only used for the last frame.
  """

  pixels: np.ndarray
  time: int
  length: int


class Source:
  """A video file to read; `opened` yields its frames and sound.

  Attributes:
    look: the `video_look.Look` of the video.
    damage: list of times, in seconds on the clock of the file, at which data
      could not be read.
  """

  def __init__(self, path, name):
    """Reads the header and the first frame.

    Args:
      path: local path of the video.
      name: name of the video in errors and warnings.

    Raises:
      UserError: PyAV is not installed, or the file is not a video or cannot be
        read.
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
          f'{name}: no frame of the video can be read (of at most '
          f'{picture.MAX_PIXELS:,} pixels): remove it or save it again'
        )
      self.look = video_look.look(container, video, first)
    self._check_size(*self.look.size[::-1])
    self.damage = []

  def warn(self, text):
    """Prints 'warning: NAME: TEXT' on standard error, with the video's name.

    Args:
      text: the text.
    """
    tqdm.write(f'warning: {self._name}: {text}', file=sys.stderr)

  @contextlib.contextmanager
  def guarded(self):
    """Turns errors of FFmpeg in its context into `UserError`.

    Errors of the file system, such as a full disk, stay `OSError`.
    """
    try:
      yield
    except self._av.FFmpegError as e:
      if isinstance(e, OSError):
        raise
      raise UserError(
        f'{self._name}: cannot be translated as a video ({_reason(e)}): '
        'remove it or save it again'
      ) from e

  @contextlib.contextmanager
  def opened(self):
    """Opens the file to read all frames and sound.

    Yields:
      (streams, read). `streams` are PyAV's audio streams. `read(on_sound)` is a
      generator of every `Frame`. Between frames it calls `on_sound(index of an
      audio stream, packet)`, with None for the packet at the end of the stream.
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
        f'file:{self._path}',  # without file: a name with a colon is an address
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
        reason = 'the format is unknown, or the end of the file is missing'
      raise UserError(
        f'{self._name}: cannot be read as a video ({reason}): remove it or '
        'save it again'
      ) from e
    with container:
      # FFmpeg would guess missing times, wrongly for AVI.
      container.flags &= ~self._av.container.Flags.gen_pts.value
      video = container.streams.best('video')
      cover = self._av.stream.Disposition.attached_pic  # cover of an audio file
      if video is None or video.disposition & cover:
        raise UserError(f'{self._name}: it holds no video: remove it')
      if video.codec_context is None:
        raise UserError(
          f'{self._name}: FFmpeg has no decoder for the video: save it as H.264'
        )
      self._check_size(video.codec_context.width, video.codec_context.height)
      video.codec_context.thread_type = 'AUTO'
      video.codec_context.options = limit
      yield container, video

  def _check_size(self, width, height):
    if width * height > picture.MAX_PIXELS:
      raise UserError(
        f'{self._name}: frames of {width}x{height} are too large, at most '
        f'{picture.MAX_PIXELS:,} pixels are read: remove or scale the video'
      )
    if 0 < min(width, height) < picture.MIN_SIDE:
      raise UserError(
        f'{self._name}: frames of {width}x{height} are too small, at least '
        f'{picture.MIN_SIDE}x{picture.MIN_SIDE} pixels are needed: remove it'
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
    # A file may not give the length of the last frame: allow the longest one.
    slack = max(_SLACK, longest * look.clock)
    if look.end is not None and look.end - self._end > slack:
      self.damage.append(self._end)

  def _decoded(self, container, video, on_sound):
    """Yields PyAV's frames, and records damage and the end of the file."""
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
    """Yields (stream, packet), and (stream, None) at the end of each stream."""
    packets = container.demux()
    while True:
      try:
        packet = next(packets, None)
      except self._av.FFmpegError:
        self.damage.append(self._end)  # the rest cannot be found
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
