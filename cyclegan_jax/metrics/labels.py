"""Label maps, read from grayscale files or from the colours of a picture.

A label map is an integer array [height, width] of class numbers; 255 marks
pixels that are not scored. Label maps are never interpolated: `resize_labels`
takes the class of the nearest pixel.
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
_MODES = ('1', 'L', 'P')  # 'P': palette indices are the class numbers


def resize_labels(labels, height, width):
  """Resizes a label map by taking the class of the nearest pixel.

  Args:
    labels: integers [old_height, old_width].
    height: new height in pixels.
    width: new width in pixels.

  Returns:
    Integers [height, width] of the same dtype.
  """
  rows, columns = (
    ((np.arange(new) + 0.5) * old / new).astype(int)
    for new, old in zip((height, width), labels.shape)
  )
  return labels[rows[:, None], columns]


def label_map(picture):
  """Reads a label map file: gray values or palette indices are the classes.

  Args:
    picture: the label map's file, a `data.picture.Picture`.

  Returns:
    Class numbers, int64 [height, width].

  Raises:
    UserError: the file cannot be read, or is neither 8-bit gray nor palette.
  """
  with decode.opened(picture) as image:
    if image.mode not in _MODES:
      raise UserError(
        f'{picture.name}: not a label map (mode {image.mode}): save class '
        'numbers as 8-bit gray values'
      )
    try:
      return np.asarray(image).astype(np.int64)
    except Exception as e:  # Pillow raises many types
      raise UserError(
        f'{picture.name}: cannot be read as a label map '
        f'({type(e).__name__}): replace the file'
      ) from e


def as_shown(labels, preprocess):
  """Scales and crops a label map the way its test picture is prepared.

  The result has the size of the image that `load_test_image` returns for the
  test picture.

  Args:
    labels: int64 [height, width], of the size of the test picture's file.
    preprocess: a `data.preprocess.Preprocess`.

  Returns:
    int64 [new_height, new_width].
  """
  width, height = preprocess.test_size(*labels.shape[::-1])
  return preprocess.test_crop(resize_labels(labels, height, width))


def test_labels(picture, preprocess):
  """Reads the label map of a test picture, scaled and cropped like the picture.

  Args:
    picture: the label map's `Picture`, of the size of its test picture.
    preprocess: a `data.preprocess.Preprocess`.

  Returns:
    int64 [height, width], the size of the prepared test picture.

  Raises:
    UserError: the file cannot be read, or is neither 8-bit gray nor palette.
  """
  return as_shown(label_map(picture), preprocess)


def predicted_labels(folder, names):
  """Reads label maps of translations that the user's own segmenter made.

  Args:
    folder: a folder with one label map per test picture, in any subfolder, in
      a lossless format (PNG, BMP, TIFF). A label map has the name of its
      picture; folder and extension may differ.
    names: names of the test pictures (`Picture.name`).

  Returns:
    A list of int64 [height, width], in the order of `names`.

  Raises:
    UserError: the folder or a file is missing or cannot be read, or two label
      maps or two pictures have the same name.
  """
  folder = files.place(folder)
  if not folder.is_dir():
    raise UserError(
      f'no folder {folder}: give a folder of predicted label maps'
    )
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
        f'two files named {twice[0]} {where}: rename one, because label maps '
        'and pictures are matched by name'
      )
  there = {file.stem: file for file in maps}
  for stem in stems:
    if stem not in there:
      raise UserError(
        f'no label map {folder / stem}.png: each test picture needs a label '
        "map of the picture's name"
      )
  return [label_map(named(there[stem])) for stem in stems]


class Palette(NamedTuple):
  """Colours that stand for classes in the label pictures of a dataset.

  Attributes:
    classes: names of the classes.
    colours: for each class a list of RGB colours in [0, 255].
    void: list of RGB colours in [0, 255] of pixels that are not scored.
    ids: for each class its number in the dataset's own label map files.
  """

  classes: list
  colours: list
  void: list
  ids: list


def nearest_colour(image, colours):
  """Returns, for each pixel of an image, the class of the nearest colour.

  Args:
    image: [height, width, 3 or 1] in [-1, 1].
    colours: for each class a list of RGB colours in [0, 255].

  Returns:
    Class numbers, int64 [height, width]; the lowest number of equally near
    classes. Distances are Euclidean in RGB.

  Raises:
    UserError: the image has neither 1 nor 3 channels.
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
  """Raises `UserError` for an image that is neither gray nor RGB.

  Args:
    image: an array [height, width, channels].
  """
  if image.shape[-1] not in (1, 3):
    raise UserError(
      f'pictures of {image.shape[-1]} channels (data.channels): label maps can '
      'only be read from gray or RGB pictures: leave out the metrics fcn and '
      'palette'
    )


def labels_of_picture(image, palette):
  """Returns the label map that a coloured label picture shows.

  Use the picture at its original size and resize the result by `resize_labels`:
  resizing the picture itself mixes the colours at the borders of classes.

  Args:
    image: the label picture, [height, width, 3] in [-1, 1].
    palette: a `Palette`, such as `CITYSCAPES`.

  Returns:
    Class numbers, int64 [height, width]; 255 where a void colour is nearest.
  """
  labels = nearest_colour(image, [*palette.colours, palette.void])
  labels[labels == len(palette.colours)] = IGNORED
  return labels


def train_ids(labels, palette):
  """Converts a dataset's own label ids, as in `*_labelIds.png`, to classes.

  Args:
    labels: label ids, integers [height, width] in [0, 255].
    palette: a `Palette`, such as `CITYSCAPES`.

  Returns:
    Class numbers, int64 [height, width]; 255 for ids not in `palette.ids`.
  """
  table = np.full(256, IGNORED, np.int64)
  table[palette.ids] = np.arange(len(palette.ids))
  return table[labels]


# (name, colour, id) of the 19 classes that Cityscapes scores, in the order of
# their train ids (Cordts et al. 2016; label table of cityscapesScripts).
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
# Pole groups and license plates are missing here: they have the colours of
# poles and cars.
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
