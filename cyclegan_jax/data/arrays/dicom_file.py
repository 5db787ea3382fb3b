"""Reader of the tags of a DICOM file, up to the pixels."""

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
_SYNTAX, _META = 0x00020010, 2  # the tag of the syntax, and its group
_PIXELS = {
  0x7FE00008: 'FloatPixelData',
  0x7FE00009: 'DoubleFloatPixelData',
  0x7FE00010: 'PixelData',
}
_PIXEL_KINDS = (b'OB', b'OW', b'OF', b'OD', b'UN')
# The entry that `warnings.filterwarnings` adds to `warnings.filters`.
_IGNORE = ('ignore', None, Warning, re.compile('pydicom'), 0)


def dataset(file: BinaryIO, wanted: list[int]) -> tuple[Any, Any]:
  """Reads chosen tags of a DICOM file and stops before its pixels.

  Args:
    file: the file, opened at its start.
    wanted: numbers of the tags to read, such as 0x00280010.

  Returns:
    (`pydicom.Dataset` of these tags, `pydicom.uid.UID` of the transfer syntax).

  Raises:
    ValueError: the file is not a DICOM file, has an unknown transfer syntax, or
      was compressed as a whole (deflated).
    Exception: any error of pydicom, if the file is damaged.
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
    # A deflated file could be of any size once it is decompressed.
    raise ValueError(f'transfer syntax {syntax.name} is not supported')
  tags = filereader.read_dataset(
    file,
    is_implicit_VR=syntax.is_implicit_VR,
    is_little_endian=syntax.is_little_endian,
    stop_when=lambda tag, kind, length: tag in _PIXELS,
    specific_tags=list(wanted),
  )
  return tags, syntax


def pixels(file: BinaryIO, syntax: Any) -> tuple[str, str, int]:
  """Reads the head of the tag that holds the pixels.

  Args:
    file: the file, at the position where `dataset` left it. Afterwards it is at
      the first byte of the pixels.
    syntax: the transfer syntax that `dataset` returned.

  Returns:
    (name, type, length in bytes) of the tag, such as ('PixelData', 'OW', 512).

  Raises:
    ValueError: the tag holds no pixels, or the file has ended.
  """
  order = '<' if syntax.is_little_endian else '>'
  start = file.read(12)
  # Some files leave out the type of a tag although their syntax requires it.
  is_explicit = not syntax.is_implicit_VR and start[4:6] in _PIXEL_KINDS
  form = order + ('HH2sxxL' if is_explicit else 'HHL')
  if len(start) < struct.calcsize(form):
    raise ValueError('the file has no picture')
  file.seek(struct.calcsize(form) - len(start), os.SEEK_CUR)
  group, element, *kind, length = struct.unpack_from(form, start)
  if (tag := group << 16 | element) not in _PIXELS:
    raise ValueError('the file has no picture')
  return _PIXELS[tag], kind[0].decode('latin1') if kind else 'OW', length


def _guessed(file):
  """Returns a guess of the transfer syntax, from the first tag's bytes."""
  place = file.tell()
  start = file.read(6)
  file.seek(place)
  if len(start) < 6 or 8 not in start[:2]:
    raise ValueError('not a DICOM file')
  if not start[4:].isalpha():
    return _IMPLICIT
  return _EXPLICIT if start[0] else _BIG_ENDIAN


def _quiet():
  """Silences pydicom's log and warnings about irregular files."""
  logging.getLogger('pydicom').setLevel(logging.CRITICAL + 1)
  # A `warnings.catch_warnings` context may have removed the filter again.
  if _IGNORE not in warnings.filters:
    warnings.filterwarnings('ignore', module=_IGNORE[3].pattern)
