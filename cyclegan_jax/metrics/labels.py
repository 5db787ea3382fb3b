"""Label maps: read from gray pictures, and from pictures by their colours.

A label map is an integer array [height, width] of class numbers, 255 for pixels
that do not count. It is never interpolated: `resize_labels` takes the nearest
pixel.
"""

import pathlib
from collections import Counter
from typing import NamedTuple

import numpy as np

from cyclegan_jax.common import files, images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import decode, folders
from cyclegan_jax.data.picture import named

IGNORED = 255
_LOSSLESS = ('.png', '.bmp', '.tif', '.tiff')
_MODES = ('1', 'L', 'P')  # a palette's indices are the class numbers


def resize_labels(labels, height, width):
  """A label map [h, w] at another size, each pixel the nearest one's class."""
  rows, columns = (
    ((np.arange(new) + 0.5) * old / new).astype(int)
    for new, old in zip((height, width), labels.shape)
  )
  return labels[rows[:, None], columns]


def label_map(picture):
  """Reads a label map: gray values, or indices of a palette, are the classes.

  Args:
    picture: a `data.picture.Picture`.

  Returns:
    int64 [h, w].

  Raises:
    UserError: it can't be read, or holds colours.
  """
  with decode.opened(picture) as image:
    if image.mode not in _MODES:
      raise UserError(
        f'{picture.name}: no label map ({image.mode}): it needs class numbers '
        'as 8-bit gray values'
      )
    try:
      return np.asarray(image).astype(np.int64)
    except Exception as e:  # Pillow raises all kinds
      raise UserError(
        f'{picture.name}: cannot be read as a label map '
        f'({type(e).__name__}): save it anew'
      ) from e


def as_shown(labels, preprocess):
  """A label map [h, w], scaled and cropped as `load_test_image` does a picture.

  Args:
    labels: int64 [h, w], of the size of its test picture.
    preprocess: a `data.preprocess.Preprocess`.
  """
  width, height = preprocess.test_size(*labels.shape[::-1])
  return preprocess.test_crop(resize_labels(labels, height, width))


def test_labels(picture, preprocess):
  """Reads the label map of a test picture, as `as_shown` gives it.

  Args:
    picture: the label map's `Picture`, of the size of its test picture.
    preprocess: a `data.preprocess.Preprocess`.

  Returns:
    int64 [h, w].

  Raises:
    UserError: as `label_map`.
  """
  return as_shown(label_map(picture), preprocess)


def predicted_labels(folder, names):
  """Label maps that another segmenter made of the translated pictures.

  Args:
    folder: holds, below it, one file a picture, called like it but for its
      folder and ending, of a format without loss (PNG, BMP, TIFF).
    names: of the test pictures (`Picture.name`).

  Returns:
    A list of int64 [h, w] in the order of the names.

  Raises:
    UserError: the folder or a file is missing or can't be read, or which file
      belongs to a picture is not clear.
  """
  folder = files.place(folder)
  if not folder.is_dir():
    raise UserError(f'no folder {folder}: give one of predicted label maps')
  found = files.found(folder, folders.sort)
  maps = [x for x, why in found if not why and x.suffix.lower() in _LOSSLESS]
  stems = [pathlib.PurePath(name).stem for name in names]
  for where, found in (
    (f'below {folder}', [file.stem for file in maps]),
    ('among the test pictures', stems),
  ):
    twice = [x for x, n in Counter(found).items() if n > 1 and x in stems]
    if twice:
      raise UserError(
        f'two files {twice[0]} {where}: which label map is whose is not clear'
      )
  there = {file.stem: file for file in maps}
  for stem in stems:
    if stem not in there:
      raise UserError(
        f'no label map {folder / stem}.png: it needs one a test picture, under '
        "the picture's name"
      )
  return [label_map(named(there[stem])) for stem in stems]


class Palette(NamedTuple):
  """The colours that stand for classes in label pictures.

  Attributes:
    classes: their names.
    colours: for each class a list of RGB colours in [0, 255].
    void: RGB colours of what does not count.
    ids: for each class its number in the data set's own label maps.
  """

  classes: list
  colours: list
  void: list
  ids: list


def nearest_colour(image, colours):
  """The class whose colour is nearest to each pixel.

  Args:
    image: [h, w, 3 or 1] in [-1, 1].
    colours: for each class a list of RGB colours in [0, 255].

  Returns:
    int64 [h, w]; of equally near classes the first.

  Raises:
    UserError: neither gray nor RGB.
  """
  check_rgb(image)
  pixels = images.to_levels(np.asarray(image))
  labels = np.zeros(pixels.shape[:2], np.int64)
  least = np.full(pixels.shape[:2], np.inf)
  for label, shades in enumerate(colours):
    for colour in np.reshape(shades, (-1, 3)).astype(float):
      distance = np.sum((pixels - colour) ** 2, axis=-1)
      labels[distance < least] = label
      np.minimum(least, distance, out=least)
  return labels


def check_rgb(image):
  """Raises `UserError` for an image that is neither gray nor RGB."""
  if image.shape[-1] not in (1, 3):
    raise UserError(
      f'pictures of {image.shape[-1]} channels (data.channels): label maps are '
      'read from gray or RGB pictures: leave out the metrics fcn and palette'
    )


def labels_of_picture(image, palette):
  """The label map that a true label picture shows by its colours.

  Read it at the size it has and use `resize_labels`: in between two colours a
  resized picture shows a third.

  Args:
    image: [h, w, 3] in [-1, 1].
    palette: a `Palette`, such as `CITYSCAPES`.

  Returns:
    int64 [h, w], void is 255.
  """
  labels = nearest_colour(image, [*palette.colours, palette.void])
  labels[labels == len(palette.colours)] = IGNORED
  return labels


def train_ids(labels, palette):
  """A data set's own label map, such as *_labelIds.png, in class numbers.

  Args:
    labels: integers [h, w] in [0, 255].
    palette: a `Palette`, such as `CITYSCAPES`.

  Returns:
    int64 [h, w], what is of no class is 255.
  """
  table = np.full(256, IGNORED, np.int64)
  table[palette.ids] = np.arange(len(palette.ids))
  return table[labels]


# name, colour, id: the 19 classes that Cityscapes scores, in the order of their
# train ids (Cordts et al. 2016, and the label table of cityscapesScripts).
_CITYSCAPES = (
  ('road', (128, 64, 128), 7),
  ('sidewalk', (244, 35, 232), 8),
  ('building', (70, 70, 70), 11),
  ('wall', (102, 102, 156), 12),
  ('fence', (190, 153, 153), 13),
  ('pole', (153, 153, 153), 17),
  ('traffic light', (250, 170, 30), 19),
  ('traffic sign', (220, 220, 0), 20),
  ('vegetation', (107, 142, 35), 21),
  ('terrain', (152, 251, 152), 22),
  ('sky', (70, 130, 180), 23),
  ('person', (220, 20, 60), 24),
  ('rider', (255, 0, 0), 25),
  ('car', (0, 0, 142), 26),
  ('truck', (0, 0, 70), 27),
  ('bus', (0, 60, 100), 28),
  ('train', (0, 80, 100), 31),
  ('motorcycle', (0, 0, 230), 32),
  ('bicycle', (119, 11, 32), 33),
)
# Groups of poles and license plates have the colours of poles and of cars.
_CITYSCAPES_VOID = {
  'unlabeled, ego vehicle, border, out of roi, static': (0, 0, 0),
  'dynamic': (111, 74, 0),
  'ground': (81, 0, 81),
  'parking': (250, 170, 160),
  'rail track': (230, 150, 140),
  'guard rail': (180, 165, 180),
  'bridge': (150, 100, 100),
  'tunnel': (150, 120, 90),
  'caravan': (0, 0, 90),
  'trailer': (0, 0, 110),
}
CITYSCAPES = Palette(
  classes=[name for name, _, _ in _CITYSCAPES],
  colours=[[colour] for _, colour, _ in _CITYSCAPES],
  void=list(_CITYSCAPES_VOID.values()),
  ids=[number for _, _, number in _CITYSCAPES],
)
