"""Where pictures come from: the names of `data.source`."""

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
  """The official layout: ROOT/{trainA,trainB}, and testA, testB if there.

  Pictures of testA and testB are true pairs for measuring by `paired`; so are
  those of pairsA and pairsB, or without these of trainA and trainB, for methods
  that need pairs. Beside classes.json, testLabels holds label maps of testA,
  and trainLabels of trainA, by name.

  Args:
    root: the folder.
    name: not used.
    paired: 'auto': pictures are pairs if their names agree (`pairs.by_name`);
      'yes': they have to agree; 'no': they are no pairs.

  Raises:
    UserError: a folder or file is missing or wrong, or names that have to agree
      do not.
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
  return {domain: search.pictures(place) for domain, place in places.items()}


def _stand_in_notes(missing):
  """A line on the folders of test pictures that are missing, if any are."""
  if not missing:
    return []
  folders = ' and no folder '.join(str(x) for x in missing.values())
  domains = ' and '.join(domain.upper() for domain in missing)
  return [
    f'no folder {folders}: training pictures of {domains} are shown in place '
    'of test pictures'
  ]


def _training_pairs(places):
  """Which folders true pairs may be in, and a line if one has no other."""
  there = [place for place in places.values() if place.is_dir()]
  if len(there) != 1:
    return 'pairs' if there else 'train', []
  (missing,) = (place for place in places.values() if place not in there)
  return 'train', [f'no folder {missing}: {there[0]} is not used']


def aligned(
  root: str | os.PathLike[str], name: str = '', paired: str = 'auto'
) -> Source:
  """Pairs side by side: ROOT/{train,test}, left half A, right half B.

  ROOT/val is used where there is no test. With `paired` 'no' the halves are
  taken for unpaired pictures.
  """
  del name
  choose(pairs.PAIRED, paired, 'data.paired')
  top, search = _root(root, 'train and test'), Search()

  def halves(folder):
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
  if not root:
    raise UserError(
      f'data.root is not set: give the folder that holds {layout}, '
      '--config.data.root=FOLDER'
    )
  path = files.place(root)
  if not path.is_dir():
    raise UserError(f'no folder {path} (data.root): it should hold {layout}')
  return path


def satellite2map(
  root: str | os.PathLike[str], name: str = '', paired: str = 'auto'
) -> Source:
  """The built-in set or a variant of it, made in the cache on first use.

  In a bucket it is a copy of that. Its test pictures are pairs, whatever they
  are called; with `paired` 'no' they are not used as such.
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
  """T1 and tissue of the MNI152 brain, made in the cache on first use.

  Its test slabs are pairs; with `paired` 'no' they are not used as such.
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
