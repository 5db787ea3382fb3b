"""Pictures from files and back to files, nothing of theirs lost on the way."""

import glob
import io
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from cyclegan_jax.common import files, images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import decode

# --format -> what Pillow is told, beside the name.
FORMATS = {
  'png': {},
  'jpg': {'quality': 95, 'subsampling': 0},
  'webp': {'lossless': True},
  'tiff': {'compression': 'tiff_deflate'},
}
_PILLOW_NAMES = {'jpg': 'JPEG'}
_DEEP = ('png', 'tiff')  # the formats here that keep 16 bits
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # of EXIF
# The space of an ICC profile -> the channels of the pictures it is for.
_SPACES = {'GRAY': 1, 'RGB': 3}


class Job(NamedTuple):
  """A picture to translate.

  Attributes:
    picture: a `decode.Picture`.
    output: where the translation goes, the ending of its format included.
  """

  picture: decode.Picture
  output: pathlib.Path


class Look(NamedTuple):
  """What of a picture is not in its pixels.

  Attributes:
    size: (height, width), upright as far as the header tells.
    bits: 16 for deep gray, else 8.
    profile: its ICC profile as bytes, or None.
  """

  size: tuple[int, int]
  bits: int
  profile: bytes | None


def find(source, output, ending, other=lambda path: None):
  """The pictures a user means, and where their translations go.

  Names and folders are kept: SOURCE/x/1.jpg becomes OUTPUT/x/1.png; where two
  would collide, both keep their ending too (1.jpg.png).

  Args:
    source: a file, a folder (with all below it), or a pattern with * ? [].
    output: the folder of the translations; it is left out of the search.
    ending: of the translations, such as 'png'.
    other: path -> the ending of what is made of a file that is no picture, or
      None for files to leave out.

  Returns:
    [Job], in the order of names.

  Raises:
    UserError: there is nothing to be found.
  """
  root, paths = _search(source)
  inside = files.resolved(output)
  if files.resolved(root) == inside:
    raise UserError(
      f'--output={output} is the folder of the pictures: give another one'
    )

  def made(path):
    return ending if path.suffix.lower() in decode.EXTENSIONS else other(path)

  paths = [p for p in paths if inside not in _behind(p).parents and made(p)]
  if not paths:
    raise UserError(
      f'no pictures in {source} (--input): it needs '
      f'{" ".join(decode.EXTENSIONS)} files'
    )
  names = [p.relative_to(root) for p in paths]
  wanted = [name.with_suffix(f'.{made(name)}') for name in names]
  lower = [str(name).lower() for name in wanted]
  jobs = []
  for path, name, short in zip(paths, names, wanted):
    if lower.count(str(short).lower()) > 1:
      short = name.with_name(f'{name.name}.{made(name)}')
    jobs.append(Job(decode.named(path), output / short))
  return jobs


def _search(source):
  """The folder that names are relative to, and all files."""
  path = files.place(source)
  if path.is_file():
    return path.parent, [path]
  if path.is_dir():
    return path, files.below(path)
  if not glob.has_magic(str(path)):
    raise UserError(f'no file or folder {source} (--input)')
  parts = path.parts
  fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
  root = type(path)(*parts[: min(fixed, len(parts) - 1)])
  if files.remote(path):
    if '**' in parts:
      raise UserError(f'{source} (--input): ** is not known in a bucket')
    return root, sorted(root.glob('/'.join(parts[fixed:])))
  found = glob.glob(str(path), recursive=True)
  return root, sorted(p for p in map(pathlib.Path, found) if p.is_file())


def _behind(path):
  """The path behind all links; a bucket has none among its pictures."""
  return path if files.remote(path) else path.resolve()


def look(picture):
  """Reads the header: a `Look`.

  Raises:
    UserError: it is no picture, or too small or too large.
  """
  with decode.opened(picture) as image:
    width, height = image.size
    # To look for a PNG's behind its pixels Pillow would decode these.
    known = image.format != 'PNG' or 'exif' in image.info
    turned = known and image.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE
    size = (width, height) if turned else (height, width)
    bits = 16 if image.mode.startswith('I') else 8
    return Look(size, bits, image.info.get('icc_profile'))


def read(picture, channels):
  """The pixels, upright: float32 [height, width, channels] in [-1, 1]."""
  return images.from_pixels(decode.load(picture, channels))


def write(path, image, bits=8, profile=None):
  """Writes an image, whole or not at all.

  Args:
    path: its ending is a name of `FORMATS`.
    image: [height, width, 1 or 3] in [-1, 1].
    bits: 16 keeps 16 bits of a gray image where the format can.
    profile: the ICC profile of the input. It is kept where it fits: the pixels
      went in as they are, as in training, and come out as they went in.
  """
  ending = path.suffix[1:]
  channels = image.shape[-1]
  deep = bits == 16 and channels == 1 and ending in _DEEP
  pixels = images.to_pixels(np.asarray(image), np.uint16 if deep else np.uint8)
  picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
  file = io.BytesIO()
  picture.save(
    file,
    _PILLOW_NAMES.get(ending, ending.upper()),
    icc_profile=profile if _fits(profile, channels) else None,
    **FORMATS[ending],
  )
  files.write(path, file.getvalue())


def _fits(profile, channels):
  """Whether an ICC profile is one for pictures of so many channels."""
  if not profile:
    return False
  try:
    space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
    return _SPACES.get(space.xcolor_space.strip()) == channels
  except (OSError, ImageCms.PyCMSError):
    return False


def side_by_side(images):
  """Images of equal heights in a row; gray beside colour becomes colour."""
  channels = max(image.shape[-1] for image in images)
  return np.concatenate(
    [np.broadcast_to(x, (*x.shape[:2], channels)) for x in images], axis=1
  )
