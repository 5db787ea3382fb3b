"""Handles an --output that names one file, such as --output=b.png."""

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
  """Returns the `inputs.Job` of an --output that names one file.

  Args:
    source: the value of --input.
    output: the value of --output. It names a file if its ending is one of a
      picture or video and no folder of this name exists.
    form: the value of --format; '' if not given.
    both: if True, the reconstruction is written as well.

  Returns:
    An `inputs.Job`. None if `output` names a folder, or if `source` does not
    exist or is not a picture or video.

  Raises:
    UserError: `output` does not fit the input or the format.
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
        f'--output={output} is a file, and --input={source} may be several '
        'files: give a folder, or the file of one picture'
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
      f'--output={output}: the translation of a video is a {made} file: '
      f'give {pathlib.PurePath(output).with_suffix(made)}, or a folder'
    )


def _check_picture(output, ending, form):
  if ending in video.EXTENSIONS:
    raise UserError(
      f'--output={output} is a video, and --input a picture: give a picture '
      'file'
    )
  made = picture_files.format_of(output)
  if made is None:
    raise UserError(
      f'--output={output}: pictures are written as '
      f'{", ".join(picture_files.FORMATS)}: use one of these endings, or give '
      'a folder'
    )
  if form and form != made:
    raise UserError(
      f'--format={form} and --output={output} name different formats: leave '
      'out --format, or give another name'
    )


def _check_apart(job, both):
  """Raises `UserError` if an output of a job is its input, or a folder."""
  read = files.resolved(job.picture.data)
  for path in (job.output, names.back(job.output))[: 1 + both]:
    if files.resolved(path) == read or _is_linked(path, read):
      raise UserError(
        f'{path} (--output) is the input itself: give another name'
      )
    if path.is_dir():
      raise UserError(f'{path} (--output) is a folder: give another name')


def check_usable(job, values):
  """Raises `UserError` if the input of a job cannot be read as a picture.

  Only the first slice of a volume is read. Videos are not checked.

  Args:
    job: an `inputs.Job`.
    values: `Values` (channels and value range) of the input domain.
  """
  if inputs.is_volume(job):
    for picture in inputs.slices(job)[:1]:
      picture_files.read(picture, values)
  elif not video.ending(job.picture.data):
    picture_files.read(job.picture, values)


def _is_linked(path, other):
  """Returns True if two local paths are names of the same file."""
  local = not files.remote(path) and not files.remote(other)
  return local and path.exists() and path.samefile(other)


def record(job):
  """Returns the path of a job's record: OUTPUT.translate.json.

  The record names the weights and settings that made the translation.

  Args:
    job: an `inputs.Job`.
  """
  return job.output.with_name(job.output.name + '.translate.json')


def checksum(job):
  """Returns the CRC-32 of the input file of a job, as 8 hexadecimal digits.

  Args:
    job: an `inputs.Job`.

  Raises:
    UserError: the input file cannot be read.
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
