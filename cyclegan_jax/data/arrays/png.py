"""PNGs of 16 bits: Pillow gives 8 of them for colours."""

import os
import struct

import numpy as np
from jaxtyping import UInt16

from cyclegan_jax.data.arrays import base
from cyclegan_jax.data.picture import Cut

_START = b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR'
_HEADER = struct.Struct('>IIBB')  # width, height, bits, kind of colour
_BITS = 16
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_RGB = 2
_RATIO = 1032  # the most that deflate saves


def facts(data: base.Data, cut: Cut) -> base.Facts:
  """Facts of a PNG of 16 bits; see `base.ArrayFormat`.

  Raises:
    ValueError: it is no PNG, has 8 bits, or is too large.
  """
  with base.opened(data) as file:
    start = file.read(len(_START) + _HEADER.size)
    size = file.seek(0, os.SEEK_END)
  if not start.startswith(_START) or len(start) < len(_START) + _HEADER.size:
    raise ValueError('it is no PNG')
  width, height, bits, kind = _HEADER.unpack_from(start, len(_START))
  if bits != _BITS or kind not in _CHANNELS:
    raise ValueError(f'it is no PNG of 16 bits, but of {bits}')
  base.check(width, height, _CHANNELS[kind])
  if width * height * _CHANNELS[kind] * _BITS // 8 > size * _RATIO:
    raise ValueError('it is cut off')
  return base.Facts(
    (width, height), _CHANNELS[kind], np.dtype(np.uint16), colour=kind == _RGB
  )


def read(
  data: base.Data, cut: Cut
) -> UInt16[np.ndarray, 'height width channels']:
  """Values of a PNG of 16 bits; see `base.ArrayFormat`.

  Raises:
    ValueError: as `facts`.
    Exception: imagecodecs' own, for a damaged file.
  """
  import imagecodecs

  (width, height), channels, dtype, *_ = facts(data, cut)
  with base.opened(data) as file:
    array = imagecodecs.png_decode(file.read())
  if array.dtype != dtype or array.size != height * width * channels:
    raise ValueError('a transparent colour of 16 bits: use an alpha channel')
  return array.reshape(height, width, channels)
