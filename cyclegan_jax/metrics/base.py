"""What a metric is, and what it takes to make one."""

from collections.abc import Callable
from typing import Any, NamedTuple

from cyclegan_jax.common.directions import DIRECTIONS
from cyclegan_jax.common.images import shown
from cyclegan_jax.common.types import Colours, Images


def same(images: Images) -> Images:
  """What is measured of pictures themselves."""
  return images


class Metric(NamedTuple):
  """A way to measure translations.

  Attributes:
    name: of `METRICS`.
    kind: 'pairs', of a picture and its true translation; 'sets', of all
      translations and all true pictures; 'labels', of the classes a
      translation shows and a true label map.
    columns: what `score` names its numbers; the first is the one to rank by.
    features: images [b, h, w, c] in [-1, 1] -> what `score` takes of each, [b,
      ...]: of labels, class numbers [b, h, w]; None where these are given.
    score: of pairs, (features, features) -> [b] numbers; of sets, ([n, size],
      [m, size]) -> {column: number}; of labels, confusion matrix [size, size]
      -> {column: number}.
    best: 'low' or 'high'.
    directions: those it can be measured in, of 'a2b' and 'b2a'.
    size: features of a picture of a set, or classes.
    of_shown: whether `features` takes RGB images as `images.shown` gives them,
      and so leaves out other channels.
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
    """The features of images, or with `of_shown` of the channels to show.

    Args:
      images: [b, h, w, c] in [-1, 1].
      show: the channels to show, as `images.shown` takes them.
    """
    if self.features is None:
      raise ValueError(f'{self.name} takes features that are given')
    # Networks repeat gray themselves.
    if self.of_shown and (show or images.shape[-1] not in (1, 3)):
      images = shown(images, show)
    return self.features(images)


class Needs(NamedTuple):
  """What metrics are made of.

  Attributes:
    paired: whether the test pictures are true pairs.
    directions: of the model, 'a2b', 'b2a'.
    colours: for each class its RGB colours in [0, 255], where there are label
      maps; else None.
    segmenter: path of one, or ''.
    predicted: whether label maps are given in its place.
    inception: path of PyTorch-FID's weights, or ''.
    resize: 'clean' or 'pytorch-fid', how Inception's input is resized.
    subsets, subset_size, seed: of `distances.kernel`.
    prefix: what the user spells these with, such as '--'.
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
