"""Pictures from files and back to files, nothing of theirs lost on the way."""

import io
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from cyclegan_jax.common import files, images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import decode, formats, headers, raw
from cyclegan_jax.data.arrays.base import ArrayFormat
from cyclegan_jax.inference import array_files, inputs
from cyclegan_jax.inference.arrays import made_type

# --format -> what Pillow is told, beside the name; None: it does not write it.
FORMATS = {
  'png': {},
  'jpg': {'quality': 95, 'subsampling': 0},
  'webp': {'lossless': True},
  'tiff': {'compression': 'tiff_deflate'},
  'npy': None,
  'npz': None,
  **dict.fromkeys(inputs.VOLUMES),
}
_ARRAYS = {'npy': array_files.write_npy, 'npz': array_files.write_npz}
_PILLOW_NAMES = {'jpg': 'JPEG'}
_ENDINGS = {'jpeg': 'jpg', 'jpe': 'jpg', 'jfif': 'jpg', 'tif': 'tiff'}
_DEEP = ('png', 'tiff')  # the formats here that keep 16 bits
# The space of an ICC profile -> the channels of the pictures it is for.
_SPACES = {'GRAY': 1, 'RGB': 3}


class Look(NamedTuple):
  """What of a picture is not in its pixels.

  Attributes:
    size: (height, width), upright as far as the header tells.
    bits: 16 for deep gray, else 8.
    profile: its ICC profile as bytes, or None.
    dtype: type of the values in the file.
    file: the file itself, where tags of it are kept, or None.
    flat: whether one channel is written without an axis of channels.
  """

  size: tuple[int, int]
  bits: int = 8
  profile: bytes | None = None
  dtype: np.dtype = np.dtype(np.uint8)
  file: files.Path | None = None
  flat: bool = False


def look(picture, values, tally=None):
  """Reads the header: a `Look`.

  Args:
    picture: a `Picture`.
    values: `Values` of its domain.
    tally: a `partly.Tally` to take note of the picture, or None.

  Raises:
    UserError: it is no picture, or too small or too large.
  """
  where = decode.open_by(picture, values)
  if isinstance(where, ArrayFormat):
    header = headers.of_arrays(picture, where, values)
    found = Look(
      header.size[::-1],
      dtype=raw.facts(picture, where).dtype,
      file=picture.data if raw.is_tiff(picture) else None,
      flat=header.bands == 1,
    )
  else:
    with where as image:
      header = headers.facts(picture, image, values)
      bits = 16 if image.mode.startswith('I') else 8
      found = Look(
        header.size[::-1],
        bits,
        image.info.get('icc_profile'),
        np.dtype(f'uint{bits}'),
        picture.data if raw.is_tiff(picture) else None,
      )
  if tally:
    tally.add(picture.name, header)
  return found


def read(picture, values, tally=None):
  """The pixels, upright: float32 [height, width, channels] in [-1, 1]."""
  image = decode.decoded(picture, values)
  if tally:
    tally.add_span(picture.name, image.info.get(decode.SPAN))
    tally.add_outside(picture.name, image.info.get(raw.OUTSIDE))
  pixels = decode.resized(picture, image, values, image.size)
  return images.from_pixels(pixels)


def format_of(path):
  """The name of `FORMATS` that a file's ending stands for, or None."""
  ending = formats.ending_of(pathlib.PurePath(path).name)[1:]
  ending = _ENDINGS.get(ending, ending)
  return ending if ending in FORMATS else None


def write(path, image, look, values):
  """Writes a translation, whole or not at all.

  Args:
    path: its ending stands for a name of `FORMATS`, but for those of volumes.
    image: [height, width, channels] in [-1, 1].
    look: the `Look` of the input. Its ICC profile is kept where it fits: the
      pixels went in as they are, as in training, and come out as they went in.
    values: `Values` of the image's domain, whose range and type are written
      where the format can.

  Raises:
    UserError: the format has no such pictures, or the file can't be written.
  """
  ending = format_of(path)
  if ending in _ARRAYS:
    _ARRAYS[ending](path, _typed(image, look, values), look.flat)
  elif ending == 'tiff' and _takes_tifffile(look, values):
    array_files.write_tiff(path, _typed(image, look, values), look.file)
  else:
    _write_by_pillow(path, ending, image, look, values)


def _typed(image, look, values):
  """Values of the range and type of a domain."""
  return values.of_image(image, made_type(values, look.dtype))


def _takes_tifffile(look, values):
  """Returns True for what Pillow can't write, and where tags are kept."""
  if look.file is not None and array_files.has_tifffile():
    return True
  deep = values.channels == 3 and values.dtype == 'uint16'
  return bool(values.low) or values.channels not in (1, 3) or deep


def _write_by_pillow(path, ending, image, look, values):
  channels = image.shape[-1]
  if FORMATS[ending] is None or channels not in (1, 3):
    raise UserError(
      f'{path}: a picture of {channels} '
      f'channel{"" if channels == 1 else "s"} cannot be written as {ending}: '
      'choose --format=tiff or npy'
    )
  if channels == 3 and values.dtype == 'uint16' and ending == 'png':
    return array_files.write_png(path, images.to_pixels(image, np.uint16))
  deep = channels == 1 and look.bits == 16 and ending in _DEEP
  pixels = images.to_pixels(np.asarray(image), np.uint16 if deep else np.uint8)
  picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
  file = io.BytesIO()
  try:
    picture.save(
      file,
      _PILLOW_NAMES.get(ending, ending.upper()),
      icc_profile=look.profile if _fits(look.profile, channels) else None,
      **FORMATS[ending],
    )
  except Exception as e:  # Pillow raises all kinds
    height, width = image.shape[:2]
    raise UserError(
      f'{path}: {width}x{height} cannot be written as {ending} '
      f'({str(e) or type(e).__name__}): choose another --format'
    ) from e
  return files.write(path, file.getvalue())


def _fits(profile, channels):
  """Whether an ICC profile is one for pictures of so many channels."""
  if not profile:
    return False
  try:
    space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
    return _SPACES.get(space.xcolor_space.strip()) == channels
  except (OSError, ImageCms.PyCMSError):
    return False


def side_by_side(made, values=(), show=()):
  """Images of equal heights in a row; gray beside colour becomes colour.

  Args:
    made: [input, translation, ...], each [height, width, channels]; more come
      from the two domains in turn.
    values: `Values` of both domains; pictures that are not plain are shown as
      RGB.
    show: channels of both domains to show, as `images.shown` takes them.
  """
  if not all(x.plain for x in values):
    made = [images.shown(x, show[i % 2]) for i, x in enumerate(made)]
  channels = max(image.shape[-1] for image in made)
  return np.concatenate(
    [np.broadcast_to(x, (*x.shape[:2], channels)) for x in made], axis=1
  )
