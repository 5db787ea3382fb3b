"""Search for the pictures in a folder, with a report of the ignored files."""

from collections.abc import Callable, Iterable, Sequence

from cyclegan_jax.common import files, walk
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import formats
from cyclegan_jax.data.picture import Picture, named
from cyclegan_jax.data.source import Source

LeftOut = tuple[files.Path, str]  # an ignored path, and the reason

HIDDEN = 'hidden'
NO_ENDING = 'without an ending'
_LEFTOVER = 'leftover'  # ignored without a report
# Files and folders that systems and programs create, in lower case.
_LEFTOVERS = {
  '.appledouble',
  '.directory',
  '.documentrevisions-v100',
  '.ds_store',
  '.fseventsd',
  '.git',
  '.gitattributes',
  '.gitignore',
  '.gitkeep',
  '.hg',
  '.ipynb_checkpoints',
  '.keep',
  '.localized',
  '.nomedia',
  '.picasa.ini',
  '.spotlight-v100',
  '.svn',
  '.temporaryitems',
  '.thumbnails',
  '.trash',
  '.trashes',
  '.volumeicon.icns',
  '.@__thumb',
  '@__thumb',
  '@eadir',
  '@recycle',
  '@recently-snapshot',
  '#recycle',
  '#snapshot',
  '$recycle.bin',
  '__macosx',
  'desktop.ini',
  'ehthumbs.db',
  'ehthumbs_vista.db',
  'found.000',
  'lost+found',
  'picasa.ini',
  'recycler',
  'thumbs.db',
  'icon\r',
  'system volume information',
}
# macOS keeps its metadata of x.jpg in `._x.jpg` on foreign file systems.
_LEFTOVER_STARTS = ('._', '.trash-', '.nfs', '.fuse_hidden', '~$', '.~lock.')
_NAMED = (
  walk.ABOVE,
  walk.BROKEN,
  walk.REPEATED,
  walk.SPECIAL,
  walk.UNREADABLE,
)
_SHOWN = 8  # most reasons in a summary


def sort(name: str) -> str | None:
  """Returns why a file or folder is ignored by its name; None if it is not.

  Hidden files and folders, and the ones that systems and programs create, are
  ignored. Used as the argument `sort` of `files.found`.

  Args:
    name: name of the file or folder, without its path.
  """
  lower = name.lower()
  if lower in _LEFTOVERS or lower.startswith(_LEFTOVER_STARTS):
    return _LEFTOVER
  return HIDDEN if name.startswith('.') else None


def reason(path: files.Path) -> str | None:
  """Returns why a file is not read as a picture; None if its ending is read.

  The reason is the file's ending, in lower case, or `NO_ENDING`. The endings of
  formats whose package is not installed are not read.
  """
  ending = formats.ending_of(path.name)
  if ending in formats.EXTENSIONS and not formats.missing(ending):
    return None
  return ending or NO_ENDING


def divided(
  paths: Iterable[tuple[files.Path, str | None]],
  why_not: Callable[[files.Path], str | None] = reason,
) -> tuple[list[files.Path], list[LeftOut]]:
  """Divides the paths that `files.found` returned into used and ignored ones.

  Args:
    paths: [(path, reason to ignore the path, or None)].
    why_not: function that returns the reason to ignore a path, or None; called
      for the paths without a reason.

  Returns:
    The list of paths to use, and the list of ignored paths as (path, reason).
    Files that systems and programs create are in neither list.
  """
  taken, left_out = [], []
  for path, why in paths:
    why = why or why_not(path)
    if not why:
      taken.append(path)
    elif why != _LEFTOVER:
      left_out.append((path, why))
  return taken, left_out


class Search:
  """A search of folders for pictures, which collects the ignored paths.

  Call `pictures` for each folder, then `noted` to tell the user what was
  ignored.

  Attributes:
    left_out: [(path, reason)] of the ignored paths of all folders searched.
  """

  def __init__(self) -> None:
    self.left_out: list[LeftOut] = []

  def pictures(self, folder: files.Path) -> list[Picture]:
    """Returns the pictures in a folder and its subfolders, sorted by name.

    Raises:
      UserError: the folder does not exist or has no picture.
    """
    if not folder.is_dir():
      raise UserError(f'no folder {folder}: set data.root to the dataset')
    found, left_out = divided(files.found(folder, sort))
    if not found:
      raise UserError(f'no pictures in {folder}: {needed(left_out)}')
    self.left_out += left_out
    return [named(path) for path in found]

  def noted(self, source: Source) -> Source:
    """Returns a copy of a source with the ignored paths and a note on them.

    Args:
      source: the `Source` made of the pictures found.
    """
    notes = [summary(self.left_out)] if self.left_out else []
    return source._replace(
      notes=(*source.notes, *notes), left_out=tuple(self.left_out)
    )


def needed(left_out: Sequence[LeftOut]) -> str:
  """Returns a text on the endings that are read and on the ignored paths.

  Args:
    left_out: [(path, reason)] of the ignored paths of a folder without
      pictures.
  """
  line = f'supported endings are {" ".join(formats.EXTENSIONS)}'
  return f'{line} ({summary(left_out)})' if left_out else line


def summary(left_out: Sequence[LeftOut]) -> str:
  """Returns a line with the number of ignored paths for each reason.

  The most frequent reason comes first, as in 'ignored 12 files: 8 .heic,
  4 .txt'. Install commands of missing packages follow.

  Args:
    left_out: [(path, reason)] of the ignored paths.
  """
  groups = by_reason(left_out)
  order = sorted(groups, key=lambda why: (-len(groups[why]), why))
  said = [_group(why, groups[why]) for why in order[:_SHOWN]]
  if rest := sum(len(groups[why]) for why in order[_SHOWN:]):
    said.append(f'{rest} others')
  total = len(left_out)
  line = f'ignored {total} file{"" if total == 1 else "s"}: {", ".join(said)}'
  return line + ''.join(_to_read(why) for why in order)


def by_reason(left_out: Sequence[LeftOut]) -> dict[str, list[str]]:
  """Returns {reason: names of the paths ignored for that reason}."""
  groups: dict[str, list[str]] = {}
  for path, why in left_out:
    groups.setdefault(why, []).append(named(path).name)
  return groups


def _group(why, names):
  """Returns a text such as '6 .txt' on the paths ignored for one reason."""
  if not why.startswith(_NAMED):
    return f'{len(names)} {why if why.isprintable() else repr(why)}'
  first, count = names[0], len(names)
  noun, _, of_system = why.partition(' (')
  noun = noun if count == 1 else _plural(noun)
  more = ' and others' if count > 1 else ''
  detail = f': {of_system[:-1]}' if of_system else ''
  return f'{count} {noun} ({first}{more}{detail})'


def _plural(noun):
  head, *rest = noun.split(' to ')
  return ' to '.join([f'{head}s', *rest])


def _to_read(why):
  """Returns the command that makes an ending readable, in brackets, or ''."""
  command = why in formats.EXTENSIONS and formats.missing(why)
  return f' (to read {why} files: {command})' if command else ''
