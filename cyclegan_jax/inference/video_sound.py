"""Sound of a video: copied where players of MP4 take it, else made into AAC."""

from fractions import Fraction

import numpy as np

from cyclegan_jax.inference import video_look

_COPIED = ('aac', 'mp3', 'ac3', 'eac3', 'alac')  # MP4 takes more; players don't
_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_BIT_RATE = 96_000  # per channel
_BITS = 4  # per sample, at most: AAC has no room for many more
_ROUNDING = 0.03  # seconds by which the times in a file may jump about
_LONGEST_GAP = 3600  # seconds that are filled with silence


def tracks(container, streams, source):
  """Adds tracks of sound to a container.

  Args:
    container: PyAV's, for output.
    streams: streams of sound, PyAV's.
    source: the `video_reader.Source` that they are of.

  Returns:
    {index of a stream: `Copied` or `Encoded`}. A stream that can't be decoded
    is left out with a warning.
  """
  made = {}
  for stream in streams:
    context = stream.codec_context
    if not (context and context.sample_rate and context.channels):
      source.warn(
        f'its stream {stream.index}, sound that FFmpeg cannot decode, is '
        'left out'
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
  """A track whose packets are written as they are."""

  def __init__(self, container, stream, source):
    self.stream = container.add_stream_from_template(stream)
    self._container = container
    self._shift = round(source.look.start / stream.time_base)
    self._last = self._next = None  # ticks: of a packet, and behind it

  def add(self, packet):
    """Writes a packet; None says that there are no more."""
    if packet is None:
      return
    time = packet.dts if packet.dts is not None else packet.pts
    time = (self._next or 0) if time is None else time - self._shift
    if self._last is not None and time <= self._last:
      return  # what an edit list cuts out is read, too
    self._last, self._next = time, time + (packet.duration or 0)
    packet.pts = packet.dts = time  # sound has no other order
    packet.stream = self.stream
    self._container.mux(packet)


class Encoded:
  """A track that is decoded and made into AAC.

  Gaps between the times of its packets become silence: many players take
  samples of AAC for ones without gaps.
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
    """Writes a packet; None says that there are no more."""
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
    """Encodes samples at their time, silence before them where some lack."""
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
  """Name and number of channels of what a track becomes; players know these."""
  if channels >= 6:
    return '5.1', 6
  return ('stereo', 2) if channels > 1 else ('mono', 1)
