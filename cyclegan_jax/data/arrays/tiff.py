"""Reader of TIFFs with any number of bands and any type of numbers.

The pages are found here and not by tifffile, whose `series` may take any amount
of time and memory. Pages that are previews or masks are skipped.
"""

import contextlib
import itertools
import logging
import struct
from collections.abc import Iterator

import numpy as np
from jaxtyping import Num

from cyclegan_jax.data.arrays import base, tiff_page
from cyclegan_jax.data.picture import Cut

MAX_PAGES = 2**20
_KIND_OF_PAGE = 254  # the tag NewSubfileType
_PREVIEW, _MASK = 1, 4  # bits of that tag
_SHORT = 3  # the tag type of 16-bit integers
# Microscope formats that tifffile would read in a special way.
_PLAIN = {
  f'is_{x}': False for x in ('ome', 'lsm', 'ndpi', 'scanimage', 'eer', 'stk')
}


def facts(data: base.Data, cut: Cut) -> base.Facts:
  """Returns the facts in the headers of a TIFF's pages.

  Args:
    data: the path of the file, or its bytes.
    cut: `cut.pages` tells which pages are the picture: 'first', 'channels'
      (all, as channels of one picture) or 'slices' (page `cut.number`, or the
      first one if that is None).

  Raises:
    ValueError: a page is damaged, not supported or too large; the pages of one
      picture differ in size or type; or there is no page `cut.number`.
    Exception: any error of tifffile, if the file is not a TIFF.
  """
  with _opened(data) as tif:
    if cut.pages == 'channels':
      return _joined(_all_pages(tif))
    places = list(_places(tif))
    if cut.pages == 'slices':
      index = 0
      if cut.number is not None:
        index = base.pick(cut, len(places), 'pages')
      told = tiff_page.facts(_page(tif, places[index]))
      return told._replace(slices=len(places))
    told = tiff_page.facts(_page(tif, places[0]))
    return told._replace(unused=len(places) - 1)


def read(data: base.Data, cut: Cut) -> Num[np.ndarray, 'height width channels']:
  """Returns the values of a picture of a TIFF.

  Palette indices become RGB colours. Boolean and unsigned values of a page that
  stores white as zero are inverted. The orientation tag is applied.

  Args:
    data: the path of the file, or its bytes.
    cut: `cut.pages` tells which pages are the picture: 'first', 'channels'
      (all, as channels of one picture) or 'slices' (page `cut.number`).

  Raises:
    ValueError: a page is damaged, not supported or too large; the pages of one
      picture differ in size or type; there is no page `cut.number`; or
      `cut.pages` is 'slices' and `cut.number` is None.
    Exception: any error of tifffile, if the file is damaged.
  """
  with _opened(data) as tif:
    if cut.pages == 'channels':
      pages = _all_pages(tif)
      _joined(pages)
      return np.concatenate([tiff_page.read(x) for x in pages], axis=-1)
    if cut.pages == 'slices':
      places = list(_places(tif))
      place = places[base.pick(cut, len(places), 'pages')]
    else:
      place = next(_places(tif))
    return tiff_page.read(_page(tif, place))


def _joined(pages):
  """Returns the `base.Facts` of pages as the channels of one picture.

  Raises:
    ValueError: the pages differ in size or type, or are too large together.
  """
  told = [tiff_page.facts(x) for x in pages]
  for x in told:
    if (x.size, x.dtype) != (told[0].size, told[0].dtype):
      raise ValueError(
        'the pages differ in size or type, so they cannot be the channels of '
        'one picture'
      )
  if len(told) == 1:
    return told[0]
  channels = sum(x.channels for x in told)
  base.check(*told[0].size, channels)
  return base.Facts(told[0].size, channels, told[0].dtype)


@contextlib.contextmanager
def _opened(data):
  import tifffile

  # tifffile logs irregularities; it raises an error for everything serious.
  logging.getLogger('tifffile').setLevel(logging.CRITICAL + 1)
  with base.opened(data) as file, tifffile.TiffFile(file, **_PLAIN) as tif:
    yield tif


def _all_pages(tif):
  places = list(itertools.islice(_places(tif), base.MAX_CHANNELS + 1))
  if len(places) > base.MAX_CHANNELS:
    raise ValueError(f'more than {base.MAX_CHANNELS} pages: too many channels')
  return [_page(tif, x) for x in places]


def _page(tif, place):
  import tifffile

  try:
    first = tif.pages.first
  except IndexError:
    raise ValueError('the file has no pages') from None
  if place == first.offset:
    return first
  tif.filehandle.seek(place)
  return tifffile.TiffPage(tif, index=1)


def _places(tif) -> Iterator[int]:
  """Yields the offsets of the pages that are neither previews nor masks.

  If every page is a preview or mask, yields the offset of the first page.
  """
  first, found = None, False
  for place, kind in _directories(tif):
    first = place if first is None else first
    if not kind & (_PREVIEW | _MASK):
      found = True
      yield place
  if first is None:
    raise ValueError('the file has no pages')
  if not found:
    yield first


def _directories(tif):
  """Yields (offset, bits of the page kind) per page, up to a damaged page."""
  file, form = tif.filehandle, tif.tiff
  start = 8 if form.is_bigtiff else 4
  file.seek(start)
  place, seen = _unpacked(form.offsetformat, file.read(form.offsetsize)), set()
  while place and place not in seen:
    if len(seen) == MAX_PAGES:
      raise ValueError(f'the file has more than {MAX_PAGES:,} pages')
    seen.add(place)
    file.seek(place)
    count = _unpacked(form.tagnoformat, file.read(form.tagnosize)) or 0
    tags = file.read(count * form.tagsize) if count <= 4096 else b''
    yield place, _kind(tags[: form.tagsize], form)
    place = _unpacked(form.offsetformat, file.read(form.offsetsize))


def _kind(tag, form):
  """Returns the kind of a page from its first tag; 0 for a normal page.

  Tags are sorted by number, so a tag of the kind always comes first.
  """
  if len(tag) < form.tagsize:
    return 0
  code, dtype, _, value = struct.unpack(form.tagheaderformat, tag)
  if code != _KIND_OF_PAGE:
    return 0
  size = 2 if dtype == _SHORT else 4
  order = 'little' if form.byteorder == '<' else 'big'
  return int.from_bytes(value[:size], order)


def _unpacked(form, data):
  """Returns the number unpacked from `data`, or None if `data` is too short."""
  if len(data) < struct.calcsize(form):
    return None
  return struct.unpack(form, data)[0]
