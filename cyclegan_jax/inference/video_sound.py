"""Copies the sound of a video, or encodes it as AAC if MP4 players need it."""

from fractions import Fraction

import numpy as np

from cyclegan_jax.inference import video_look

# MP4 can hold more codecs, but players do not play them.
_COPIED = ('aac', 'mp3', 'ac3', 'eac3', 'alac')
_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_BIT_RATE = 96_000  # per channel
_BITS = 4  # most bits per sample: AAC cannot use many more
_ROUNDING = 0.03  # seconds by which times in a file may be inexact
_LONGEST_GAP = 3600  # longest gap, in seconds, that is filled with silence


def tracks(container, streams, source):
  """Adds an audio track for each audio stream to an output container.

  A stream that cannot be decoded is left out with a warning.

  Args:
    container: PyAV's output container.
    streams: PyAV's audio streams of the input.
    source: the `video_reader.Source` of the streams.

  Returns:
    {index of an input stream: `Copied` or `Encoded`}.
  """
  made = {}
  for stream in streams:
    context = stream.codec_context
    if not (context and context.sample_rate and context.channels):
      source.warn(
        f'audio stream {stream.index} is left out: FFmpeg cannot decode it'
      )
      continue
    kind = Copied if context.codec.canonical_name in _COPIED else Encoded
    made[stream.index] = track = kind(container, stream, source)
    for key in ('language', 'title'):
      if key in stream.metadata:
        track.stream.metadata[key] = stream.metadata[key]
    track.stream.disposition = stream.disposition
  return made


class Copied:
  """Audio track whose packets are copied without encoding, by `add`.

  Attributes:
    stream: PyAV's output stream of the track.
  """

  def __init__(self, container, stream, source):
    self.stream = container.add_stream_from_template(stream)
    self._container = container
    self._shift = round(source.look.start / stream.time_base)
    self._last = self._next = None  # ticks: start and end of the last packet

  def add(self, packet):
    """Writes a packet of the input stream.

    Args:
      packet: PyAV's next packet; None ends the track.
    """
    if packet is None:
      return
    time = packet.dts if packet.dts is not None else packet.pts
    time = (self._next or 0) if time is None else time - self._shift
    if self._last is not None and time <= self._last:
      return  # part of the sound that an edit list cuts out
    self._last, self._next = time, time + (packet.duration or 0)
    packet.pts = packet.dts = time  # audio is decoded in the order of its times
    packet.stream = self.stream
    self._container.mux(packet)


class Encoded:
  """Audio track that is decoded and encoded again as AAC, by `add`.

  Gaps between packets are filled with silence, because many players ignore gaps
  in AAC.

  Attributes:
    stream: PyAV's output stream of the track.
  """

  def __init__(self, container, stream, source):
    context = stream.codec_context
    self._av = video_look.library()
    self._container = container
    self._source = source
    self._context = context
    self._unit = stream.time_base
    self._rate = context.sample_rate if context.sample_rate in _RATES else 48000
    self._layout, channels = _layout(context.channels)
    self.stream = container.add_stream('aac', rate=self._rate)
    self.stream.codec_context.layout = self._layout
    self.stream.codec_context.bit_rate = channels * min(
      _BIT_RATE, _BITS * self._rate
    )
    self._resampler = self._form = None
    self._next = None  # number of the next sample

  def add(self, packet):
    """Encodes and writes a packet of the input stream.

    Args:
      packet: PyAV's next packet; None ends the track.
    """
    try:
      frames = self._context.decode(packet)
    except self._av.FFmpegError:
      time = packet.pts if packet is not None and packet.pts else 0
      self._source.damage.append(time * self._unit)
      frames = []
    for frame in frames:
      self._convert(frame)
    if packet is None:
      self._flush()
      self._container.mux(self.stream.encode(None))

  def _convert(self, frame):
    form = frame.format.name, frame.layout.name, frame.sample_rate
    if form != self._form:
      self._flush()
      self._form = form
      self._resampler = self._av.AudioResampler(
        'fltp', self._layout, self._rate
      )
    frame.time_base = self._unit
    for piece in self._resampler.resample(frame):
      self._place(piece)

  def _flush(self):
    for piece in self._resampler.resample(None) if self._resampler else ():
      if piece is not None:
        self._place(piece)
    self._resampler = self._form = None

  def _place(self, piece):
    """Encodes samples at their time, after silence that fills a gap."""
    samples = piece.to_ndarray()
    late = 0
    if piece.pts is not None:
      time = piece.pts * piece.time_base - self._source.look.start
      number = round(time * self._rate)
      if self._next is None:
        self._next = number
      late = number - self._next
    if late > _LONGEST_GAP * self._rate:
      self._next = number
    elif late > _ROUNDING * self._rate:
      while late > 0:
        count = min(late, self._rate)
        self._encode(np.zeros((len(samples), count), samples.dtype))
        late -= count
    elif late < -_ROUNDING * self._rate:
      samples = samples[:, -late:]
    self._encode(samples)

  def _encode(self, samples):
    if not samples.size:
      return
    frame = self._av.AudioFrame.from_ndarray(
      np.ascontiguousarray(samples), 'fltp', self._layout
    )
    frame.sample_rate = self._rate
    self._next = self._next or 0
    frame.pts, frame.time_base = self._next, Fraction(1, self._rate)
    self._next += samples.shape[1]
    self._container.mux(self.stream.encode(frame))


def _layout(channels):
  """Returns (name, number of channels) of a layout that players support."""
  if channels >= 6:
    return '5.1', 6
  return ('stereo', 2) if channels > 1 else ('mono', 1)
