"""Float images in [-1, 1] to pictures a person can look at."""

import io

import numpy as np
from PIL import Image

_GAP = 2


def to_uint8(image):
  """[h, w, 1 or 3] in [-1, 1] -> uint8 [h, w, 3]."""
  pixels = np.clip(np.round((np.asarray(image) + 1) * 127.5), 0, 255)
  return np.broadcast_to(pixels.astype(np.uint8), (*image.shape[:2], 3))


def padded_size(size, multiple):
  """(height, width), each raised to the next multiple."""
  return tuple(-(-side // multiple) * multiple for side in size)


def pad_to_multiple(image, multiple):
  """Mirrors [..., h, w, c] up to multiples, as generators do by themselves."""
  size = image.shape[-3:-1]
  extra = [to - side for to, side in zip(padded_size(size, multiple), size)]
  pads = [(e // 2, e - e // 2) for e in extra]
  if not any(extra):
    return image
  return np.pad(image, [(0, 0)] * (image.ndim - 3) + [*pads, (0, 0)], 'reflect')


def crop_to(image, height, width):
  """The middle of [..., h, w, c], where `pad_to_multiple` put it."""
  top = (image.shape[-3] - height) // 2
  left = (image.shape[-2] - width) // 2
  return image[..., top : top + height, left : left + width, :]


def grid(rows):
  """Rows of images of any sizes -> one uint8 picture, white between them.

  Images of 64 pixels and less are shown larger, pixel by pixel.
  """
  cells = [[_zoom(to_uint8(image)) for image in row] for row in rows]
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
