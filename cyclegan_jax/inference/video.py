"""Videos translated frame by frame, with their times and their sound."""

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
  """The ending of a video's translation; None for other files."""
  return 'mp4' if path.suffix.lower() in EXTENSIONS else None


def translate(way, job, smooth=0.0):
  """Translates a video to one of its size, sound and times of frames.

  Rotated frames become upright. Frames of another size than the first one are
  scaled to its size.

  Args:
    way: a `batches.Way`.
    job: a `inputs.Job`; a video that is there is left.
    smooth: share of the frame before in each frame, in [0, 1). Fades fast
      changes: against flicker, at the price of ghosts.

  Raises:
    UserError: PyAV is missing, or can't read or write it; or parts of it are
      damaged, and the translation has the others; or the model is for pictures
      that frames are not: of other channels than 1 or 3, or another range.
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
      f'damaged parts of {job.picture.name}, from {first:.1f} s on: all that '
      f'can be read is translated, in {job.output}'
    )


def _check_values(way, name):
  for domain in way.direction.split('2'):
    values = way.model.values[domain]
    if values.channels not in (1, 3):
      raise UserError(
        f'{name}: the model has pictures of {values.channels} channels '
        f'(data.channels_{domain}), and videos are gray or RGB: give pictures'
      )
    arrays.check_bytes(
      values, f'{name}: videos have 8 bits, and the model is for other pictures'
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
  """Yields (image, its frame); several made of one frame are side by side."""
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
