"""Translates videos frame by frame, keeping frame times and sound."""

from tqdm import tqdm

from cyclegan_jax.common import files, images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.inference import (
  arrays,
  picture_files,
  video_reader,
  video_writer,
)

EXTENSIONS = ('.mp4', '.mov', '.avi', '.mkv', '.webm', '.m4v')


def ending(path):
  """Returns 'mp4' if a path has the ending of a video, otherwise None."""
  return 'mp4' if path.suffix.lower() in EXTENSIONS else None


def translate(way, job, smooth=0.0):
  """Translates a video to an MP4 file with its size, frame times and sound.

  Rotated frames are turned upright. Frames whose size differs from the first
  frame are scaled to the size of the first frame.

  Args:
    way: the `batches.Way`: model, direction and settings.
    job: the `inputs.Job` of the video. If its output exists, nothing is done.
    smooth: weight of the previous output frame in each output frame, in [0, 1).
      A larger weight reduces flicker, but leaves traces of moving objects.

  Raises:
    UserError: PyAV is not installed, the video cannot be read or written, or
      the model's pictures are not gray or RGB with values from 0 to 255. Also
      raised if parts of the video are damaged; the translation then exists and
      has the other parts.
  """
  if job.output.exists():
    return
  _check_values(way, job.picture.name)
  with (
    files.here(job.picture.data) as path,
    files.writing(job.output),
    files.made(job.output) as output,
  ):
    source = video_reader.Source(path, job.picture.name)
    _translate(way, source, output, smooth)
  if source.damage:
    first = float(max(0, min(source.damage) - source.look.start))
    raise UserError(
      f'damaged parts of {job.picture.name}, from {first:.1f} s on: all '
      f'other parts are translated, in {job.output}'
    )


def _check_values(way, name):
  for domain in way.direction.split('2'):
    values = way.model.values[domain]
    if values.channels not in (1, 3):
      raise UserError(
        f'{name}: the model has pictures of {values.channels} channels '
        f'(data.channels_{domain}), but videos are gray or RGB: give pictures'
      )
    arrays.check_bytes(
      values, f'{name}: videos have 8 bits, but the model is for other pictures'
    )


def _translate(way, source, output, smooth):
  parts = 1 + way.joined + way.reconstruct
  with (
    source.guarded(),
    source.opened() as (sounds, read),
    video_writer.created(output, source, parts, sounds) as writer,
    tqdm(total=source.look.total, unit='frame', disable=None) as bar,
  ):
    for image, frame in _made(way, read(writer.sound), source.look, smooth):
      writer.frame(images.to_rgb(image), frame.time, frame.length)
      bar.update()


def _made(way, frames, look, smooth):
  """Yields (output image, input frame); joined images are side by side."""
  count = max(1, way.fits(look.size))
  last = None
  for chunk in _chunks(frames, count):
    inputs = [_image(frame.pixels, way.channels) for frame in chunk]
    made_of_all = way.run(inputs, count)
    for frame, image, made in zip(chunk, inputs, made_of_all):
      if smooth and last is not None:
        made = [(1 - smooth) * x + smooth * y for x, y in zip(made, last)]
      last = made
      shown = [image, *made] if way.joined else made
      yield picture_files.side_by_side(shown), frame


def _chunks(items, count):
  chunk = []
  for item in items:
    chunk.append(item)
    if len(chunk) == count:
      yield chunk
      chunk = []
  if chunk:
    yield chunk


def _image(pixels, channels):
  image = images.from_pixels(pixels)
  return image if channels == 3 else images.luminance(image)
