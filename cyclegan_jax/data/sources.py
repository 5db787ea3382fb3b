"""Where pictures come from: the names of `data.source`."""

import json
import os
import textwrap
from typing import NamedTuple

import numpy as np

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.types import Colours
from cyclegan_jax.data import builtin
from cyclegan_jax.data.decode import EXTENSIONS, Picture, check_header, named


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
    test: the same; the training pictures where there are no test pictures.
    paired: whether test['a'][i] and test['b'][i] show the same.
    labels: `Labels` of the test pictures, or None.
    train_pairs: training pictures as `train`, where train_pairs['a'][i] and
      train_pairs['b'][i] show the same; None where no such are known.
    train_labels: `Labels` of train['a'], or None.
  """

  train: dict[str, list[Picture]]
  test: dict[str, list[Picture]]
  paired: bool = False
  labels: Labels | None = None
  train_pairs: dict[str, list[Picture]] | None = None
  train_labels: Labels | None = None


def _pictures(folder):
  """All pictures below a folder, in the order of their names."""
  if not folder.is_dir():
    raise UserError(f'no folder {folder}: set data.root to the data set')
  found = [f for f in files.below(folder) if f.suffix.lower() in EXTENSIONS]
  if not found:
    raise UserError(
      f'no pictures in {folder}: it needs {" ".join(EXTENSIONS)} files'
    )
  return [named(f) for f in found]


def folder(root: str | os.PathLike[str], name: str = '') -> Source:
  """The official layout: ROOT/{trainA,trainB}, and testA, testB if there.

  Test pictures are taken for true pairs if the names in A and B agree one by
  one: stems are equal, or without A's `_A` and B's `_B`. So are pictures of
  pairsA and pairsB, or without these of trainA and trainB, for methods that
  need pairs. Beside classes.json, testLabels holds label maps of testA, and
  trainLabels, if there, of trainA, by name.
  """
  del name
  top = _root(root, 'trainA trainB testA testB')

  def split(part):
    return {d: _pictures(top / f'{part}{d.upper()}') for d in ('a', 'b')}

  def split_if_there(part):
    there = all((top / f'{part}{d}').is_dir() for d in 'AB')
    return split(part) if there else train

  train = split('train')
  test, pairs = split_if_there('test'), split_if_there('pairs')
  return Source(
    train=train,
    test=test,
    paired=test is not train and _names_agree(test),
    labels=_labels(top, 'testLabels', test['a']),
    train_pairs=pairs if _names_agree(pairs) else None,
    train_labels=_labels(top, 'trainLabels', train['a'])
    if (top / 'trainLabels').is_dir()
    else None,
  )


def _names_agree(pictures):
  a, b = (
    [p.data.stem.removesuffix(f'_{d.upper()}') for p in pictures[d]]
    for d in ('a', 'b')
  )
  return a == b


def _labels(root, part, of):
  if not (root / 'classes.json').is_file():
    return None
  try:
    classes = json.loads((root / 'classes.json').read_text())
    pictures = [root / part / f'{p.data.stem}.png' for p in of]
    missing = [p for p in pictures if not p.is_file()]
    if missing:
      raise UserError(f'no label map {missing[0]} beside its picture')
    return Labels(
      [named(p) for p in pictures],
      list(classes),
      [np.reshape(c, (-1, 3)).astype(float).tolist() for c in classes.values()],
    )
  except (ValueError, AttributeError) as e:
    if isinstance(e, UserError):
      raise
    raise UserError(f'{root / "classes.json"}: {e}') from e


def aligned(root: str | os.PathLike[str], name: str = '') -> Source:
  """Pairs side by side: ROOT/{train,val,test}, left half A, right half B."""
  del name
  top = _root(root, 'train and test')

  def halves(folder):
    files = _pictures(folder)
    return {d: [p._replace(half=i) for p in files] for i, d in enumerate('ab')}

  train = halves(top / 'train')
  for split in ('test', 'val'):
    if (top / split).is_dir():
      test = halves(top / split)
      return Source(train, test, paired=True, train_pairs=train)
  return Source(train=train, test=train, train_pairs=train)


def _root(root, layout):
  if not root:
    raise UserError(
      f'data.root is not set: give the folder that holds {layout}, '
      '--config.data.root=FOLDER'
    )
  path = files.place(root)
  if not path.is_dir():
    raise UserError(f'no folder {path} (data.root): it should hold {layout}')
  return path


def tfds(root: str | os.PathLike[str], name: str) -> Source:
  """A TensorFlow data set `cycle_gan/NAME`, downloaded if it can be.

  TFDS mixes the pictures and drops their names, so no pairs are known.

  Args:
    root: TFDS's data_dir; empty for its default.
    name: such as 'cycle_gan/horse2zebra'.
  """
  import tensorflow_datasets  # slow to import, so only where it is used
  from tensorflow_datasets.core.download import downloader

  import cyclegan_jax.data.tf  # noqa: F401, keeps TensorFlow off accelerators

  downloader.MAX_RETRIES = 5  # 10 keep a user without network for minutes
  try:
    builder = tensorflow_datasets.builder(name, data_dir=root or None)
  except Exception as e:
    raise UserError(
      f'data.name={name!r} is no TFDS data set: {_first_line(e)}'
    ) from e
  try:
    builder.download_and_prepare()
    sets = builder.as_dataset(
      decoders={'image': tensorflow_datasets.decode.SkipDecoding()}
    )
  except Exception as e:  # network, disk, checksum: TFDS raises all kinds
    reason = textwrap.shorten(f'{type(e).__name__}: {e}', 120)
    raise UserError(
      f'{name} is not in {builder.data_dir} and could not be downloaded '
      f'({reason}): run "tfds build {name}" where there is a network and set '
      'data.root, or use configs/folder.py with your own pictures, or '
      'configs/satellite2map.py, which needs neither'
    ) from e
  if not {'trainA', 'trainB', 'testA', 'testB'} <= set(sets):
    raise UserError(
      f'{name} (data.name) has no splits trainA, trainB, testA and testB: '
      'choose a set cycle_gan/NAME'
    )

  def pictures(split):
    return [
      Picture(f'{name} {split} {i}', example['image'])
      for i, example in enumerate(sets[split].as_numpy_iterator())
    ]

  return Source(
    train={d: pictures(f'train{d.upper()}') for d in ('a', 'b')},
    test={d: pictures(f'test{d.upper()}') for d in ('a', 'b')},
  )


def _first_line(error):
  return (str(error).strip() or type(error).__name__).splitlines()[0]


def satellite2map(root: str | os.PathLike[str], name: str = '') -> Source:
  """The built-in set or a variant of it, made in the cache on first use.

  In a bucket it is a copy of that.
  """
  if not root or not files.remote(root):
    return folder(builtin.satellite2map(root and files.place(root), name))
  made = builtin.satellite2map(name=name)
  copy = files.place(root) / made.name
  if not (copy / 'complete').exists():
    with files.writing(copy):
      files.make(copy)
      files.copy_below(made, copy)
      files.write(copy / 'complete', '')
  return folder(copy)


# data.source -> (data.root, data.name) -> Source
SOURCES = {
  'folder': folder,
  'aligned': aligned,
  'tfds': tfds,
  'builtin': satellite2map,
}


def check(source: Source, skips: bool = False) -> None:
  """Reads every header once, so a wrong file stops a run before it starts.

  Args:
    source: a `Source`.
    skips: whether a run does without bad pictures.

  Raises:
    UserError: names the first picture that is none or is too small; with
      `skips` only where a split has no other.
  """
  labels = source.labels.pictures if source.labels else []
  for pictures in (*source.train.values(), *source.test.values(), labels):
    bad = []
    for picture in pictures:
      try:
        check_header(picture)
      except UserError as e:
        if not skips:
          raise
        bad.append(e)
    if bad and len(bad) == len(pictures):
      raise UserError(
        f'none of {len(bad)} pictures can be used, the first is {bad[0]}'
      )
