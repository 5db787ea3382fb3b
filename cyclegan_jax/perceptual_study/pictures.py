"""Real test pictures and translations of algorithms, encoded for a study page.

Real and fake pictures are scaled and encoded in the same way and without loss,
because artefacts of a codec would reveal which picture is real.
"""

import base64
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from cyclegan_jax.common import images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import bad_pictures
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.inference import batches
from cyclegan_jax.inference.model import Model

LIMIT = 200e6  # largest size of all pictures of a page, in bytes
# A network is compiled for this many picture sizes; pictures of further sizes
# are processed in tiles.
_SIZES = 8


class Pictures(NamedTuple):
  """Pictures of a study; each is {'name': file name, 'src': data URI}.

  Attributes:
    reals: real test pictures of the target domain.
    fakes: {name of an algorithm: its translations}, in the same order for all
      algorithms.
    paired: if True, reals[i] and the input of fakes[...][i] are a true pair.
  """

  reals: list[dict[str, str]]
  fakes: dict[str, list[dict[str, str]]]
  paired: bool


def collect(
  models: Mapping[str, Model],
  data: Dataset,
  direction: str,
  count: int,
  size: int,
) -> Pictures:
  """Reads real test pictures and translates test pictures.

  Args:
    models: {name of an algorithm: `Model`}; each must have the direction.
    data: `Dataset` with the test pictures.
    direction: 'a2b' or 'b2a'.
    count: number of pictures per domain, spread evenly over the test set;
      0 = all.
    size: longest side in pixels; larger pictures are scaled down to it.

  Returns:
    The `Pictures`.

  Raises:
    UserError: a picture cannot be used (unless data.on_bad_image is 'skip'), or
      the pictures have more than 200 MB (`LIMIT`) in all.
  """
  page = _Page(data, size)
  ways = {
    name: batches.Way(model, direction, memory=batches.free_memory() // 2)
    for name, model in models.items()
  }
  here, there = direction.split('2')
  paired = data.source.paired
  fakes: dict[str, list[dict[str, str]]] = {name: [] for name in models}
  reals = []
  sizes: set[Any] = set()
  for place in _progress(data, here, count, direction):
    domains = [here, there] if paired else [here]
    if not (found := page.read(domains, place)):
      continue
    sizes.add(found[0].shape)
    for name, way in ways.items():
      tile = len(sizes) > _SIZES and direction in way.model.method.generators
      ((made, *_),) = way._replace(tile=tile).run([found[0]])
      fakes[name].append(page.shown(made, there, here, place))
    if paired:
      reals.append(page.shown(found[1], there, there, place))
  if not paired:
    for place in _progress(data, there, count, 'real'):
      if found := page.read([there], place):
        reals.append(page.shown(found[0], there, there, place))
  return Pictures(reals, fakes, paired)


def _progress(data, domain, count, title):
  """Returns a progress bar over evenly spread indices of test pictures."""
  total = len(data.source.test[domain])
  spread = np.linspace(0, total - 1, min(count or total, total))
  places = spread.round().astype(int).tolist()
  return tqdm(places, desc=title, unit='picture', leave=False, disable=None)


class _Page:
  """Reads and encodes pictures, and limits their total size to `LIMIT`.

  `read` reads test images; `shown` encodes an image for the page.
  """

  def __init__(self, data, size):
    self._data = data
    self._size = size
    self._bytes = 0

  def read(self, domains, place):
    """Reads one test image of each domain.

    Args:
      domains: the domains, a sequence of 'a' and 'b'.
      place: index of the test picture.

    Returns:
      List of one image per domain; [] if a picture is bad and
      data.on_bad_image is 'skip'.

    Raises:
      UserError: a picture is bad and data.on_bad_image is 'stop'.
    """
    try:
      return [self._image(domain, place) for domain in domains]
    except UserError as e:
      if not self._data.skips:
        raise
      line = f'{e} (data.on_bad_image=skip: the picture is skipped)'
      bad_pictures.warn_once(line)
      return []

  def _image(self, domain, place):
    # Read one by one, to save memory and so that no picture replaces a bad one.
    one = {domain: [self._data.source.test[domain][place]]}
    source = self._data.source._replace(test=one)
    alone = self._data._replace(source=source, on_bad_image='stop')
    return alone.test_images(domain)[0]

  def shown(self, image, domain, origin, place):
    """Encodes an image as PNG.

    Args:
      image: float [h, w, c] in [-1, 1].
      domain: domain of the image, which decides the channels to show. The
        domain of a translation is its target domain.
      origin: domain of the picture file that the image was made from.
      place: index of this file among the test pictures of `origin`.

    Returns:
      {'name': name of the file, 'src': data URI of the image}.

    Raises:
      UserError: the pictures encoded so far exceed `LIMIT`.
    """
    pixels = images.to_rgb(np.nan_to_num(image), self._data.show[domain])
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if (longest := max(picture.size)) > self._size:
      scaled = [max(1, round(x * self._size / longest)) for x in picture.size]
      picture = picture.resize(scaled, Image.Resampling.LANCZOS)
    code = base64.b64encode(images.png(np.asarray(picture))).decode()
    self._bytes += len(code)
    if self._bytes > LIMIT:
      raise UserError(
        f'the page would contain more than {LIMIT / 1e6:.0f} MB of pictures: '
        'give a smaller --pictures, a smaller --size or fewer --models'
      )
    name = self._data.source.test[origin][place].name
    return {
      'name': pathlib.PurePath(name).name,
      'src': f'data:image/png;base64,{code}',
    }
