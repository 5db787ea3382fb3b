"""Writes frames at given times, and sound, to H.264 MP4 files, by PyAV."""

import contextlib

import numpy as np

from cyclegan_jax.inference import video_look, video_sound

_QUALITY = '10'  # x264's constant rate factor: no visible loss
_THREADS = 4  # fixed, because x264's result depends on it
# For frames of fewer pixels, x264 (build 165) writes different bytes in one of
# ten runs unless its macroblock tree is off.
_FEW = 64 * 64
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG, which all players support


@contextlib.contextmanager
def created(path, source, parts, sounds):
  """Yields a `Writer` to a new MP4 file.

  Args:
    path: local path of the file.
    source: the `video_reader.Source` that is translated.
    parts: number of images side by side in a frame.
    sounds: PyAV's audio streams of the source.

  Raises:
    OSError: the file cannot be written.
    av.FFmpegError: an MP4 file cannot hold the frames or the sound.
  """
  av = video_look.library()
  # By default MP4 rounds the start of a stream to milliseconds.
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

  Call `frame` for the frames in order of time, `sound` for the packets of
  sound, and `finish` last.

  Attributes:
    tracks: {index of an audio stream of the source: its track}, from
      `video_sound.tracks`.
  """

  def __init__(self, container, look, parts):
    height, width = look.size
    width *= parts
    self._av = video_look.library()
    self._container = container
    self._look = look
    self._lengths = {}  # times of frames being encoded -> lengths
    # Players expect colours of half resolution, which odd sizes do not allow.
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
      time: time of the frame, in ticks of `Look.clock` of the source.
      length: ticks for which the frame is shown if it is the last frame.
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
    """Adds a packet of sound to the track of its stream, if it has one.

    Args:
      index: index of the audio stream of the source.
      packet: PyAV's packet; None ends the track.
    """
    if index in self.tracks:
      self.tracks[index].add(packet)

  def finish(self):
    """Writes the frames that the encoder still holds."""
    self._add(self._stream.encode(None))

  def _add(self, packets):
    for packet in packets:
      packet.duration = self._lengths.pop(packet.pts, 0)
      self._container.mux(packet)
