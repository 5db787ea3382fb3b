"""Makers of metrics: functions (name, `Needs`) -> [`Metric`].

A maker imports libraries and loads weights only when it is called.
"""

import functools

import numpy as np

from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.metrics.base import Metric, same

_INCEPTION = 'pt_inception-2015-12-05-6726825d.pth'
_FCN = ('pixel accuracy', 'class accuracy', 'class IoU')


def pairs(column, best, load, of_shown=False):
  """Returns a maker of a metric that compares translations with true pictures.

  Args:
    column: heading of the metric's column in the table, such as 'SSIM'.
    best: 'low' or 'high', the better end of the metric.
    load: function without arguments that returns (features, score): the
      functions of the same names in `Metric`.
    of_shown: True if `features` takes the RGB or gray image that is shown, so
      that the metric ignores all other channels.

  Returns:
    A maker: a function (name, `Needs`) -> list with one `Metric` of that name.
    The function raises `UserError` if the test pictures are not true pairs.
  """

  def maker(name, needs):
    if not needs.paired:
      raise UserError(
        f'{needs.prefix}metrics: {name} compares with true translations, but '
        'the test pictures are not pairs (data.paired): use metrics that '
        'compare sets, such as kd_vgg'
      )
    features, score = load()
    metric = Metric(name, 'pairs', (column,), score, features, best)
    return [metric._replace(of_shown=of_shown)]

  return maker


def one_by_one(distance):
  """Returns a `load` argument of `pairs` for a distance between two images.

  Args:
    distance: function of a translated and a true image, float [height, width,
      channels] in [-1, 1], that returns a number.

  Returns:
    A function without arguments that returns (features, score); `score` calls
    `distance` for each pair of images of two batches.
  """
  return lambda: (same, lambda xs, ys: [distance(*z) for z in zip(xs, ys)])


def lpips(column, net):
  """Returns a maker of LPIPS with features of 'alexnet' or 'vgg16'.

  Args:
    column: heading of the metric's column in the table, such as 'LPIPS'.
    net: 'alexnet' or 'vgg16'.

  Returns:
    A maker: a function (name, `Needs`) -> list with one `Metric` of that name.
    The function raises `UserError` if the test pictures are not true pairs.
  """

  def load():
    from cyclegan_jax.metrics.perceptual import LPIPS

    lpips = LPIPS(net)
    return lpips.features, lpips.score

  return pairs(column, 'low', load, of_shown=True)


def frechet(column, load):
  """Returns a maker of the Frechet distance of features, such as the FID.

  Args:
    column: heading of the metric's column in the table, such as 'FID'.
    load: function (name of the metric, `Needs`) -> (features, size). `features`
      maps images [batch, height, width, channels] in [-1, 1] to [batch, size].

  Returns:
    A maker: a function (name, `Needs`) -> list with one `Metric` of that name.
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
  """Returns a maker of the kernel distance of features, such as the KID.

  The metric has three columns: the distance, and the ends of its 95% interval,
  which add ' low' and ' high' to the name of the first column.

  Args:
    column: the first column's name in the table.
    load: function (name of the metric, `Needs`) -> (features, size), as for
      `frechet`: `features` maps images to [batch, size].

  Returns:
    A maker: a function (name, `Needs`) -> list with one `Metric` of that name.
  """
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
  """Loads PyTorch-FID's Inception network, a `load` argument of `frechet`.

  Args:
    name: the metric's name, for error messages.
    needs: `Needs`, the settings that metrics are made from; `inception` and
      `resize` are used.

  Returns:
    (features, 2048). `features` maps images [batch, height, width, channels] in
    [-1, 1] to [batch, 2048].

  Raises:
    UserError: an unknown `resize`, no `inception`, or a weights file that
      cannot be read.
  """
  from cyclegan_jax.pretrained import networks

  lookup(networks.RESIZES, needs.resize, f'{needs.prefix}resize')
  if not needs.inception:
    raise UserError(
      f"{name} needs {needs.prefix}inception=FILE: download PyTorch-FID's "
      f'weights, {_INCEPTION}'
    )
  return _inception_features(needs.inception, needs.resize), 2048


# Cached, so that FID and KID have the same function as `features`: the table
# computes the features of equal functions once.
@functools.lru_cache(maxsize=1)
def _inception_features(path, resize):
  """Returns Inception's function: images [b, h, w, c] -> [b, 2048]."""
  import jax

  from cyclegan_jax.pretrained import networks, weights

  params = jax.device_put(weights.inception(path))
  net = jax.jit(functools.partial(networks.inception, resize=resize))
  return lambda images: np.asarray(net(params, images))


def embedding(net, size):
  """Returns the function that loads averaged features of VGG-16 or AlexNet.

  The features are the outputs of the last convolutional layer, averaged over
  the pixels of each picture. The function is for the argument `load` of
  `frechet` and `kernel`.

  Args:
    net: 'vgg16' or 'alexnet'.
    size: number of features of `net`, as `Metric.size` needs it: 512 for
      'vgg16', 256 for 'alexnet'.

  Returns:
    A function (name of the metric, `Needs`) -> (features, size). `features`
    maps images [batch, height, width, 3 or 1] in [-1, 1] to [batch, size].
  """
  return lambda name, needs: (_trunk_features(net), size)


@functools.lru_cache
def _trunk_features(net):
  """Returns a function: images [b, h, w, c] -> averaged features [b, size]."""
  import jax

  from cyclegan_jax.pretrained import networks, weights

  load, embed = {
    'vgg16': (weights.vgg16, networks.embed_vgg16),
    'alexnet': (weights.alexnet, networks.embed_alexnet),
  }[net]
  # Otherwise each call would copy the parameters to the device.
  params, embed = jax.device_put(load()['trunk']), jax.jit(embed)
  return lambda images: np.asarray(embed(params, images))


def fcn(name, needs):
  """Makes the FCN score: by nearest colours in a2b, by a segmenter in b2a.

  The b2a metric is made only if `needs.directions` has b2a and the test
  pictures are pairs, because label maps belong to pictures of A.

  Args:
    name: the metric's name, a key of `registry.METRICS`.
    needs: `Needs`, the settings that metrics are made from.

  Returns:
    A list of one `Metric` per direction.

  Raises:
    UserError: no label maps, or in b2a neither a segmenter nor ready-made label
      maps, or a segmenter that cannot be read or has other classes.
  """
  from cyclegan_jax.metrics.segmentation import scores

  by_colours = palette(name, needs)
  found = [x._replace(columns=_FCN, score=scores) for x in by_colours]
  # Label maps belong to pictures of A. They fit pictures of B only in pairs.
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
  """Returns a segmenter of batches; None if label maps are ready-made."""
  if needs.predicted:
    return None
  if not needs.segmenter:
    raise UserError(
      f'{name} of b2a needs {needs.prefix}segmenter=PATH: give an .onnx file, '
      'or a folder made by cyclegan_jax.segmenter'
    )
  from cyclegan_jax.metrics.segmenter_model import segmenter

  segment = segmenter(needs.segmenter, len(needs.colours))
  return lambda images: [segment(image) for image in images]


def palette(name, needs):
  """Makes the pixel accuracy of label maps read by the nearest class colours.

  The metric is measured in a2b only: a translation to B is a label picture.

  Args:
    name: the metric's name, a key of `registry.METRICS`.
    needs: `Needs`, the settings that metrics are made from; `colours` is used.

  Returns:
    A list of one `Metric`.

  Raises:
    UserError: the test pictures have no label maps.
  """
  from cyclegan_jax.metrics.labels import nearest_colour
  from cyclegan_jax.metrics.segmentation import scores

  if needs.colours is None:
    raise UserError(
      f'{needs.prefix}metrics: {name} needs label maps of the test pictures: '
      'add testLabels/ and classes.json to data.root (or give '
      'cyclegan_jax.evaluate --palette=cityscapes)'
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
