"""Types of a metric, and of the settings that metrics are made from."""

from collections.abc import Callable
from typing import Any, NamedTuple

from cyclegan_jax.common.directions import DIRECTIONS
from cyclegan_jax.common.images import shown
from cyclegan_jax.common.types import Colours, Images


def same(images: Images) -> Images:
  """Returns its argument: the features of a metric that compares pixels.

  Args:
    images: float [batch, height, width, channels] in [-1, 1].

  Returns:
    The same array.
  """
  return images


class Metric(NamedTuple):
  """A metric of translations: features of images, and a score of features.

  Attributes:
    name: the metric's name, a key of `registry.METRICS`.
    kind: 'pairs' compares each translation with its true picture; 'sets'
      compares all translations with all true pictures; 'labels' compares the
      classes that a translation shows with a true label map.
    columns: names of the numbers that `score` computes, used as columns of the
      table; models are ranked by the first.
    features: function of images [batch, height, width, channels] in [-1, 1]
      that returns the input of `score`, one entry per image [batch, ...]; for
      kind 'labels' the class numbers [batch, height, width]. None if ready-made
      label maps are used instead.
    score: for 'pairs', a function of two batches of features that returns
      [batch] numbers; for 'sets', a function of features [n, size] of the
      translations and [m, size] of the true pictures that returns {column:
      number}; for 'labels', a function of a confusion matrix [size, size] that
      returns {column: number}.
    best: 'low' or 'high', the better end of the first column.
    directions: directions the metric can be measured in: 'a2b', 'b2a' or both.
    size: for 'sets', number of features per picture; for 'labels', number of
      classes; else 0.
    of_shown: True if `features` takes the RGB or gray image that `images.shown`
      makes, so that the metric ignores all channels that are not shown.
  """

  name: str
  kind: str
  columns: tuple[str, ...]
  score: Callable[..., Any]
  features: Callable[[Images], Any] | None = same
  best: str = 'low'
  directions: tuple[str, ...] = DIRECTIONS
  size: int = 0
  of_shown: bool = False

  def of_images(self, images: Images, show: tuple[int, ...] | None) -> Any:
    """Returns the features of images, reduced to shown channels if `of_shown`.

    Args:
      images: [batch, height, width, channels] in [-1, 1].
      show: one or three numbers of the channels to show, counted from 1, or
        None for the choice of `images.shown`; ignored unless the metric is
        `of_shown`.

    Returns:
      The result of `features`, one entry per image.

    Raises:
      ValueError: the metric uses ready-made label maps (`features` is None).
    """
    if self.features is None:
      raise ValueError(
        f'{self.name} uses ready-made label maps and computes no features'
      )
    # The networks repeat a gray channel themselves.
    if self.of_shown and (show or images.shape[-1] not in (1, 3)):
      images = shown(images, show)
    return self.features(images)


class Needs(NamedTuple):
  """Settings that metrics are made from.

  Attributes:
    paired: whether the test pictures are true pairs.
    directions: directions the model translates in: 'a2b', 'b2a' or both.
    colours: for each class its RGB colours in [0, 255]; None if the test set
      has no label maps.
    segmenter: path of a segmenter, a network that reads label maps from
      pictures (`segmenter_model.segmenter`), or ''.
    predicted: whether the user gives ready-made label maps of the b2a
      translations, so that no segmenter is needed.
    inception: path of PyTorch-FID's Inception weights, or ''.
    resize: resizing of Inception's input, 'clean' or 'pytorch-fid'.
    subsets: number of random subsets of a kernel distance (`distances.kernel`).
    subset_size: number of pictures of the larger set in each subset.
    seed: seed of the random subsets.
    prefix: text that error messages put before an option's name, such as '--'.
  """

  paired: bool = False
  directions: tuple[str, ...] = DIRECTIONS
  colours: Colours | None = None
  segmenter: str = ''
  predicted: bool = False
  inception: str = ''
  resize: str = 'clean'
  subsets: int = 100
  subset_size: int = 1000
  seed: int = 0
  prefix: str = '--'
