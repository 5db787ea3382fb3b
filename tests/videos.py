"""Writes and reads small videos by PyAV, for tests."""

from fractions import Fraction

import numpy as np

SIZE = (32, 24)  # width, height
TICK = Fraction(1, 15360)
RATE = 48000


def frames_at(times, size=SIZE, levels=None):
  """Returns [(time, uint8 frame)]; the default gray level repeats every 6."""
  shown = []
  for i, time in enumerate(times):
    level = levels[i] if levels else 40 * (i % 6)
    shown.append((time, np.full((*size[::-1], 3), level, np.uint8)))
  return shown


def beeps(times, seconds, rate=RATE):
  """Returns float32 [2, samples]: silence, and 50 ms beeps at the times."""
  sound = np.zeros(round(seconds * rate), np.float32)
  tone = 0.5 * np.sin(np.arange(rate // 20) * (2 * np.pi * 1000 / rate))
  for time in times:
    start = round(time * rate)
    part = sound[start : start + len(tone)]
    part[:] = tone[: len(part)]
  return np.stack([sound, sound])


def record(
  path,
  shown,
  tick=TICK,
  codec='libx264',
  pix_fmt='yuv444p',
  container=None,
  sounds=(),
  setup=lambda stream: None,
  options=None,
):
  """Writes a video.

  Args:
    path: path of the video; its ending decides the container by default.
    shown: [(seconds, uint8 [height, width, 3])].
    tick: unit of the written times, in seconds.
    codec: codec of the frames.
    pix_fmt: pixel format of the frames.
    container: name of the container.
    sounds: [(codec, start in seconds, float32 [channels, samples])], each
      followed by a rate and a layout if these are not the default.
    setup: function that is called with the stream before the first frame.
    options: options of the encoder.

  Returns:
    `path`.
  """
  import av

  height, width = shown[0][1].shape[:2]
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), 'w', format=container) as file:
    stream = file.add_stream(
      codec,
      rate=30,
      width=width,
      height=height,
      time_base=tick,
      options=options or ({'crf': '1'} if codec == 'libx264' else {}),
    )
    stream.codec_context.pix_fmt = pix_fmt
    stream.codec_context.thread_count = 1
    setup(stream)
    tracks = []
    for name, _, _, *form in sounds:
      rate, layout = form or (RATE, 'stereo')
      tracks.append(file.add_stream(name, rate=rate))
      tracks[-1].codec_context.layout = layout
    for seconds, pixels in shown:
      frame = av.VideoFrame.from_ndarray(pixels)
      context = stream.codec_context
      frame = frame.reformat(
        format=pix_fmt,
        dst_colorspace={1: 1, 9: 9}.get(context.colorspace, 5),
        dst_color_range=context.color_range or 1,
      )
      frame.pts = round(Fraction(seconds) / tick)
      frame.time_base = tick
      file.mux(stream.encode(frame))
    file.mux(stream.encode(None))
    for track, (_, start, samples, *_) in zip(tracks, sounds):
      _sound(file, track, start, samples)
  return path


def _sound(file, track, start, samples):
  import av

  context = track.codec_context
  form, layout, rate = context.format.name, context.layout.name, context.rate
  resampler = av.AudioResampler(form, layout, rate)
  for begin in range(0, samples.shape[1], 960):
    part = np.ascontiguousarray(samples[:, begin : begin + 960])
    frame = av.AudioFrame.from_ndarray(part, 'fltp', layout)
    frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
    frame.pts = round(start * rate) + begin
    for piece in resampler.resample(frame):
      file.mux(track.encode(piece))
  file.mux(track.encode(None))


def times(path):
  """Returns the time of every frame in seconds, as fractions."""
  import av

  with av.open(str(path)) as file:
    unit = file.streams.video[0].time_base
    return [frame.pts * unit for frame in file.decode(video=0)]


def pixels(path):
  """Returns float frames [frame, height, width, 3] in [-1, 1]."""
  import av

  with av.open(str(path)) as file:
    shown = [frame.to_ndarray(format='rgb24') for frame in file.decode(video=0)]
  return np.stack(shown).astype(np.float32) / 127.5 - 1


def samples(path, track=0):
  """Returns (time of the first sample, [samples]) of a channel of a track.

  Samples in gaps between packets are 0.
  """
  import av

  with av.open(str(path)) as file:
    stream = file.streams.audio[track]
    rate, start, pieces = stream.rate, None, []
    for frame in file.decode(stream):
      piece = frame.to_ndarray()
      piece = piece[0] if frame.format.is_planar else piece[0, ::2]
      if piece.dtype == np.int16:
        piece = piece / 32768
      number = round(frame.pts * frame.time_base * rate)
      start = number if start is None else start
      lack = number - start - sum(map(len, pieces))
      pieces += [np.zeros(max(0, lack)), piece]
  return Fraction(start, rate), np.concatenate(pieces), rate


def onsets(path, track=0):
  """Returns the times at which beeps begin, in seconds."""
  start, wave, rate = samples(path, track)
  window = rate // 1000
  loud = np.abs(wave[: len(wave) // window * window]).reshape(-1, window)
  loud = loud.max(axis=1) > 0.15
  found, quiet = [], 100
  for i, now in enumerate(loud):
    if now and quiet >= 20:
      found.append(float(start) + i / 1000)
    quiet = 0 if now else quiet + 1
  return found
