"""Real test pictures and the translations of algorithms, as a page shows them.

Both kinds are scaled and encoded in the same way, without loss: artefacts of a
codec would tell one from the other.
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

LIMIT = 200e6  # bytes of a page
_SIZES = 8  # sizes a network is compiled for; further ones go by tiles


class Pictures(NamedTuple):
  """The pictures of a study, each {'name', 'src': a data URI}.

  Attributes:
    reals: true test pictures of the target domain.
    fakes: {algorithm: translations}, in the same order for every algorithm.
    paired: whether reals[i] is the true translation of what fakes[...][i] was
      made of.
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
  """Reads and translates test pictures.

  Args:
    models: {algorithm: `Model`}, each of which has the direction.
    data: the test pictures.
    direction: 'a2b' or 'b2a'.
    count: pictures of each kind, spread evenly over the test set; 0: all.
    size: longest side in pixels that larger pictures are reduced to.

  Raises:
    UserError: a picture that can't be used (unless data.on_bad_image is skip),
      or more pictures than a page holds.
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
  """Places of test pictures, spread evenly, with a bar."""
  total = len(data.source.test[domain])
  spread = np.linspace(0, total - 1, min(count or total, total))
  places = spread.round().astype(int).tolist()
  return tqdm(places, desc=title, unit='picture', leave=False, disable=None)


class _Page:
  """Reads pictures and encodes them, up to the size of a page."""

  def __init__(self, data, size):
    self._data = data
    self._size = size
    self._bytes = 0

  def read(self, domains, place):
    """The test images of a place; [] where one is to be skipped."""
    try:
      return [self._image(domain, place) for domain in domains]
    except UserError as e:
      if not self._data.skips:
        raise
      line = f'{e} (data.on_bad_image=skip: goes on without it)'
      bad_pictures.warn_once(line)
      return []

  def _image(self, domain, place):
    # Read alone: not all at once, and none in the place of one that is bad.
    one = {domain: [self._data.source.test[domain][place]]}
    source = self._data.source._replace(test=one)
    alone = self._data._replace(source=source, on_bad_image='stop')
    return alone.test_images(domain)[0]

  def shown(self, image, domain, origin, place):
    """An image [h, w, c] of a domain as {'name', 'src'}.

    Args:
      image: the image, in [-1, 1].
      domain: the domain it looks like, which decides the channels to show.
      origin: the domain of the file that it is from.
      place: the file's number among the test pictures.
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
        f'the page would have more than {LIMIT / 1e6:.0f} MB of pictures: give '
        'a smaller --pictures, a smaller --size or fewer --models'
      )
    name = self._data.source.test[origin][place].name
    return {
      'name': pathlib.PurePath(name).name,
      'src': f'data:image/png;base64,{code}',
    }
