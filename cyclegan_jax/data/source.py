"""The pictures of a data set, as lists of files."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from cyclegan_jax.common import files
from cyclegan_jax.common.types import Colours
from cyclegan_jax.data.picture import Picture


class Labels(NamedTuple):
  """Label maps of pictures of A, to read translated maps by.

  Attributes:
    pictures: one a picture of A, class numbers as gray values, 255 ignored.
    classes: names of the classes.
    colours: for each class the RGB colours that stand for it.
  """

  pictures: list[Picture]
  classes: list[str]
  colours: Colours


class Source(NamedTuple):
  """The pictures of a data set.

  Attributes:
    train: {'a': [Picture], 'b': [Picture]}.
    test: the same; a domain in `stands_in` has its training pictures here.
    paired: whether test['a'][i] and test['b'][i] show the same; False where
      training pictures stand in.
    labels: `Labels` of test['a'], or None.
    train_pairs: training pictures as `train`, where train_pairs['a'][i] and
      train_pairs['b'][i] show the same; None where no such are known.
    train_labels: `Labels` of train['a'], or None.
    root: the folder that names within the data set begin below; None for
      pictures that are no files.
    stands_in: {domain without test pictures: the folder that is missing, or
      what is missing in words}.
    notes: lines for the user on what is missing and what is taken for pairs.
    pairs_note: such a line on `train_pairs`, or the reason that there are none.
    left_out: (path, reason) of what is in the folders and is not used.
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
