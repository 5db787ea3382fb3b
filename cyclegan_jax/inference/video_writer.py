"""MP4 files of H.264, written by PyAV: frames at their times, and sound."""

import contextlib

import numpy as np

from cyclegan_jax.inference import video_look, video_sound

_QUALITY = '10'  # x264's constant rate factor: no loss is seen
_THREADS = 4  # x264's result depends on their number: not on the machine's
# Pixels below which x264 (build 165) in one of ten runs writes other bytes for
# the same pictures, unless its macroblock tree is off.
_FEW = 64 * 64
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG, which all players know


@contextlib.contextmanager
def created(path, source, parts, sounds):
  """Yields a `Writer` to a file.

  Args:
    path: the file.
    source: a `video_reader.Source`.
    parts: number of pictures side by side in a frame.
    sounds: the streams of sound of the source.

  Raises:
    OSError: it cannot be written.
    av.FFmpegError: what is written does not go into such a file.
  """
  av = video_look.library()
  # MP4 rounds the start of a stream to milliseconds otherwise.
  options = {'movie_timescale': '90000'}
  with av.open(
    f'file:{path}', 'w', format='mp4', container_options=options
  ) as container:
    writer = Writer(container, source.look, parts)
    writer.tracks = video_sound.tracks(container, sounds, source)
    yield writer
    writer.finish()


class Writer:
  """An MP4 file that is being written.

  Attributes:
    tracks: index of a stream -> where its sound goes, as
      `video_sound.tracks` makes them.
  """

  def __init__(self, container, look, parts):
    height, width = look.size
    width *= parts
    self._av = video_look.library()
    self._container = container
    self._look = look
    self._lengths = {}  # time of a frame that is being encoded -> its length
    # Every second pixel's colour only, as players expect, where sizes allow.
    odd = height % 2 or width % 2
    self._stream = container.add_stream(
      'libx264',
      rate=look.rate.limit_denominator(1001),
      width=width,
      height=height,
      time_base=look.clock,
      options={'crf': _QUALITY, 'mbtree': str(int(height * width >= _FEW))},
    )
    context = self._stream.codec_context
    context.pix_fmt = 'yuv444p' if odd else 'yuv420p'
    context.thread_count = _THREADS
    context.sample_aspect_ratio = look.aspect
    context.colorspace = look.matrix
    context.color_primaries = look.primaries
    context.color_trc = look.transfer
    context.color_range = _LIMITED_RANGE
    self.tracks = {}

  def frame(self, pixels, time, length):
    """Adds a frame.

    Args:
      pixels: uint8 [height, width, 3].
      time: ticks of the clock.
      length: ticks for which it is shown if it is the last one.
    """
    rgb = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels))
    rgb.colorspace = self._look.matrix
    flags = self._av.video.reformatter.Interpolation
    frame = rgb.reformat(
      format=self._stream.codec_context.pix_fmt,
      dst_color_range=_LIMITED_RANGE,
      interpolation=flags.AREA | flags.ACCURATE_RND | flags.BITEXACT,
    )
    frame.pts = time
    frame.time_base = self._look.clock
    self._lengths[time] = length
    self._add(self._stream.encode(frame))

  def sound(self, index, packet):
    """Adds a packet of a stream of the source; None ends the stream."""
    if index in self.tracks:
      self.tracks[index].add(packet)

  def finish(self):
    """Writes what waits in the encoder."""
    self._add(self._stream.encode(None))

  def _add(self, packets):
    for packet in packets:
      packet.duration = self._lengths.pop(packet.pts, 0)
      self._container.mux(packet)
