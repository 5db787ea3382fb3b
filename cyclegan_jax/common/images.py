"""Images in [-1, 1]: to and from pixels, padded, cropped, shown in a grid.

What is said of arrays holds for NumPy's and for JAX's.
"""

import io

import numpy as np
from PIL import Image

HALF_RANGE = 127.5  # of 8 bits: pixel / HALF_RANGE - 1 is in [-1, 1]
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow turns colours to gray
_GAP = 2


def from_pixels(pixels, out=None):
  """Pixels in [0, 255] as an image in [-1, 1].

  Args:
    pixels: an array of any shape, of integers or floats.
    out: a float32 array of NumPy to write to, for speed.

  Returns:
    float32, of the shape of `pixels`.
  """
  if out is None:
    return pixels.astype('float32') / HALF_RANGE - 1
  np.divide(pixels, HALF_RANGE, out=out, dtype=np.float32)
  out -= 1
  return out


def to_levels(image, top=255):
  """An image in [-1, 1] on the scale from 0 to `top`, not rounded."""
  return (image + 1) * (top / 2)


def to_pixels(image, dtype=np.uint8):
  """An image in [-1, 1] as integers from 0 to the largest of their type.

  Args:
    image: a float array of any shape.
    dtype: np.uint8 or np.uint16.

  Returns:
    An array of that type and of the shape of `image`.
  """
  top = np.iinfo(dtype).max
  return to_levels(image, top).round().clip(0, top).astype(dtype)


def to_rgb(image):
  """An image [h, w, 1 or 3] in [-1, 1] as uint8 [h, w, 3]."""
  pixels = to_pixels(np.asarray(image))
  return np.broadcast_to(pixels, (*image.shape[:2], 3))


def luminance(image):
  """The luminance [..., 1] of an RGB image [..., 3], in the same range."""
  return (image @ np.asarray(_LUMA, image.dtype))[..., None]


def margins(size, multiple):
  """Pixels to add for (height, width) to become multiples.

  Returns:
    ((above, below), (left, right)).
  """
  extra = [-(-side // multiple) * multiple - side for side in size]
  return tuple((x // 2, x - x // 2) for x in extra)


def padded_size(size, multiple):
  """(height, width), each raised to the next multiple."""
  return tuple(
    side + sum(pads) for side, pads in zip(size, margins(size, multiple))
  )


def pad_to_multiple(image, multiple):
  """Mirrors a NumPy image [h, w, c] up to multiples; `crop_to` undoes it."""
  pads = margins(image.shape[:2], multiple)
  return np.pad(image, [*pads, (0, 0)], 'reflect') if np.any(pads) else image


def crop_to(image, height, width):
  """The middle of [..., h, w, c], where `pad_to_multiple` put it."""
  top = (image.shape[-3] - height) // 2
  left = (image.shape[-2] - width) // 2
  return image[..., top : top + height, left : left + width, :]


def grid(rows):
  """Rows of images of any sizes -> one uint8 picture, white between them.

  Images of 64 pixels and less are shown larger, pixel by pixel.
  """
  cells = [[_zoom(to_rgb(image)) for image in row] for row in rows]
  lines = []
  for row in cells:
    height = max(cell.shape[0] for cell in row) + _GAP
    lines.append(
      np.concatenate([_pad(c, height, c.shape[1] + _GAP) for c in row], axis=1)
    )
  width = max(line.shape[1] for line in lines)
  picture = np.concatenate([_pad(x, x.shape[0], width) for x in lines])
  return picture[:-_GAP, :-_GAP]


def _zoom(picture, at_least=128):
  times = max(1, at_least // max(picture.shape[:2]))
  return picture.repeat(times, axis=0).repeat(times, axis=1)


def _pad(picture, height, width):
  white = np.full((height, width, 3), 255, np.uint8)
  white[: picture.shape[0], : picture.shape[1]] = picture
  return white


def png(picture):
  """A uint8 [h, w, 3] picture as the bytes of a PNG file."""
  file = io.BytesIO()
  Image.fromarray(picture).save(file, 'PNG')
  return file.getvalue()
