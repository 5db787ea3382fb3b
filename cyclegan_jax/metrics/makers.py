"""How metrics are made: each maker is (name, `Needs`) -> [`Metric`].

What a metric needs is loaded when it is made, not before.
"""

import functools

import numpy as np

from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.metrics.base import Metric, same

_INCEPTION = 'pt_inception-2015-12-05-6726825d.pth'
_FCN = ('pixel accuracy', 'class accuracy', 'class IoU')


def pairs(column, best, load, of_shown=False):
  """A maker of a distance between two batches, from `load()`."""

  def maker(name, needs):
    if not needs.paired:
      raise UserError(
        f'{needs.prefix}metrics: {name} compares with true translations, and '
        'the test pictures are no pairs (data.paired): use those of sets, such '
        'as kd_vgg'
      )
    features, score = load()
    metric = Metric(name, 'pairs', (column,), score, features, best)
    return [metric._replace(of_shown=of_shown)]

  return maker


def one_by_one(distance):
  """(features, score) of a distance between two images."""
  return lambda: (same, lambda xs, ys: [distance(*z) for z in zip(xs, ys)])


def lpips(column, net):
  """A maker of LPIPS by 'alexnet' or 'vgg16'."""

  def load():
    from cyclegan_jax.metrics.perceptual import LPIPS

    lpips = LPIPS(net)
    return lpips.features, lpips.score

  return pairs(column, 'low', load, of_shown=True)


def frechet(column, load):
  """A maker of the Frechet distance of features.

  Args:
    column: what the table calls it.
    load: (name, `Needs`) -> (images -> [b, size], size).
  """

  def maker(name, needs):
    from cyclegan_jax.metrics.distances import frechet

    features, size = load(name, needs)

    def score(fakes, reals):
      return {column: frechet(fakes, reals)}

    metric = Metric(name, 'sets', (column,), score, features, size=size)
    return [metric._replace(of_shown=True)]

  return maker


def kernel(column, load):
  """A maker of the kernel distance, as `frechet`, and of its interval."""
  columns = (column, f'{column} low', f'{column} high')

  def maker(name, needs):
    from cyclegan_jax.metrics.distances import kernel

    features, size = load(name, needs)

    def score(fakes, reals):
      numbers = kernel(
        fakes,
        reals,
        subsets=needs.subsets,
        subset_size=needs.subset_size,
        seed=needs.seed,
      )
      return dict(zip(columns, numbers))

    metric = Metric(name, 'sets', columns, score, features, size=size)
    return [metric._replace(of_shown=True)]

  return maker


def inception(name, needs):
  """(features, size) of PyTorch-FID's Inception."""
  from cyclegan_jax.pretrained import networks

  lookup(networks.RESIZES, needs.resize, f'{needs.prefix}resize')
  if not needs.inception:
    raise UserError(
      f'{name} needs {needs.prefix}inception=FILE: the weights of PyTorch-FID, '
      f'{_INCEPTION}'
    )
  return _inception_features(needs.inception, needs.resize), 2048


# The same function for the same features: they are computed once.
@functools.lru_cache(maxsize=1)
def _inception_features(path, resize):
  import jax

  from cyclegan_jax.pretrained import networks, weights

  params = jax.device_put(weights.inception(path))
  net = jax.jit(functools.partial(networks.inception, resize=resize))
  return lambda images: np.asarray(net(params, images))


def embedding(net, size):
  """The same of a trunk's last layer, averaged over each picture, to load."""
  return lambda name, needs: (_trunk_features(net), size)


@functools.lru_cache
def _trunk_features(net):
  import jax

  from cyclegan_jax.pretrained import networks, weights

  load, embed = {
    'vgg16': (weights.vgg16, networks.embed_vgg16),
    'alexnet': (weights.alexnet, networks.embed_alexnet),
  }[net]
  # Put there once: each call would copy them anew.
  params, embed = jax.device_put(load()['trunk']), jax.jit(embed)
  return lambda images: np.asarray(embed(params, images))


def fcn(name, needs):
  """The FCN score: a2b by the nearest colours, b2a by a segmenter."""
  from cyclegan_jax.metrics.segmentation import scores

  by_colours = palette(name, needs)
  found = [x._replace(columns=_FCN, score=scores) for x in by_colours]
  # Label maps are of A's pictures, so of B's only where these are pairs.
  if 'b2a' in needs.directions and needs.paired:
    metric = Metric(name, 'labels', _FCN, scores, best='high')
    found.append(
      metric._replace(
        features=_segmented(name, needs),
        directions=('b2a',),
        size=len(needs.colours),
      )
    )
  return found


def _segmented(name, needs):
  """Images [b, h, w, c] -> class numbers; None if they are given."""
  if needs.predicted:
    return None
  if not needs.segmenter:
    raise UserError(
      f'{name} of b2a needs {needs.prefix}segmenter=PATH: an .onnx file, or a '
      'folder made by cyclegan_jax.segmenter'
    )
  from cyclegan_jax.metrics.segmenter_model import segmenter

  segment = segmenter(needs.segmenter, len(needs.colours))
  return lambda images: [segment(image) for image in images]


def palette(name, needs):
  """Per-pixel accuracy of maps read by the nearest colours, in a2b."""
  from cyclegan_jax.metrics.labels import nearest_colour
  from cyclegan_jax.metrics.segmentation import scores

  if needs.colours is None:
    raise UserError(
      f'{needs.prefix}metrics: {name} needs label maps of the test pictures: '
      'testLabels/ and classes.json in data.root (or, to evaluate, '
      '--palette=cityscapes)'
    )

  def features(images):
    return [nearest_colour(image, needs.colours) for image in images]

  def score(confusion):
    return {k: v for k, v in scores(confusion).items() if k in _FCN[:1]}

  return [
    Metric(
      name,
      'labels',
      _FCN[:1],
      score,
      features,
      best='high',
      directions=('a2b',),
      size=len(needs.colours),
    )
  ]
