"""Videos: size, speed and sound are kept, frames are translated in order."""

import numpy as np
import pytest
import tiny

from cyclegan_jax import translate
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.data.decode import named
from cyclegan_jax.inference import saved, video
from cyclegan_jax.inference.batches import Way
from cyclegan_jax.inference.picture_files import Job

ffmpeg = pytest.importorskip('imageio_ffmpeg')
# Of FFmpeg's pipes, which its library leaves to Python to close.
pytestmark = pytest.mark.filterwarnings(
  'ignore:os.fork',
  'ignore::ResourceWarning',
  'ignore::pytest.PytestUnraisableExceptionWarning',
)
RATE, FRAMES = 8, 6


def record(path, size=(32, 24), **options):
  """A video whose frames get lighter, then darker at once."""
  writer = ffmpeg.write_frames(
    str(path), size, fps=RATE, quality=10, macro_block_size=1, **options
  )
  writer.send(None)
  for i in range(FRAMES):
    level = 40 * i if i < FRAMES - 1 else 0
    writer.send(np.full((*size[::-1], 3), level, np.uint8))
  writer.close()
  return path


def frames(path):
  """Facts, and float frames [frame, height, width, 3] in [-1, 1]."""
  reader = ffmpeg.read_frames(str(path))
  facts = next(reader)
  width, height = facts['size']
  shown = [np.frombuffer(x, np.uint8) for x in reader]
  shown = np.stack(shown).reshape(-1, height, width, 3)
  return facts, shown.astype(np.float32) / 127.5 - 1


class Negative:
  """Stands for a model: turns light to dark."""

  joins, multiple = True, 1
  channels = {'a': 3, 'b': 3}

  class method:
    generators = {}

  def translate_together(self, images, direction, count):
    del direction
    assert len(images) <= count
    return [-image for image in images]


@pytest.fixture
def way():
  return Way(Negative(), 'a2b', batch=4)


@pytest.mark.parametrize('size', [(32, 24), (33, 21)])
def test_frames_keep_order_size_and_speed(size, way, tmp_path):
  source = record(tmp_path / '1.avi', size, pix_fmt_out='yuv444p')
  before, light = frames(source)
  video.translate(way, Job(named(source), tmp_path / 'out' / '1.mp4'))
  after, dark = frames(tmp_path / 'out' / '1.mp4')
  assert after['size'] == before['size'] and after['fps'] == RATE
  assert len(dark) == FRAMES
  assert np.abs(dark + light).mean(axis=(1, 2, 3)).max() < 0.06


def test_smoothing_mixes_in_the_frame_before(way, tmp_path):
  source = record(tmp_path / '1.mp4')
  _, light = frames(source)
  video.translate(way, Job(named(source), tmp_path / 'o' / '1.mp4'), smooth=0.5)
  _, dark = frames(tmp_path / 'o' / '1.mp4')
  level = -light[0].mean()
  for shown, frame in zip(dark[1:], light[1:]):
    level = 0.5 * -frame.mean() + 0.5 * level
    assert abs(shown.mean() - level) < 0.06


def test_sound_is_kept(way, tmp_path):
  import subprocess

  silent = record(tmp_path / 'silent.mp4')
  source = tmp_path / '1.mp4'
  tone = ['-f', 'lavfi', '-i', 'sine=duration=0.5']
  subprocess.run(
    [ffmpeg.get_ffmpeg_exe(), '-v', 'error', '-i', silent, *tone, source],
    check=True,
  )
  video.translate(way, Job(named(source), tmp_path / 'out' / '1.mp4'))
  facts, _ = frames(tmp_path / 'out' / '1.mp4')
  assert facts['audio_codec'] == 'aac'


def test_side_by_side_and_reconstruction(way, tmp_path):
  source = record(tmp_path / '1.mp4')
  job = Job(named(source), tmp_path / 'out' / '1.mp4')
  video.translate(way._replace(reconstruct=True, joined=True), job)
  facts, shown = frames(tmp_path / 'out' / '1.mp4')
  assert facts['size'] == (96, 24)
  left, middle, right = np.split(shown, 3, axis=2)
  assert abs(left.mean() + middle.mean()) < 0.03
  assert np.abs(left - right).mean() < 0.06


def test_what_is_no_video(way, tmp_path):
  (tmp_path / '1.mp4').write_text('no video')
  job = Job(named(tmp_path / '1.mp4'), tmp_path / 'out' / '1.mp4')
  with pytest.raises(UserError, match='1.mp4: FFmpeg cannot read'):
    video.translate(way, job)


def test_ffmpeg_is_missing(way, tmp_path, monkeypatch):
  import sys

  monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
  job = Job(named(tmp_path / '1.mp4'), tmp_path / 'out' / '1.mp4')
  with pytest.raises(UserError, match=r'cyclegan_jax\[video\]'):
    video.translate(way, job)


def test_the_program_takes_videos_among_pictures(tmp_path, capsys):
  source = tmp_path / 'in'
  source.mkdir()
  _, light = frames(record(source / '1.mp4'))
  (source / 'bad.mp4').write_text('no video')
  folder = tiny.save_model(tmp_path / 'model')
  command = ['translate', f'--model={folder}', '--direction=a2b']
  command += [f'--input={source}', f'--output={tmp_path / "out"}']
  assert program.run(translate.main, command) == 2
  out, err = capsys.readouterr()
  assert '1 video:' in out and 'bad.mp4' in err
  _, shown = frames(tmp_path / 'out' / '1.mp4')
  fakes = saved.load(folder).translate(light, 'a2b')
  means = [x.mean(axis=(1, 2)) for x in (shown, fakes)]
  assert np.abs(means[0] - means[1]).max() < 0.15  # the codec's loss
  made = (tmp_path / 'out' / '1.mp4').stat().st_mtime_ns
  assert program.run(translate.main, command) == 2
  assert (tmp_path / 'out' / '1.mp4').stat().st_mtime_ns == made
  assert not list((tmp_path / 'out').glob('*.part'))
  capsys.readouterr()
  back = [x.replace('a2b', 'b2a') for x in command]
  assert program.run(translate.main, back) == 2
  assert 'by other direction' in capsys.readouterr().err
  assert program.run(translate.main, [*back, '--overwrite']) == 2
  _, shown = frames(tmp_path / 'out' / '1.mp4')
  fakes = saved.load(folder).translate(light, 'b2a')
  means = [x.mean(axis=(1, 2)) for x in (shown, fakes)]
  assert np.abs(means[0] - means[1]).max() < 0.15
