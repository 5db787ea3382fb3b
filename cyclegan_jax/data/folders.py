"""The pictures below a folder, and what there is left out."""

from collections.abc import Callable, Iterable, Sequence

from cyclegan_jax.common import files, walk
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import formats
from cyclegan_jax.data.picture import Picture, named
from cyclegan_jax.data.source import Source

LeftOut = tuple[files.Path, str]  # a path, and the reason as `summary` says it

HIDDEN = 'hidden'
NO_ENDING = 'without an ending'
_LEFTOVER = 'leftover'  # not worth a word
# What systems and programs leave in folders of pictures, in small letters.
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
# `._x.jpg` holds what a Mac knows of x.jpg where it cannot be stored otherwise.
_LEFTOVER_STARTS = ('._', '.trash-', '.nfs', '.fuse_hidden', '~$', '.~lock.')
_NAMED = (
  walk.ABOVE,
  walk.BROKEN,
  walk.REPEATED,
  walk.SPECIAL,
  walk.UNREADABLE,
)
_SHOWN = 8  # reasons in a line


def sort(name: str) -> str | None:
  """Leaves out what is hidden or a leftover of a system: a `walk.Sort`."""
  lower = name.lower()
  if lower in _LEFTOVERS or lower.startswith(_LEFTOVER_STARTS):
    return _LEFTOVER
  return HIDDEN if name.startswith('.') else None


def reason(path: files.Path) -> str | None:
  """Returns why a file is not read as a picture; None if it is one by name."""
  ending = formats.ending_of(path.name)
  if ending in formats.EXTENSIONS and not formats.missing(ending):
    return None
  return ending or NO_ENDING


def divided(
  paths: Iterable[tuple[files.Path, str | None]],
  why_not: Callable[[files.Path], str | None] = reason,
) -> tuple[list[files.Path], list[LeftOut]]:
  """Divides what `files.found` gave.

  Args:
    paths: [(path, None or the reason why it is not taken)].
    why_not: path -> why a file is left out, or None.

  Returns:
    The files to take, and [LeftOut] without leftovers of systems.
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
  """Pictures of folders.

  Attributes:
    left_out: [LeftOut] of all folders that were searched.
  """

  def __init__(self) -> None:
    self.left_out: list[LeftOut] = []

  def pictures(self, folder: files.Path) -> list[Picture]:
    """All pictures below a folder, in the order of their names.

    Raises:
      UserError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
      raise UserError(f'no folder {folder}: set data.root to the data set')
    found, left_out = divided(files.found(folder, sort))
    if not found:
      raise UserError(f'no pictures in {folder}: {needed(left_out)}')
    self.left_out += left_out
    return [named(path) for path in found]

  def noted(self, source: Source) -> Source:
    """The same source with what was left out, and a line on it."""
    notes = [summary(self.left_out)] if self.left_out else []
    return source._replace(
      notes=(*source.notes, *notes), left_out=tuple(self.left_out)
    )


def needed(left_out: Sequence[LeftOut]) -> str:
  """Says what a folder without a picture needs, and what it has."""
  line = f'it needs {" ".join(formats.EXTENSIONS)} files'
  return f'{line} ({summary(left_out)})' if left_out else line


def summary(left_out: Sequence[LeftOut]) -> str:
  """One line that says what was left out, by reason, most frequent first."""
  groups = by_reason(left_out)
  order = sorted(groups, key=lambda why: (-len(groups[why]), why))
  said = [_group(why, groups[why]) for why in order[:_SHOWN]]
  if rest := sum(len(groups[why]) for why in order[_SHOWN:]):
    said.append(f'{rest} others')
  total = len(left_out)
  line = f'ignored {total} file{"" if total == 1 else "s"}: {", ".join(said)}'
  return line + ''.join(_to_read(why) for why in order)


def by_reason(left_out: Sequence[LeftOut]) -> dict[str, list[str]]:
  """{reason: the names of the paths that are left out for it}."""
  groups: dict[str, list[str]] = {}
  for path, why in left_out:
    groups.setdefault(why, []).append(named(path).name)
  return groups


def _group(why, names):
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
  """The command after which files of an ending are read, in brackets."""
  command = why in formats.EXTENSIONS and formats.missing(why)
  return f' ({why} files are read after: {command})' if command else ''
