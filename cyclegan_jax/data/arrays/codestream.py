"""Sizes that compressed streams declare: a decoder would trust them."""

from typing import NamedTuple

_JPEG, _JPEG_2000 = b'\xff\xd8', b'\xff\x4f\xff\x51'
# Of JPEG, C4, C8 and CC are no frames; F7 is JPEG-LS.
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_LAST = {0xD9, 0xDA}  # the picture's end, and its data


class Declared(NamedTuple):
  """Facts that a stream states."""

  width: int
  height: int
  channels: int


def declared(data: bytes) -> Declared:
  """Reads the header of a JPEG, JPEG-LS or JPEG 2000 stream.

  Raises:
    ValueError: it is no such stream.
  """
  if data.startswith(_JPEG_2000):
    return _jpeg_2000(data)
  if data.startswith(_JPEG):
    return _jpeg(data)
  raise ValueError('its compressed data is neither JPEG nor JPEG 2000')


def _jpeg_2000(data):
  # Behind the markers: length 2, capabilities 2, then the reference grid.
  right, bottom, left, top = (_number(data, 8 + 4 * i, 4) for i in range(4))
  return Declared(right - left, bottom - top, _number(data, 40, 2))


def _jpeg(data):
  place = 2
  while place + 4 <= len(data) and data[place] == 0xFF:
    marker = data[place + 1]
    if marker == 0xFF:  # a filler
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
  raise ValueError('its JPEG data is damaged')


def _number(data, place, size):
  if place + size > len(data):
    raise ValueError('its compressed data is cut off')
  return int.from_bytes(data[place : place + size], 'big')
