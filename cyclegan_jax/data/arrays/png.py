"""Reader of 16-bit PNGs, because Pillow reduces colours to 8 bits."""

import os
import struct

import numpy as np
from jaxtyping import UInt16

from cyclegan_jax.data.arrays import base
from cyclegan_jax.data.picture import Cut

_START = b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR'
_HEADER = struct.Struct('>IIBB')  # width, height, bits, colour type
_BITS = 16
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type
_RGB = 2
_RATIO = 1032  # the highest compression ratio of deflate


def facts(data: base.Data, cut: Cut) -> base.Facts:
  """Returns the facts in the header of a 16-bit PNG.

  Args:
    data: the path of the file, or its bytes.
    cut: not used; the file is one picture.

  Raises:
    ValueError: the file is not a PNG, does not have 16 bits per value, is too
      large or cut off.
  """
  with base.opened(data) as file:
    start = file.read(len(_START) + _HEADER.size)
    size = file.seek(0, os.SEEK_END)
  if not start.startswith(_START) or len(start) < len(_START) + _HEADER.size:
    raise ValueError('not a PNG')
  width, height, bits, kind = _HEADER.unpack_from(start, len(_START))
  if bits != _BITS or kind not in _CHANNELS:
    raise ValueError(f'not a 16-bit PNG, but one of {bits} bits')
  base.check(width, height, _CHANNELS[kind])
  if width * height * _CHANNELS[kind] * _BITS // 8 > size * _RATIO:
    raise ValueError('the file is cut off')
  return base.Facts(
    (width, height), _CHANNELS[kind], np.dtype(np.uint16), colour=kind == _RGB
  )


def read(
  data: base.Data, cut: Cut
) -> UInt16[np.ndarray, 'height width channels']:
  """Returns the values of a 16-bit PNG.

  Args:
    data: the path of the file, or its bytes.
    cut: not used; the file is one picture.

  Raises:
    ValueError: the file is not a PNG of 16 bits per value, is too large or cut
      off; or the file declares one colour transparent.
    Exception: any error of imagecodecs, if the file is damaged.
  """
  import imagecodecs

  (width, height), channels, dtype, *_ = facts(data, cut)
  with base.opened(data) as file:
    array = imagecodecs.png_decode(file.read())
  if array.dtype != dtype or array.size != height * width * channels:
    raise ValueError(
      'a transparent colour is not supported in a 16-bit PNG: use an alpha '
      'channel'
    )
  return array.reshape(height, width, channels)
