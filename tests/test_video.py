"""Tests of videos: times, sizes, sound, colours and rotation are preserved."""

import gc
import sys
import types
from fractions import Fraction

import numpy as np
import psutil
import pytest
import tiny

from cyclegan_jax import translate
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.data import picture
from cyclegan_jax.data.picture import named
from cyclegan_jax.data.values import Values
from cyclegan_jax.inference import saved, video
from cyclegan_jax.inference.batches import Way
from cyclegan_jax.inference.inputs import Job

av = pytest.importorskip('av')
import videos  # noqa: E402

MS = Fraction(1, 1000)
EVEN = [Fraction(i, 30) for i in range(6)]
# Like a phone in the dark: frames last 1 to 3 thirtieths of a second.
STEPS = [1, 1, 2, 1, 3, 1, 1, 2, 3, 1] * 6
UNEVEN = [Fraction(sum(STEPS[:i]), 30) for i in range(len(STEPS))]
SECONDS = UNEVEN[-1] + Fraction(1, 30)
FLASHES = list(range(5, len(STEPS), 12))
BEEPS = [UNEVEN[i] for i in FLASHES]


class Model:
  """Stand-in for a model."""

  joins, multiple = True, 1
  method = types.SimpleNamespace(generators={})

  def __init__(self, make, channels=3):
    self._make = make
    self.channels = {'a': channels, 'b': channels}
    self.values = {d: Values(channels) for d in 'ab'}

  def translate_together(self, images, direction, count):
    del direction
    assert len(images) <= count
    return [self._make(image) for image in images]


@pytest.fixture
def way():
  """`Way` that inverts images."""
  return Way(Model(lambda image: -image), 'a2b', batch=4)


@pytest.fixture
def same():
  """`Way` that does not change images."""
  return Way(Model(lambda image: image), 'a2b', batch=4)


def translated(way, source, **options):
  """Translates a video and returns the path of the output."""
  output = source.parent / 'out' / f'{source.stem}.mp4'
  video.translate(way, Job(named(source), output), **options)
  return output


def facts(path):
  """Returns (size, pixel aspect, colour codes, rotation) of the first frame."""
  with av.open(str(path)) as file:
    stream = file.streams.video[0]
    frame = next(file.decode(stream))
    codes = frame.colorspace, frame.color_range
    size = frame.width, frame.height
    return size, stream.sample_aspect_ratio, codes, frame.rotation


@pytest.mark.parametrize('size', [(32, 24), (33, 21)])
def test_frames_keep_order_size_and_times(size, way, tmp_path):
  shown = videos.frames_at(UNEVEN[:11], size)
  source = videos.record(tmp_path / '1.mp4', shown)
  output = translated(way, source)
  assert videos.times(output) == videos.times(source) == UNEVEN[:11]
  light, dark = videos.pixels(source), videos.pixels(output)
  assert dark.shape == light.shape == (11, *size[::-1], 3)
  assert np.abs(dark + light).mean(axis=(1, 2, 3)).max() < 0.03
  again = translated(way, source.rename(tmp_path / '2.mp4'))
  assert again.read_bytes() == output.read_bytes()


@pytest.mark.parametrize(
  ('name', 'codec', 'pix_fmt', 'tick', 'sound', 'kept'),
  [
    ('1.mp4', 'libx264', 'yuv420p', videos.TICK, 'aac', True),
    ('1.mov', 'libx264', 'yuv420p', videos.TICK, 'pcm_s16le', False),
    ('1.mkv', 'libx264', 'yuv420p', MS, 'ac3', True),
    ('1.webm', 'libvpx', 'yuv420p', MS, 'libopus', False),
    ('1.avi', 'mjpeg', 'yuvj420p', Fraction(1, 30), 'pcm_s16le', False),
  ],
)
def test_sound_is_synchronous_with_frames_of_varying_duration(
  name, codec, pix_fmt, tick, sound, kept, same, tmp_path
):
  levels = [250 if i in FLASHES else 20 for i in range(len(STEPS))]
  if name == '1.avi':  # AVI has frames of equal duration only
    levels = [20 for _ in range(sum(STEPS))]
    for beep in BEEPS:
      levels[round(beep * 30)] = 250
  at = [Fraction(i, 30) for i in range(len(levels))]
  shown = videos.frames_at(at if name == '1.avi' else UNEVEN, levels=levels)
  late = Fraction(1, 2)
  beeps = videos.beeps(BEEPS, SECONDS)
  source = videos.record(
    tmp_path / name,
    shown,
    tick,
    codec,
    pix_fmt,
    sounds=[
      (sound, 0, beeps),
      (sound, late, beeps[:, round(late * videos.RATE) :]),
    ],
  )
  output = translated(same, source)
  times, before = videos.times(output), videos.times(source)
  assert len(times) == len(before)
  assert max(abs(x - y) for x, y in zip(times, before)) < MS
  light = videos.pixels(output).mean(axis=(1, 2, 3)) > 0
  assert light.sum() == len(BEEPS)
  flashes = np.array([float(t) for t, on in zip(times, light) if on])
  first = videos.onsets(output, 0)
  assert np.abs(np.array(first) - flashes).max() < 0.005
  second = np.array(videos.onsets(output, 1))
  assert np.abs(second - videos.onsets(source, 1)).max() < 0.005
  assert len(second) >= len(first) - 1
  if name != '1.avi':  # in AVI all sound starts at once
    assert np.abs(second - flashes[-len(second) :]).max() < 0.005
  with av.open(str(output)) as file:
    names = [x.codec_context.name for x in file.streams.audio]
    assert names == ([sound] * 2 if kept else ['aac'] * 2)
    assert abs(file.duration / 1e6 - float(SECONDS)) < 0.07


def test_gaps_in_sound_become_silence(same, tmp_path):
  shown = videos.frames_at([Fraction(i, 30) for i in range(60)])
  part = videos.beeps([0.2], 0.5)
  source = videos.record(
    tmp_path / '1.mkv', shown, MS, sounds=[('flac', 0, part)]
  )
  with (
    av.open(str(source)) as old,
    av.open(str(tmp_path / '2.mkv'), 'w') as new,
  ):
    made = {x: new.add_stream_from_template(x) for x in old.streams}
    for packet in old.demux():
      if packet.size:
        if packet.stream.type == 'audio' and packet.pts >= 100:
          packet.pts = packet.dts = packet.pts + 1000
        packet.stream = made[packet.stream]
        new.mux(packet)
  output = translated(same, tmp_path / '2.mkv')
  start, wave, rate = videos.samples(output)
  assert start == 0
  with av.open(str(output)) as file:  # for players that ignore times
    assert sum(x.samples for x in file.decode(audio=0)) >= 1.5 * rate
  assert np.abs(np.array(videos.onsets(output)) - 1.2).max() < 0.01


@pytest.mark.parametrize(
  ('frames', 'sound', 'shown', 'heard'),
  [
    (Fraction(3, 4), 0, Fraction(3, 4), 0.1),  # frames start after the sound
    (-EVEN[2], 0, 0, 0.1),  # an edit list cuts two frames off
    (3000, 3000, 0, 0.1),  # a part of a long recording
  ],
)
def test_start_times_are_kept(frames, sound, shown, heard, same, tmp_path):
  at = [frames + x for x in EVEN]
  source = videos.record(
    tmp_path / ('1.mkv' if frames == 3000 else '1.mp4'),
    videos.frames_at(at),
    MS if frames == 3000 else videos.TICK,
    sounds=[('aac', sound, videos.beeps([0.1], 0.5))],
  )
  output = translated(same, source)
  assert len(videos.times(output)) == len(videos.times(source))
  assert abs(videos.times(output)[0] - shown) < MS
  assert abs(videos.onsets(output)[0] - heard) < 0.005


def test_the_duration_of_the_last_frame_is_kept(same, tmp_path):
  source = tmp_path / '1.mp4'
  shown = videos.frames_at([0, Fraction(1, 2), 3])
  videos.record(source, shown, options={'crf': '1', 'bf': '0'})
  with (
    av.open(str(source)) as old,
    av.open(str(tmp_path / '2.mp4'), 'w') as new,
  ):
    made = new.add_stream_from_template(old.streams.video[0])
    packets = [x for x in old.demux() if x.size]
    packets[-1].duration = round(4 / videos.TICK)
    for packet in packets:
      packet.stream = made
      new.mux(packet)
  output = translated(same, tmp_path / '2.mp4')
  with av.open(str(output)) as file:
    assert abs(file.duration / 1e6 - 7) < 0.01


@pytest.mark.parametrize('codec', ['libx264', 'mpeg4'])
def test_reordered_frames_of_avi_are_translated(codec, same, tmp_path):
  levels = [10 * i for i in range(24)]
  source = videos.record(
    tmp_path / '1.avi',
    videos.frames_at([Fraction(i, 30) for i in range(24)], levels=levels),
    Fraction(1, 30),
    codec,
    'yuv420p',
    setup=lambda stream: setattr(stream.codec_context, 'max_b_frames', 2),
  )
  output = translated(same, source)
  assert videos.times(output) == [Fraction(i, 30) for i in range(24)]
  means = videos.pixels(output).mean(axis=(1, 2, 3))
  assert (np.diff(means) > -0.01).all()


@pytest.mark.parametrize(
  ('turn', 'corner', 'across'),
  [
    ((-90, False, False), 'top right', True),  # a phone held upright
    ((90, False, False), 'bottom left', True),
    ((180, False, False), 'bottom right', False),
    ((0, True, False), 'top right', False),  # a mirror
    ((90, True, False), 'bottom right', True),
  ],
)
def test_rotated_frames_become_upright(turn, corner, across, same, tmp_path):
  pixels = np.full((32, 48, 3), 60, np.uint8)
  pixels[:16, :16] = 250, 20, 20  # the top left
  degrees, hflip, vflip = turn

  def setup(stream):
    stream.set_display_rotation(degrees, hflip=hflip, vflip=vflip)
    stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

  shown = [(time, pixels) for time in EVEN]
  source = videos.record(tmp_path / '1.mp4', shown, setup=setup)
  output = translated(same, source)
  size, aspect, _, rotation = facts(output)
  assert size == ((32, 48) if across else (48, 32)) and rotation == 0
  assert aspect == (Fraction(3, 4) if across else Fraction(4, 3))
  red = videos.pixels(output)[-1][..., 0] > 0
  rows = slice(16) if 'top' in corner else slice(-16, None)
  columns = slice(16) if 'left' in corner else slice(-16, None)
  assert red[rows, columns].mean() > 0.9 and red.mean() < 0.2


@pytest.mark.parametrize('colour', [(250, 10, 10), (10, 240, 20), (0, 0, 255)])
@pytest.mark.parametrize(
  ('matrix', 'levels', 'pix_fmt'),
  [
    (1, 1, 'yuv420p'),
    (1, 2, 'yuv444p'),
    (6, 1, 'yuv420p'),
    (9, 1, 'yuv420p10le'),
    (2, 2, 'yuvj420p'),
    (2, 0, 'yuv420p'),
  ],
)
def test_colours_are_kept(colour, matrix, levels, pix_fmt, same, tmp_path):
  pixels = np.broadcast_to(np.array(colour, np.uint8), (24, 32, 3)).copy()

  def setup(stream):
    stream.codec_context.colorspace = matrix
    stream.codec_context.color_range = levels

  source = videos.record(
    tmp_path / '1.mp4',
    [(time, pixels) for time in EVEN],
    pix_fmt=pix_fmt,
    setup=setup,
  )
  output = translated(same, source)
  shown = (videos.pixels(output) + 1) * 127.5
  assert np.abs(shown - pixels).max() < 5
  _, _, codes, _ = facts(output)
  assert codes == (6 if matrix == 2 else matrix, 1)  # limited, for players


def test_sharp_edges_between_colours_are_kept(same, tmp_path):
  colours = np.array([(250, 10, 10), (10, 240, 20), (0, 0, 255)], np.uint8)
  row = np.repeat(colours[np.arange(8) % 3], 4, axis=0)
  pixels = np.broadcast_to(row, (24, 32, 3)).copy()
  shown = [(time, pixels) for time in EVEN]
  source = videos.record(tmp_path / '1.mp4', shown, pix_fmt='yuv420p')
  before, after = videos.pixels(source), videos.pixels(translated(same, source))
  assert np.abs(after - before).mean() * 127.5 < 3


def test_gray_models_use_luminance(tmp_path):
  gray = Way(Model(lambda image: -image, channels=1), 'a2b', batch=4)
  source = videos.record(tmp_path / '1.mp4', videos.frames_at(EVEN))
  dark = videos.pixels(translated(gray, source))
  assert np.abs(dark + videos.pixels(source)).max() < 0.05


@pytest.mark.parametrize(
  ('values', 'words'),
  [
    (Values(5), 'pictures of 5 channels .data.channels_a., .* give pictures'),
    (Values(3, (0.0,), (4095.0,)), 'data.range_a is 0 to 4095'),
  ],
)
def test_models_of_other_channels_or_ranges_refuse_videos(
  values, words, way, tmp_path
):
  source = videos.record(tmp_path / '1.mp4', videos.frames_at(EVEN))
  way.model.values['a'] = values
  with pytest.raises(UserError, match=f'1.mp4: .*{words}'):
    translated(way, source)
  assert not list(tmp_path.glob('out*'))


def test_frames_of_another_size_are_scaled(same, tmp_path):
  parts = [
    videos.record(
      tmp_path / f'{i}.mkv',
      videos.frames_at(EVEN, size, levels=[40 + 100 * i] * 6),
      MS,
      'mjpeg',
      'yuvj420p',
    )
    for i, size in enumerate([(32, 24), (80, 16)])
  ]
  with av.open(str(tmp_path / 'all.mkv'), 'w') as file:
    made = None
    for i, part in enumerate(parts):
      with av.open(str(part)) as old:
        made = made or file.add_stream_from_template(old.streams.video[0])
        for packet in old.demux():
          if packet.size:
            packet.pts = packet.dts = packet.pts + 200 * i
            packet.stream = made
            file.mux(packet)
  output = translated(same, tmp_path / 'all.mkv')
  shown = videos.pixels(output)
  assert shown.shape == (12, 24, 32, 3)
  assert (np.diff(shown.mean(axis=(1, 2, 3))) > 0.5).nonzero()[0] == [5]


def test_smoothing_averages_with_the_previous_frame(way, tmp_path):
  source = videos.record(tmp_path / '1.mp4', videos.frames_at(EVEN))
  light = videos.pixels(source)
  dark = videos.pixels(translated(way, source, smooth=0.5))
  level = -light[0].mean()
  for shown, frame in zip(dark[1:], light[1:]):
    level = 0.5 * -frame.mean() + 0.5 * level
    assert abs(shown.mean() - level) < 0.06


def test_reconstructions_can_be_side_by_side(way, tmp_path):
  source = videos.record(tmp_path / '1.mp4', videos.frames_at(EVEN))
  output = translated(way._replace(reconstruct=True, joined=True), source)
  shown = videos.pixels(output)
  assert shown.shape == (6, 24, 96, 3)
  left, middle, right = np.split(shown, 3, axis=2)
  assert abs(left.mean() + middle.mean()) < 0.03
  assert np.abs(left - right).mean() < 0.06


def test_undecodable_streams_are_left_out_with_a_warning(
  same, tmp_path, capsys
):
  beeps = videos.beeps([0.1], 0.5)
  sounds = [('aac', 0, beeps), ('ac3', 0, beeps)]
  shown = videos.frames_at([Fraction(i, 30) for i in range(15)])
  source = videos.record(tmp_path / '1.mkv', shown, MS, sounds=sounds)
  data = source.read_bytes()
  source.write_bytes(data.replace(b'A_AAC', b'A_ODD'))
  output = translated(same, source)
  with av.open(str(output)) as file:
    assert [x.codec_context.name for x in file.streams.audio] == ['ac3']
  assert '1.mkv: audio stream 1 is left out: FFmpeg' in capsys.readouterr().err
  output.unlink()
  source.write_bytes(data.replace(b'V_MPEG4/ISO/AVC', b'V_MPEG4/ISO/ODD'))
  with pytest.raises(UserError, match='1.mkv: FFmpeg has no decoder'):
    translated(same, source)


@pytest.mark.parametrize(('rate', 'layout'), [(8000, 'mono'), (96000, 'quad')])
def test_sound_of_any_rate_and_channels_is_kept(rate, layout, same, tmp_path):
  channels = av.AudioLayout(layout).nb_channels
  sound = np.repeat(videos.beeps([0.3], 0.6, rate)[:1], channels, axis=0)
  source = videos.record(
    tmp_path / '1.mkv',
    videos.frames_at([Fraction(i, 30) for i in range(18)]),
    MS,
    sounds=[('pcm_s16le', 0, sound, rate, layout)],
  )
  output = translated(same, source)
  assert abs(videos.onsets(output)[0] - 0.3) < 0.005


def test_a_name_that_looks_like_an_address_is_a_file(way, tmp_path):
  source = videos.record(tmp_path / '1.mp4', videos.frames_at(EVEN))
  source = source.rename(tmp_path / 'concat:1%d.mp4')
  assert len(videos.times(translated(way, source))) == 6


@pytest.mark.parametrize(
  'text',
  [
    'no video',
    '',
    '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n',
    "ffconcat version 1.0\nfile '{path}'\n",
  ],
)
def test_files_that_are_not_videos_are_refused(text, way, tmp_path):
  other = videos.record(tmp_path / 'other.mp4', videos.frames_at(EVEN))
  (tmp_path / '1.mp4').write_text(text.format(path=other))
  with pytest.raises(UserError, match='1.mp4: cannot be read as a video'):
    translated(way, tmp_path / '1.mp4')
  assert not list((tmp_path / 'out').iterdir())


def test_a_video_without_frames_is_refused(way, tmp_path):
  shown = videos.frames_at(EVEN)
  sounds = [('aac', 0, videos.beeps([], 0.5))]
  both = videos.record(tmp_path / 'both.mp4', shown, sounds=sounds)
  with (
    av.open(str(both)) as old,
    av.open(str(tmp_path / '1.mp4'), 'w') as new,
  ):
    made = new.add_stream_from_template(old.streams.audio[0])
    for packet in old.demux(audio=0):
      if packet.size:
        packet.stream = made
        new.mux(packet)
  with pytest.raises(UserError, match='1.mp4: it holds no video'):
    translated(way, tmp_path / '1.mp4')


def test_too_large_frames_are_refused(way, tmp_path, monkeypatch):
  source = videos.record(tmp_path / '1.mp4', videos.frames_at(EVEN))
  monkeypatch.setattr(picture, 'MAX_PIXELS', 32 * 24 - 1)
  with pytest.raises(UserError, match='1.mp4: .* 767 pixels'):
    translated(way, source)


def noise(rng, count=60):
  """Returns frames of noise, which take many bytes."""
  shape = (count, 48, 64, 3)
  frames = rng.integers(0, 255, shape, np.uint8)
  return [(Fraction(i, 30), frame) for i, frame in enumerate(frames)]


def test_damaged_parts_of_a_video_are_named(same, rng, tmp_path):
  source = videos.record(tmp_path / '1.mp4', noise(rng), options={'g': '5'})
  data = bytearray(source.read_bytes())
  middle = len(data) // 2
  data[middle : middle + 9000] = bytes(9000)
  source.write_bytes(data)
  with pytest.raises(
    UserError, match='damaged parts of .*1.mp4, from [01]'
  ) as e:
    translated(same, source)
  output = tmp_path / 'out' / '1.mp4'
  assert str(output) in str(e.value)
  times = videos.times(output)
  assert 30 < len(times) < 60 and times[-1] == Fraction(59, 30)


@pytest.mark.parametrize(
  ('name', 'codec', 'tick'),
  [('1.mkv', 'libx264', MS), ('1.avi', 'mjpeg', Fraction(1, 30))],
)
def test_a_truncated_video_is_translated_and_named(
  name, codec, tick, same, rng, tmp_path
):
  pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
  source = videos.record(tmp_path / name, noise(rng), tick, codec, pix_fmt)
  data = source.read_bytes()
  source.write_bytes(data[: len(data) // 2])
  with pytest.raises(UserError, match=f'damaged parts of .*{name}, from [01]'):
    translated(same, source)
  assert 20 < len(videos.times(tmp_path / 'out' / '1.mp4')) < 40


def test_a_failed_write_leaves_no_file(way, tmp_path, monkeypatch):
  source = videos.record(tmp_path / '1.mp4', videos.frames_at(EVEN))
  output = tmp_path / 'out' / '1.mp4'
  opened = av.open

  def full(name, *args, **options):
    if str(name).endswith('.part'):
      name = '/dev/full'
    return opened(name, *args, **options)

  monkeypatch.setattr(av, 'open', full)
  with pytest.raises(UserError, match=f'cannot write to {output}, No space'):
    translated(way, source)
  assert not list(output.parent.iterdir())


def test_a_stopped_translation_leaves_no_file(tmp_path):
  def stop(image):
    raise KeyboardInterrupt

  source = videos.record(tmp_path / '1.mp4', videos.frames_at(EVEN))
  with pytest.raises(KeyboardInterrupt):
    translated(Way(Model(stop), 'a2b'), source)
  assert not list((tmp_path / 'out').iterdir())


def test_memory_does_not_grow_with_the_video(tmp_path):
  taken = []

  def watch(image):
    taken.append(psutil.Process().memory_info().rss)
    return image

  shown = [
    (Fraction(i, 30), np.zeros((480, 640, 3), np.uint8)) for i in range(160)
  ]
  source = videos.record(tmp_path / '1.mp4', shown, pix_fmt='yuv420p')
  gc.disable()  # collects late, which would hide memory that is freed at once
  try:
    translated(Way(Model(watch), 'a2b'), source)
  finally:
    gc.enable()
  # Each of the 100 frames between would take a megabyte.
  assert taken[-1] - taken[59] < 40 * 2**20


def test_missing_pyav_names_the_install_command(way, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'av', None)
  job = Job(named(tmp_path / '1.mp4'), tmp_path / 'out' / '1.mp4')
  with pytest.raises(UserError, match='pip install av'):
    video.translate(way, job)


def test_the_program_translates_videos_among_pictures(tmp_path, capsys):
  source = tmp_path / 'in'
  videos.record(source / '1.mp4', videos.frames_at(EVEN))
  light = videos.pixels(source / '1.mp4')
  (source / 'bad.mp4').write_text('no video')
  folder = tiny.save_model(tmp_path / 'model')
  command = ['translate', f'--model={folder}', '--direction=a2b']
  command += [f'--input={source}', f'--output={tmp_path / "out"}']
  assert program.run(translate.main, command) == 2
  out, err = capsys.readouterr()
  assert '1 video:' in out and 'bad.mp4' in err
  made = tmp_path / 'out' / '1.mp4'
  fakes = saved.load(folder).translate(light, 'a2b')
  means = [x.mean(axis=(1, 2)) for x in (videos.pixels(made), fakes)]
  assert np.abs(means[0] - means[1]).max() < 0.15  # loss of the codec
  before = made.stat().st_mtime_ns
  assert program.run(translate.main, command) == 2
  assert made.stat().st_mtime_ns == before
  assert not list((tmp_path / 'out').glob('*.part'))
  capsys.readouterr()
  back = [x.replace('a2b', 'b2a') for x in command]
  assert program.run(translate.main, back) == 2
  assert 'with other direction' in capsys.readouterr().err
  assert program.run(translate.main, [*back, '--overwrite']) == 2
  fakes = saved.load(folder).translate(light, 'b2a')
  means = [x.mean(axis=(1, 2)) for x in (videos.pixels(made), fakes)]
  assert np.abs(means[0] - means[1]).max() < 0.15
