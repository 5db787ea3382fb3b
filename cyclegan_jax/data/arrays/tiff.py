"""TIFFs of any number of bands and any type of numbers.

The pages are found here, as tifffile's own series may take any amount of time
and memory. Previews and masks among the pages are skipped.
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
_KIND_OF_PAGE = 254  # a tag
_PREVIEW, _MASK = 1, 4  # its bits
_SHORT = 3  # a type of tags
# Formats of microscopes that tifffile reads in ways of their own.
_PLAIN = {
  f'is_{x}': False for x in ('ome', 'lsm', 'ndpi', 'scanimage', 'eer', 'stk')
}


def facts(data: base.Data, cut: Cut) -> base.Facts:
  """Facts of a TIFF's pages; see `base.ArrayFormat`.

  With `cut.pages` 'slices' they are those of page `cut.number`, or of the first
  one.

  Raises:
    ValueError: it is no TIFF that can be read, or too large.
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
  """Values of a TIFF's pages; see `base.ArrayFormat`.

  Palettes are looked up, white-is-zero is inverted for unsigned integers, and
  the orientation is applied.

  Raises:
    ValueError: as `facts`; or 'slices' without `cut.number`.
    Exception: tifffile's own, for a damaged file.
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
  """`base.Facts` of pages whose bands are all channels of one picture."""
  told = [tiff_page.facts(x) for x in pages]
  for x in told:
    if (x.size, x.dtype) != (told[0].size, told[0].dtype):
      raise ValueError(
        'its pages differ in size or type: they are no channels of one picture'
      )
  if len(told) == 1:
    return told[0]
  channels = sum(x.channels for x in told)
  base.check(*told[0].size, channels)
  return base.Facts(told[0].size, channels, told[0].dtype)


@contextlib.contextmanager
def _opened(data):
  import tifffile

  # It logs what is odd in a file, and raises what matters.
  logging.getLogger('tifffile').setLevel(logging.CRITICAL + 1)
  with base.opened(data) as file, tifffile.TiffFile(file, **_PLAIN) as tif:
    yield tif


def _all_pages(tif):
  places = list(itertools.islice(_places(tif), base.MAX_CHANNELS + 1))
  if len(places) > base.MAX_CHANNELS:
    raise ValueError(f'more than {base.MAX_CHANNELS} pages are too many')
  return [_page(tif, x) for x in places]


def _page(tif, place):
  import tifffile

  try:
    first = tif.pages.first
  except IndexError:
    raise ValueError('it has no pages') from None
  if place == first.offset:
    return first
  tif.filehandle.seek(place)
  return tifffile.TiffPage(tif, index=1)


def _places(tif) -> Iterator[int]:
  """Yields the offsets of the pages that are neither previews nor masks."""
  first, found = None, False
  for place, kind in _directories(tif):
    first = place if first is None else first
    if not kind & (_PREVIEW | _MASK):
      found = True
      yield place
  if first is None:
    raise ValueError('it has no pages')
  if not found:
    yield first


def _directories(tif):
  """Yields (offset, kind) of the pages, a damaged one being the last."""
  file, form = tif.filehandle, tif.tiff
  start = 8 if form.is_bigtiff else 4
  file.seek(start)
  place, seen = _unpacked(form.offsetformat, file.read(form.offsetsize)), set()
  while place and place not in seen:
    if len(seen) == MAX_PAGES:
      raise ValueError(f'more than {MAX_PAGES:,} pages are too many')
    seen.add(place)
    file.seek(place)
    count = _unpacked(form.tagnoformat, file.read(form.tagnosize)) or 0
    tags = file.read(count * form.tagsize) if count <= 4096 else b''
    yield place, _kind(tags[: form.tagsize], form)
    place = _unpacked(form.offsetformat, file.read(form.offsetsize))


def _kind(tag, form):
  """The kind of a page by its first tag; tags are sorted."""
  if len(tag) < form.tagsize:
    return 0
  code, dtype, _, value = struct.unpack(form.tagheaderformat, tag)
  if code != _KIND_OF_PAGE:
    return 0
  size = 2 if dtype == _SHORT else 4
  order = 'little' if form.byteorder == '<' else 'big'
  return int.from_bytes(value[:size], order)


def _unpacked(form, data):
  """The number, or None at the end of the file."""
  if len(data) < struct.calcsize(form):
    return None
  return struct.unpack(form, data)[0]
