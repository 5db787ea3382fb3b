"""Pictures that have not been read yet, and the sizes that they may have."""

from typing import NamedTuple

from PIL import Image

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data.fetched import Fetched

MIN_SIDE = 8
# 89 million; Pillow itself stops at twice.
MAX_PIXELS: int = Image.MAX_IMAGE_PIXELS  # type: ignore[assignment]


class Cut(NamedTuple):
  """The part of a file of arrays that is one picture.

  Attributes:
    axis: of a volume, the axis that slices are taken along: 0, 1 or 2.
    number: of the slice, from 0; None for a file that is one picture.
    pages: of a TIFF: 'first', 'channels' (each page is a channel) or 'slices'.
  """

  axis: int = 2
  number: int | None = None
  pages: str = 'first'

  @property
  def text(self) -> str:
    """The slice as names of pictures have it, '[2,17]'; '' for none."""
    if self.number is None:
      return ''
    axis = '' if self.pages == 'slices' else f'{self.axis},'
    return f'[{axis}{self.number}]'


class Picture(NamedTuple):
  """A picture that has not been read yet.

  Attributes:
    name: what errors, samples and test tables call it.
    data: its file, its encoded bytes, or what fetches these.
    half: None for the whole picture; 0 or 1 for the left or right half of a
      side-by-side pair.
    cut: the part of a file of arrays; the default for other files.
  """

  name: str
  data: files.Path | bytes | Fetched
  half: int | None = None
  cut: Cut = Cut()


def named(file: files.Path) -> Picture:
  """A picture called by its path, on one line whatever that holds."""
  name = str(file)
  return Picture(name if name.isprintable() else repr(name), file)


def check_size(picture: Picture, width: int, height: int) -> None:
  """Raises `UserError` for a size in the file that is too large or small."""
  if width * height > MAX_PIXELS:
    raise UserError(
      f'{picture.name}: {width}x{height} is too large, pictures may have '
      f'{MAX_PIXELS:,} pixels: remove it or make it smaller'
    )
  if picture.half is not None:
    width //= 2
  if min(width, height) < MIN_SIDE:
    raise UserError(
      f'{picture.name}: {width}x{height} is too small, pictures need at '
      f'least {MIN_SIDE}x{MIN_SIDE} pixels: remove it'
    )


def check_resized(picture: Picture, width: int, height: int) -> None:
  """Raises `UserError` for a size that is too large to resize a picture to."""
  if width * height > MAX_PIXELS:
    raise UserError(
      f'{picture.name}: it would be resized to {width}x{height}, more than '
      f'{MAX_PIXELS:,} pixels: remove it or cut it'
    )


def unreadable(picture: Picture, error: Exception) -> UserError:
  """The error for a picture that its reader refused."""
  reason = 'no image format known here'
  if not isinstance(error, Image.UnidentifiedImageError):
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
  return UserError(
    f'{picture.name}: cannot be read as a picture ({reason}): '
    'remove it or save it anew'
  )
