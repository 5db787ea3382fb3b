"""A translation whose file the user names, as --output=b.png does."""

import glob
import pathlib
import zlib

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import decode, formats
from cyclegan_jax.data.picture import named
from cyclegan_jax.inference import inputs, names, picture_files, video

_CHUNK = 2**20


def find(source, output, form='', both=False):
  """The job of one picture or video whose translation has a name.

  Args:
    source: what the user gave for --input.
    output: what the user gave for --output: a file if it ends as a picture or a
      video does, unless a folder of this name is there.
    form: what the user gave for --format; '' for nothing.
    both: whether `names.back` of the output is written too.

  Returns:
    A `inputs.Job`; None if `output` is a folder, or there is no such
    input.

  Raises:
    UserError: a name that does not fit the input or the format.
  """
  path, ending = (
    files.place(output),
    formats.ending_of(pathlib.PurePath(output).name),
  )
  is_named = ending in decode.EXTENSIONS or ending in video.EXTENSIONS
  if output.endswith('/') or path.is_dir():
    return None
  if not is_named:
    if path.is_file():
      raise UserError(
        f'--output={output} is a file: give a folder, or for one picture a '
        f'name such as {path.name}.png'
      )
    return None
  picture = files.place(source)
  if not picture.is_file():
    if picture.is_dir() or glob.has_magic(source):
      raise UserError(
        f'--output={output} is a file, and --input={source} may be several: '
        'give a folder, or the file of one picture'
      )
    return None
  if made := video.ending(picture):
    _check_video(output, ending, f'.{made}')
  elif formats.ending_of(picture.name) in decode.EXTENSIONS:
    _check_picture(output, ending, form)
  else:
    return None
  job = inputs.Job(named(picture), path)
  _check_apart(job, both)
  return job


def _check_video(output, ending, made):
  if ending != made:
    raise UserError(
      f'--output={output}: the translation of a video is a {made} file, so '
      f'give {pathlib.PurePath(output).with_suffix(made)}, or a folder'
    )


def _check_picture(output, ending, form):
  if ending in video.EXTENSIONS:
    raise UserError(f'--output={output} is a video, and --input a picture')
  made = picture_files.format_of(output)
  if made is None:
    raise UserError(
      f'--output={output}: pictures are written as '
      f'{", ".join(picture_files.FORMATS)}: give such an ending, or a folder'
    )
  if form and form != made:
    raise UserError(
      f'--format={form} and --output={output} do not go together: leave out '
      '--format, or give another name'
    )


def _check_apart(job, both):
  """Raises `UserError` if an output is the input itself, or a folder."""
  read = files.resolved(job.picture.data)
  for path in (job.output, names.back(job.output))[: 1 + both]:
    if files.resolved(path) == read or _is_linked(path, read):
      raise UserError(
        f'{path} (--output) is the input itself: give another name'
      )
    if path.is_dir():
      raise UserError(f'{path} (--output) is a folder: give another name')


def check_usable(job, values):
  """Raises `UserError` if the input is no picture; videos pass.

  Args:
    job: a `inputs.Job`.
    values: `Values` of its domain.
  """
  if inputs.is_volume(job):
    for picture in inputs.slices(job)[:1]:
      picture_files.read(picture, values)
  elif not video.ending(job.picture.data):
    picture_files.read(job.picture, values)


def _is_linked(path, other):
  """Returns True for two names of one file of this machine."""
  local = not files.remote(path) and not files.remote(other)
  return local and path.exists() and path.samefile(other)


def record(job):
  """The file beside the translation that holds what made it."""
  return job.output.with_name(job.output.name + '.translate.json')


def checksum(job):
  """CRC-32 of the input, as text.

  Raises:
    UserError: it can't be read.
  """
  crc = 0
  try:
    with job.picture.data.open('rb') as file:
      while chunk := file.read(_CHUNK):
        crc = zlib.crc32(chunk, crc)
  except OSError as e:
    raise UserError(
      f'{job.picture.name} (--input) cannot be read ({e.strerror})'
    ) from e
  return f'{crc:08x}'
