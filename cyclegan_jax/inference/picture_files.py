"""Reads pictures and writes translations, keeping bit depth and metadata."""

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

# --format -> Pillow's options for writing; None if Pillow does not write it.
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
_DEEP = ('png', 'tiff')  # formats that Pillow writes with 16 bits
# Colour space of an ICC profile -> number of channels of its pictures.
_SPACES = {'GRAY': 1, 'RGB': 3}


class Look(NamedTuple):
  """Size, type and metadata of an input picture, without its pixels.

  Attributes:
    size: (height, width) after EXIF rotation, as far as the header tells.
    bits: 16 for 16-bit grayscale, otherwise 8.
    profile: ICC profile of the picture as bytes, or None.
    dtype: NumPy type of the values in the file.
    file: path of the input, if its tags are to be copied to the translation;
      otherwise None.
    flat: if True, an array of one channel is written as [height, width].
  """

  size: tuple[int, int]
  bits: int = 8
  profile: bytes | None = None
  dtype: np.dtype = np.dtype(np.uint8)
  file: files.Path | None = None
  flat: bool = False


def look(picture, values, tally=None):
  """Reads the header of a picture and returns its `Look`.

  Args:
    picture: a `Picture`.
    values: `Values` (channels and value range) of the domain of the picture.
    tally: a `partly.Tally`, which records the picture if only a part of its
      data is used; or None.

  Raises:
    UserError: the file is not a picture, or the picture is too small or too
      large.
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
  """Reads the pixels of a picture, with EXIF rotation applied.

  Args:
    picture: a `Picture`.
    values: `Values` (channels and value range) of the domain of the picture.
    tally: a `partly.Tally`, which records the picture if values are clipped or
      few of its 16 bits are used; or None.

  Returns:
    float32 [height, width, channels] in [-1, 1].

  Raises:
    UserError: the picture cannot be read.
  """
  image = decode.decoded(picture, values)
  if tally:
    tally.add_span(picture.name, image.info.get(decode.SPAN))
    tally.add_outside(picture.name, image.info.get(raw.OUTSIDE))
  pixels = decode.resized(picture, image, values, image.size)
  return images.from_pixels(pixels)


def format_of(path):
  """Returns the name in `FORMATS` of a path's ending; None for others.

  Args:
    path: path of a file.
  """
  ending = formats.ending_of(pathlib.PurePath(path).name)[1:]
  ending = _ENDINGS.get(ending, ending)
  return ending if ending in FORMATS else None


def write(path, image, look, values):
  """Writes a translation to a file, completely or not at all.

  Args:
    path: path of the file, with the ending of a format in `FORMATS` that is not
      a format of volumes.
    image: [height, width, channels] in [-1, 1].
    look: the `Look` of the input. Its ICC profile is copied if it suits the
      number of channels: pixels are read without colour conversion, as in
      training, so translations are in the colour space of the input.
    values: `Values` (channels and value range) of the domain of `image`. Its
      range and type are written if the format can hold them.

  Raises:
    UserError: the format cannot hold the image, or the file cannot be written.
  """
  ending = format_of(path)
  if ending in _ARRAYS:
    _ARRAYS[ending](path, _typed(image, look, values), look.flat)
  elif ending == 'tiff' and _takes_tifffile(look, values):
    array_files.write_tiff(path, _typed(image, look, values), look.file)
  else:
    _write_by_pillow(path, ending, image, look, values)


def _typed(image, look, values):
  """Returns the values of an image in the range and type of its domain."""
  return values.of_image(image, made_type(values, look.dtype))


def _takes_tifffile(look, values):
  """Returns True if a TIFF has tags to copy or values that Pillow lacks."""
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
  except Exception as e:  # Pillow raises many types
    height, width = image.shape[:2]
    raise UserError(
      f'{path}: {width}x{height} cannot be written as {ending} '
      f'({str(e) or type(e).__name__}): choose another --format'
    ) from e
  return files.write(path, file.getvalue())


def _fits(profile, channels):
  """Returns True if an ICC profile suits a number of channels."""
  if not profile:
    return False
  try:
    space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
    return _SPACES.get(space.xcolor_space.strip()) == channels
  except (OSError, ImageCms.PyCMSError):
    return False


def side_by_side(made, values=(), show=()):
  """Returns images of equal height side by side, as one image.

  If gray and RGB images are mixed, gray is repeated to three channels.

  Args:
    made: images [height, width, channels] of the two domains in turn: input,
      translation, reconstruction.
    values: (`Values` of the first domain, of the second). If one domain is not
      `plain` (gray or RGB without a range of its own), all images are shown as
      RGB.
    show: (channels to show of the first domain, of the second), each one or
      three numbers counted from 1, or None for the choice of `images.shown`.

  Returns:
    [height, sum of the widths, channels].
  """
  if not all(x.plain for x in values):
    made = [images.shown(x, show[i % 2]) for i, x in enumerate(made)]
  channels = max(image.shape[-1] for image in made)
  return np.concatenate(
    [np.broadcast_to(x, (*x.shape[:2], channels)) for x in made], axis=1
  )
