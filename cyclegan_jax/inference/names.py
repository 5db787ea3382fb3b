"""Chooses a distinct file name for each translation."""

import collections
import pathlib
import unicodedata
from collections.abc import Sequence

from cyclegan_jax.data import formats


def back(output):
  """Returns the path of a reconstruction: x/1.reconstructed.png for x/1.png.

  Args:
    output: path of the translation, such as x/1.png.
  """
  stem, ending = formats.split(output.name)
  return output.with_name(f'{stem}.reconstructed{ending}')


def _stem(path):
  """Returns a file's name without its ending: `brain` for brain.nii.gz."""
  return formats.split(path.name)[0]


def outputs(
  names: Sequence[pathlib.PurePath], endings: Sequence[str], both: bool = False
) -> list[pathlib.PurePath]:
  """Returns a distinct path for the translation of each file.

  Folders and names are kept: x/1.jpg becomes x/1.png. Files whose outputs would
  have equal names keep the ending of the input as well (1.jpg.png). Names that
  are still equal get a number (1.jpg.2.png). Names that some file systems treat
  as equal, by case or by Unicode form, count as equal. An output also never has
  the name of a folder of the outputs.

  Args:
    names: relative paths of the input files, without duplicates.
    endings: ending of each translation, such as 'png'.
    both: if True, the paths of the reconstructions (`back`) are kept free too.

  Returns:
    Relative paths, in the order of `names`.
  """
  made = [
    name.with_name(f'{_stem(name)}.{x}') for name, x in zip(names, endings)
  ]
  for i in _clashes(made, both):
    made[i] = names[i].with_name(f'{names[i].name}.{endings[i]}')
  # 1.jpg.png of 1.jpg may also be the output of an input 1.jpg.gif.
  while more := [
    i for i in _clashes(made, both) if _stem(made[i]) != names[i].name
  ]:
    for i in more:
      made[i] = names[i].with_name(f'{names[i].name}.{endings[i]}')
  number = 2
  while left := _clashes(made, both, all_but_first=True):
    for i in left:
      name = f'{names[i].name}.{number}.{endings[i]}'
      made[i] = names[i].with_name(name)
      number += 1
  return made


def _clashes(made, both, all_but_first=False):
  """Returns the indices of paths that equal another path or a folder."""
  owners = collections.defaultdict(list)
  for i, path in enumerate(made):
    for one in (path, back(path)) if both else (path,):
      owners[_key(one)].append(i)
  folders = {_key(folder) for path in made for folder in path.parents}
  found = set()
  for key, places in owners.items():
    if key in folders:
      found.update(places)
    elif len(places) > 1:
      found.update(places[1:] if all_but_first else places)
  return sorted(found)


def _key(path):
  """Returns a key, equal for paths that some file system treats as equal."""
  return unicodedata.normalize('NFC', str(path)).casefold()
