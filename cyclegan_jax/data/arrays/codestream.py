"""Reader of the image sizes that JPEG and JPEG 2000 headers declare.

A decoder allocates memory for the declared size before it reads any data, so
the size is checked first.
"""

from typing import NamedTuple

_JPEG, _JPEG_2000 = b'\xff\xd8', b'\xff\x4f\xff\x51'
# The JPEG markers that start a frame: C4, C8 and CC do not; F7 is JPEG-LS.
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length field
_LAST = {0xD9, 0xDA}  # the end of the picture, and the start of its data


class Declared(NamedTuple):
  """Size of an image, as declared by a stream's header.

  Attributes:
    width: width in pixels.
    height: height in pixels.
    channels: number of channels.
  """

  width: int
  height: int
  channels: int


def declared(data: bytes) -> Declared:
  """Returns the size that a JPEG, JPEG-LS or JPEG 2000 header declares.

  Args:
    data: the stream, or its first bytes up to the end of the header.

  Raises:
    ValueError: `data` is not such a stream, or is damaged or cut off.
  """
  if data.startswith(_JPEG_2000):
    return _jpeg_2000(data)
  if data.startswith(_JPEG):
    return _jpeg(data)
  raise ValueError('the compressed data is neither JPEG nor JPEG 2000')


def _jpeg_2000(data):
  # After two 2-byte markers: length (2 bytes), capabilities (2), then the
  # corners of the reference grid (4 each).
  right, bottom, left, top = (_number(data, 8 + 4 * i, 4) for i in range(4))
  return Declared(right - left, bottom - top, _number(data, 40, 2))


def _jpeg(data):
  place = 2
  while place + 4 <= len(data) and data[place] == 0xFF:
    marker = data[place + 1]
    if marker == 0xFF:  # a fill byte
      place += 1
    elif marker in _ALONE:
      place += 2
    elif marker in _FRAMES:
      height, width = _number(data, place + 5, 2), _number(data, place + 7, 2)
      return Declared(width, height, _number(data, place + 9, 1))
    elif marker in _LAST:
      break
    else:
      place += 2 + _number(data, place + 2, 2)
  raise ValueError('the JPEG data is damaged')


def _number(data, place, size):
  if place + size > len(data):
    raise ValueError('the compressed data is cut off')
  return int.from_bytes(data[place : place + size], 'big')
