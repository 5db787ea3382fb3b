"""Data types for the pictures of a dataset and their label maps."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from cyclegan_jax.common import files
from cyclegan_jax.common.types import Colours
from cyclegan_jax.data.picture import Picture


class Labels(NamedTuple):
  """Label maps of pictures of A, used to classify the pixels of translations.

  Attributes:
    pictures: one label map per picture of A, in the same order. The gray value
      of a pixel is its class, counted from 0; pixels of 255 are ignored.
    classes: names of the classes.
    colours: for each class a list of the RGB colours, in [0, 255], that stand
      for the class in pictures of B.
  """

  pictures: list[Picture]
  classes: list[str]
  colours: Colours


class Source(NamedTuple):
  """The pictures of a dataset.

  Attributes:
    train: {'a': [Picture], 'b': [Picture]}, the training set.
    test: {'a': [Picture], 'b': [Picture]}, the test set. A domain in
      `stands_in` has its training pictures here.
    paired: whether test['a'][i] and test['b'][i] are a true pair for each i;
      False if training pictures stand in for a domain.
    labels: `Labels` of the pictures test['a'], or None.
    train_pairs: {'a': [Picture], 'b': [Picture]}, training pictures where
      train_pairs['a'][i] and train_pairs['b'][i] are a true pair for each i;
      None if no true pairs are known.
    train_labels: `Labels` of the pictures train['a'], or None.
    root: folder of the dataset, to which names of pictures can be made
      relative; None if the pictures are not files.
    stands_in: {domain: folder or text} for each domain whose training pictures
      stand in for missing test pictures: the folder that is missing, or words
      for what is missing.
    notes: lines for the user: which files are missing, and which pictures are
      used as true pairs.
    pairs_note: line for the user that `train_pairs` are used as true pairs, or
      the reason why there are none.
    left_out: (path, reason) of each file in the folders that is not used.
  """

  train: dict[str, list[Picture]]
  test: dict[str, list[Picture]]
  paired: bool = False
  labels: Labels | None = None
  train_pairs: dict[str, list[Picture]] | None = None
  train_labels: Labels | None = None
  root: files.Path | None = None
  stands_in: Mapping[str, files.Path | str] = MappingProxyType({})
  notes: tuple[str, ...] = ()
  pairs_note: str = ''
  left_out: tuple[tuple[files.Path, str], ...] = ()
