"""Names of translations: one file each, whatever the pictures are called."""

import collections
import pathlib
import unicodedata
from collections.abc import Sequence

from cyclegan_jax.data import formats


def back(output):
  """Path of the picture that was translated there and back."""
  stem, ending = formats.split(output.name)
  return output.with_name(f'{stem}.reconstructed{ending}')


def _stem(path):
  """The name of a file without its ending: `brain` of brain.nii.gz."""
  return formats.split(path.name)[0]


def outputs(
  names: Sequence[pathlib.PurePath], endings: Sequence[str], both: bool = False
) -> list[pathlib.PurePath]:
  """Paths of the translations of some files, all relative.

  Folders and names are kept, and x/1.jpg becomes x/1.png. Files whose outputs
  would be the same keep their ending too (1.jpg.png); what is still the same
  gets a number. Names count as the same that some file systems do not tell
  apart, and so does the name of a folder.

  Args:
    names: of the files, each once.
    endings: of their translations, such as 'png'.
    both: whether `back` of each is written too.
  """
  made = [
    name.with_name(f'{_stem(name)}.{x}') for name, x in zip(names, endings)
  ]
  for i in _clashes(made, both):
    made[i] = names[i].with_name(f'{names[i].name}.{endings[i]}')
  # A long name may be the short one of another file.
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
  """Places of the paths that are those of others, or of folders."""
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
  """Equal for paths that are one file on some file system."""
  return unicodedata.normalize('NFC', str(path)).casefold()
