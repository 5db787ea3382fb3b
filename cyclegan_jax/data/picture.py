"""References to pictures that are not read yet, and checks of their sizes."""

from typing import NamedTuple

from PIL import Image

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data.fetched import Fetched

MIN_SIDE = 8
# 89 million. Pillow itself only raises an error at twice this number.
MAX_PIXELS: int = Image.MAX_IMAGE_PIXELS  # type: ignore[assignment]


class Cut(NamedTuple):
  """The part of a file of arrays that is one picture.

  Attributes:
    axis: axis of a volume along which slices are taken: 0, 1 or 2.
    number: number of the slice, from 0; None for a file that is one picture.
    pages: use of the pages of a TIFF file: 'first' (only the first page is
      read), 'channels' (each page is a channel) or 'slices' (each page is a
      picture).
  """

  axis: int = 2
  number: int | None = None
  pages: str = 'first'

  @property
  def text(self) -> str:
    """Suffix of a picture's name: '[AXIS,NUMBER]', such as '[2,17]'.

    '[NUMBER]' for a page of a TIFF file, '' for a file that is one picture.
    """
    if self.number is None:
      return ''
    axis = '' if self.pages == 'slices' else f'{self.axis},'
    return f'[{axis}{self.number}]'


class Picture(NamedTuple):
  """Reference to a picture that is not read yet.

  Attributes:
    name: name of the picture in errors, samples and test tables.
    data: path of the file, content of the file as bytes, or a `Fetched` object
      that returns these bytes.
    half: None for the whole picture; 0 or 1 for the left or right half of a
      side-by-side pair.
    cut: the part of a file of arrays that is the picture; the default for all
      other files.
  """

  name: str
  data: files.Path | bytes | Fetched
  half: int | None = None
  cut: Cut = Cut()


def named(file: files.Path) -> Picture:
  """Returns the `Picture` of a file, named by its path.

  A path with unprintable characters, such as line breaks, is escaped in the
  name.
  """
  name = str(file)
  return Picture(name if name.isprintable() else repr(name), file)


def check_size(picture: Picture, width: int, height: int) -> None:
  """Checks the size of a picture as stored in its file.

  Args:
    picture: the `Picture`.
    width: width of the whole picture in the file, in pixels.
    height: height, in pixels.

  Raises:
    UserError: the picture has more than `MAX_PIXELS` pixels, or a side of the
      picture or of its half is shorter than `MIN_SIDE` pixels.
  """
  if width * height > MAX_PIXELS:
    raise UserError(
      f'{picture.name}: {width}x{height} is too large, pictures may have at '
      f'most {MAX_PIXELS:,} pixels: remove it or make it smaller'
    )
  if picture.half is not None:
    width //= 2
  if min(width, height) < MIN_SIDE:
    raise UserError(
      f'{picture.name}: {width}x{height} is too small, pictures need at '
      f'least {MIN_SIDE}x{MIN_SIDE} pixels: remove it'
    )


def check_resized(picture: Picture, width: int, height: int) -> None:
  """Checks the size that a picture would be resized to.

  Args:
    picture: the `Picture`.
    width: width after resizing, in pixels.
    height: height after resizing, in pixels.

  Raises:
    UserError: the resized picture would have more than `MAX_PIXELS` pixels.
  """
  if width * height > MAX_PIXELS:
    raise UserError(
      f'{picture.name}: it would be resized to {width}x{height}, more than '
      f'{MAX_PIXELS:,} pixels: remove it or crop it'
    )


def unreadable(picture: Picture, error: Exception) -> UserError:
  """Returns the `UserError` for a picture that a library failed to read.

  Args:
    picture: the `Picture`.
    error: the exception of the library; its first line becomes the reason.
  """
  reason = 'no image format that is supported'
  if not isinstance(error, Image.UnidentifiedImageError):
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
  return UserError(
    f'{picture.name}: cannot be read as a picture ({reason}): '
    'remove it or save it again'
  )
