"""Recursive listing of a local folder that follows links to folders."""

import os
from collections.abc import Callable, Iterator

# Reasons to skip a path, beside the reasons that a `Sort` gives.
BROKEN = 'broken link'
REPEATED = 'link to a folder read already'
ABOVE = 'link to a folder above'  # would include unrelated pictures
UNREADABLE = 'unreadable folder'
SPECIAL = 'special file'  # a pipe, a socket, a device

_FOLDER, _LINK = 'folder', 'link to a folder'

# Name of a file or folder -> None to list the file or search the folder, or the
# reason to skip the file or folder.
Sort = Callable[[str], str | None]
Found = tuple[str, str | None]


def everything(name: str) -> None:
  """Returns None for every name: a `Sort` that skips no file and no folder."""


def walk(folder: str, sort: Sort = everything) -> list[Found]:
  """Lists the files below a local folder recursively, sorted by name.

  Links to folders are followed, but every folder is read only once, even if
  links form a circle. Links are followed after all other folders were read, so
  a file that can be reached without links is listed by its path without links.

  Args:
    folder: path of the folder.
    sort: function of a file or folder name that returns None, or the reason to
      skip the file or folder.

  Returns:
    [(path, None for a file, or the reason why the path is skipped)]. Nothing
    below a skipped folder is listed.
  """
  found: list[Found] = []
  root = os.path.realpath(folder)
  folders, links, seen = [(folder, root)], [], {root}
  while folders or links:
    if not folders:
      links.sort()
      path = links.pop(0)
      real = os.path.realpath(path)
      if real in seen or _is_above(real, root):
        found.append((path, REPEATED if real in seen else ABOVE))
        continue
      seen.add(real)
      folders.append((path, real))
    path, real = folders.pop()
    for name, kind in _entries(path, sort):
      below = os.path.join(path, name) if name else path
      if kind == _LINK:
        links.append(below)
      elif kind != _FOLDER:
        found.append((below, kind))
      elif (real_below := os.path.join(real, name)) not in seen:
        seen.add(real_below)
        folders.append((below, real_below))
  return sorted(found, key=lambda x: x[0].split(os.sep))


def _is_above(folder: str, path: str) -> bool:
  return os.path.join(path, '').startswith(os.path.join(folder, ''))


def _entries(folder: str, sort: Sort) -> Iterator[Found]:
  """Yields (name, kind) of each entry of a folder.

  The kind is None for a file, `_FOLDER`, `_LINK`, or the reason to skip the
  entry. If the folder cannot be read, yields ('', the reason).
  """
  try:
    with os.scandir(folder) as entries:
      for entry in entries:
        yield entry.name, sort(entry.name) or _kind(entry)
  except OSError as e:
    yield '', f'{UNREADABLE} ({e.strerror})'


def _kind(entry):
  try:
    if entry.is_file():
      return None
    if entry.is_dir():
      return _LINK if entry.is_symlink() else _FOLDER
  except OSError:  # a link to itself, or into a folder without permission
    return BROKEN
  return BROKEN if entry.is_symlink() else SPECIAL
