"""Videos frame by frame, by FFmpeg."""

import warnings

import numpy as np
from tqdm import tqdm

from cyclegan_jax.common import files, images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.inference import picture_files

EXTENSIONS = ('.mp4', '.mov', '.avi', '.mkv', '.webm', '.m4v')


def ending(path):
  """The ending of a video's translation; None for other files."""
  return 'mp4' if path.suffix.lower() in EXTENSIONS else None


def translate(way, job, smooth=0.0):
  """Translates a video to one of its size, speed and sound.

  Args:
    way: a `batches.Way`.
    job: a `picture_files.Job`; a video that is there is left.
    smooth: share of the frame before in each frame, in [0, 1). Fades fast
      changes: against flicker, at the price of ghosts.

  Raises:
    UserError: FFmpeg is missing, or can't read or write it.
  """
  if job.output.exists():
    return
  ffmpeg = _ffmpeg()
  with (
    files.here(job.picture.data) as video,
    files.writing(job.output.parent),
    files.made(job.output) as output,
  ):
    try:
      frames = ffmpeg.read_frames(str(video))
      facts = next(frames)
    except (OSError, RuntimeError, StopIteration) as e:
      raise UserError(
        f'{job.picture.name}: FFmpeg cannot read it as a video: remove it or '
        'save it anew'
      ) from e
    try:
      made = _made(way, frames, facts, smooth)
      _write(ffmpeg, output, facts, video, made)
    except (OSError, RuntimeError) as e:
      raise UserError(
        f'{job.picture.name}: cannot be made into {job.output} ({_last(e)})'
      ) from e


def _ffmpeg():
  # JAX warns of processes started from threads; FFmpeg's run none of its code.
  warnings.filterwarnings('ignore', 'os.fork', RuntimeWarning)
  try:
    import imageio_ffmpeg
  except ImportError as e:
    raise UserError(
      "for videos FFmpeg is needed: pip install 'cyclegan_jax[video]'"
    ) from e
  return imageio_ffmpeg


def _made(way, frames, facts, smooth):
  """Yields frames, uint8 [height, width, 3]; several made go side by side."""
  width, height = facts['size']
  count = max(1, way.fits((height, width)))
  last = None
  for chunk in _chunks(frames, count):
    inputs = [_image(x, height, width, way.channels) for x in chunk]
    for image, made in zip(inputs, way.run(inputs, count)):
      if smooth and last is not None:
        made = [(1 - smooth) * x + smooth * y for x, y in zip(made, last)]
      last = made
      shown = [image, *made] if way.joined else made
      yield images.to_rgb(picture_files.side_by_side(shown))


def _chunks(items, count):
  chunk = []
  for item in items:
    chunk.append(item)
    if len(chunk) == count:
      yield chunk
      chunk = []
  if chunk:
    yield chunk


def _image(frame, height, width, channels):
  image = np.frombuffer(frame, np.uint8).reshape(height, width, 3)
  image = images.from_pixels(image)
  return image if channels == 3 else images.luminance(image)


def _write(ffmpeg, output, facts, video, made):
  """Encodes frames to a file, with the sound of the video."""
  total = round(facts.get('duration', 0) * facts['fps']) or None
  first = next(made, None)
  if first is None:
    raise RuntimeError('it has no frames')
  height, width = first.shape[:2]
  sound = {}
  if 'audio_codec' in facts:
    sound = {'audio_path': str(video), 'audio_codec': 'copy'}
  writer = ffmpeg.write_frames(
    str(output),
    (width, height),
    fps=facts['fps'],
    quality=8,
    macro_block_size=1,
    output_params=['-f', 'mp4'],  # the name may not tell
    # Every second pixel's colour only, as players expect, where sizes allow.
    pix_fmt_out='yuv444p' if height % 2 or width % 2 else 'yuv420p',
    **sound,
  )
  writer.send(None)
  with tqdm(total=total, unit='frame', disable=None) as bar:
    frame = first
    while frame is not None:
      writer.send(np.ascontiguousarray(frame))
      bar.update()
      frame = next(made, None)
  writer.close()


def _last(error):
  """The last line of an error, which is what FFmpeg says of it."""
  lines = str(error).strip().splitlines()
  return lines[-1].strip() if lines else type(error).__name__
