"""Pictures from files and back to files, nothing of theirs lost on the way."""

import functools
import io
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from cyclegan_jax.common import files, images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import decode, folders, headers
from cyclegan_jax.inference import names as names_of
from cyclegan_jax.inference import search

# --format -> what Pillow is told, beside the name.
FORMATS = {
  'png': {},
  'jpg': {'quality': 95, 'subsampling': 0},
  'webp': {'lossless': True},
  'tiff': {'compression': 'tiff_deflate'},
}
_PILLOW_NAMES = {'jpg': 'JPEG'}
_ENDINGS = {'jpeg': 'jpg', 'jpe': 'jpg', 'jfif': 'jpg', 'tif': 'tiff'}
_DEEP = ('png', 'tiff')  # the formats here that keep 16 bits
_RECORD = 'translate.json'  # the end of what translate writes beside pictures
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


def _nothing(_):
  """Makes nothing of its argument."""


def find(source, output, ending, other=_nothing, both=False, say=_nothing):
  """The pictures a user means, and where their translations go.

  Names and folders are kept: SOURCE/x/1.jpg becomes OUTPUT/x/1.png; where two
  would collide, both keep their ending too (1.jpg.png).

  Args:
    source: a file, a folder (with all below it), or a pattern with * ? [].
    output: the folder of the translations; it is left out of the search.
    ending: of the translations, such as 'png'.
    other: path -> the ending of what is made of a file that is no picture, or
      None for files to leave out.
    both: whether pictures that were translated there and back are written too.
    say: takes a line on the files that are left out.

  Returns:
    [Job], in the order of names.

  Raises:
    UserError: there is nothing to be found.
  """
  root, found = search.search(source)
  inside = files.resolved(output)
  if files.resolved(root) == inside:
    raise UserError(
      f'--output={output} is the folder of the pictures: give another one'
    )

  def made(path):
    return other(path) or ending

  def why_not(path):
    return None if other(path) else folders.reason(path)

  behind = functools.cache(_behind)
  paths, left_out = folders.divided(
    [(path, why) for path, why in found if not _within(path, inside, behind)],
    why_not,
  )
  left_out = [x for x in left_out if not x[0].name.endswith(_RECORD)]
  if not paths:
    needed = folders.needed(left_out)
    raise UserError(f'no pictures in {source} (--input): {needed}')
  if left_out:
    say(folders.summary(left_out))
  names = [p.relative_to(root) for p in paths]
  outputs = names_of.outputs(names, [made(name) for name in names], both)
  return [Job(decode.named(p), output / x) for p, x in zip(paths, outputs)]


def _behind(path):
  """The path behind all links; a bucket has none among its pictures."""
  return path if files.remote(path) else path.resolve()


def _within(path, folder, behind):
  """Returns True for a folder and paths below it, by links to folders too."""
  parent = behind(path.parent)
  return folder == parent / path.name or folder in (parent, *parent.parents)


def look(picture, tally=None):
  """Reads the header: a `Look`.

  Args:
    picture: a `decode.Picture`.
    tally: a `partly.Tally` to take note of the picture, or None.

  Raises:
    UserError: it is no picture, or too small or too large.
  """
  with decode.opened(picture) as image:
    header = headers.facts(picture, image)
    if tally:
      tally.add(picture.name, header)
    size = header.size[::-1]
    bits = 16 if image.mode.startswith('I') else 8
    return Look(size, bits, image.info.get('icc_profile'))


def read(picture, channels, tally=None):
  """The pixels, upright: float32 [height, width, channels] in [-1, 1]."""
  image = decode.decoded(picture, channels)
  if tally:
    tally.add_span(picture.name, image.info.get(decode.SPAN))
  pixels = decode.resized(picture, image, channels, image.size)
  return images.from_pixels(pixels)


def format_of(path):
  """The name of `FORMATS` that a file's ending stands for, or None."""
  ending = pathlib.PurePath(path).suffix[1:].lower()
  ending = _ENDINGS.get(ending, ending)
  return ending if ending in FORMATS else None


def write(path, image, bits=8, profile=None):
  """Writes an image, whole or not at all.

  Args:
    path: its ending stands for a name of `FORMATS`.
    image: [height, width, 1 or 3] in [-1, 1].
    bits: 16 keeps 16 bits of a gray image where the format can.
    profile: the ICC profile of the input. It is kept where it fits: the pixels
      went in as they are, as in training, and come out as they went in.

  Raises:
    UserError: the format has no such pictures, or the file can't be written.
  """
  ending = format_of(path)
  channels = image.shape[-1]
  deep = bits == 16 and channels == 1 and ending in _DEEP
  pixels = images.to_pixels(np.asarray(image), np.uint16 if deep else np.uint8)
  picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
  file = io.BytesIO()
  try:
    picture.save(
      file,
      _PILLOW_NAMES.get(ending, ending.upper()),
      icc_profile=profile if _fits(profile, channels) else None,
      **FORMATS[ending],
    )
  except Exception as e:  # Pillow raises all kinds
    height, width = image.shape[:2]
    raise UserError(
      f'{path}: {width}x{height} cannot be written as {ending} '
      f'({str(e) or type(e).__name__}): choose another --format'
    ) from e
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
