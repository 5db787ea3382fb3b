"""Tags of a DICOM file, without the pixels."""

import logging
import os
import re
import struct
import warnings
from typing import Any, BinaryIO

_IMPLICIT = '1.2.840.10008.1.2'
_EXPLICIT = '1.2.840.10008.1.2.1'
_DEFLATED = '1.2.840.10008.1.2.1.99'
_BIG_ENDIAN = '1.2.840.10008.1.2.2'
_SYNTAX, _META = 0x00020010, 2  # a tag, and the group of tags it is in
_PIXELS = {
  0x7FE00008: 'FloatPixelData',
  0x7FE00009: 'DoubleFloatPixelData',
  0x7FE00010: 'PixelData',
}
_PIXEL_KINDS = (b'OB', b'OW', b'OF', b'OD', b'UN')
# As `warnings.filters` has it.
_IGNORE = ('ignore', None, Warning, re.compile('pydicom'), 0)


def dataset(file: BinaryIO, wanted: list[int]) -> tuple[Any, Any]:
  """Reads some tags, up to the pixels.

  Returns:
    (`pydicom.Dataset`, `pydicom.uid.UID` of the transfer syntax).

  Raises:
    ValueError: it is no DICOM file, or one that was compressed as a whole.
    Exception: pydicom's own, for a damaged file.
  """
  from pydicom import filereader, uid

  _quiet()
  filereader.read_preamble(file, force=True)
  start = file.tell()
  meta = filereader.read_dataset(
    file,
    is_implicit_VR=False,
    is_little_endian=True,
    stop_when=lambda tag, kind, length: tag >> 16 != _META,
  )
  syntax = uid.UID(meta.get('TransferSyntaxUID', None) or '')
  if not syntax:
    if not len(meta):
      file.seek(start)
    syntax = uid.UID(_guessed(file))
  if not syntax.is_transfer_syntax or syntax == _DEFLATED:
    # One that was deflated as a whole could be of any size.
    raise ValueError(f'transfer syntax {syntax.name} is not read')
  tags = filereader.read_dataset(
    file,
    is_implicit_VR=syntax.is_implicit_VR,
    is_little_endian=syntax.is_little_endian,
    stop_when=lambda tag, kind, length: tag in _PIXELS,
    specific_tags=list(wanted),
  )
  return tags, syntax


def pixels(file: BinaryIO, syntax: Any) -> tuple[str, str, int]:
  """Reads the start of the tag that `dataset` left the file at.

  Args:
    file: the file; it is left at the first byte of the pixels.
    syntax: its transfer syntax.

  Returns:
    (name, type, length in bytes) of the tag.

  Raises:
    ValueError: it is none of pixels.
  """
  order = '<' if syntax.is_little_endian else '>'
  start = file.read(12)
  # Some files are implicit, whatever they say.
  is_explicit = not syntax.is_implicit_VR and start[4:6] in _PIXEL_KINDS
  form = order + ('HH2sxxL' if is_explicit else 'HHL')
  if len(start) < struct.calcsize(form):
    raise ValueError('it has no picture')
  file.seek(struct.calcsize(form) - len(start), os.SEEK_CUR)
  group, element, *kind, length = struct.unpack_from(form, start)
  if (tag := group << 16 | element) not in _PIXELS:
    raise ValueError('it has no picture')
  return _PIXELS[tag], kind[0].decode('latin1') if kind else 'OW', length


def _guessed(file):
  """The transfer syntax of a file that does not name it."""
  place = file.tell()
  start = file.read(6)
  file.seek(place)
  if len(start) < 6 or 8 not in start[:2]:
    raise ValueError('it is no DICOM file')
  if not start[4:].isalpha():
    return _IMPLICIT
  return _EXPLICIT if start[0] else _BIG_ENDIAN


def _quiet():
  """Silences pydicom, which tells of each oddity of a file."""
  logging.getLogger('pydicom').setLevel(logging.CRITICAL + 1)
  # Once is not enough where a context has put other filters in place.
  if _IGNORE not in warnings.filters:
    warnings.filterwarnings('ignore', module=_IGNORE[3].pattern)
