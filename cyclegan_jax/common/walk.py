"""All files below a folder of this machine, links to folders followed."""

import os
from collections.abc import Callable, Iterator

# Reasons not to take a path, beside those of a `Sort`.
BROKEN = 'broken link'
REPEATED = 'link to a folder read already'
ABOVE = 'link to a folder above'  # with pictures that are not meant
UNREADABLE = 'unreadable folder'
SPECIAL = 'special file'  # a pipe, a socket, a device

_FOLDER, _LINK = 'folder', 'link to a folder'

# The name of a file or folder -> None to take the file or enter the folder, or
# the reason not to.
Sort = Callable[[str], str | None]
Found = tuple[str, str | None]


def everything(name: str) -> None:
  """Takes every file and enters every folder: a `Sort`."""


def walk(folder: str, sort: Sort = everything) -> list[Found]:
  """Lists the files below a folder, in the order of their names.

  Every folder is read once, however many links lead to it and in whatever
  circles. Links are followed last, so a folder that has a place of its own
  below `folder` keeps the names it has there.

  Args:
    folder: a path.
    sort: a `Sort`.

  Returns:
    [(path, None for a file, or the reason why the path is not taken)]; of what
    is below a folder that is not read there is nothing.
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
  """Names in a folder and what they are, `None` for a file.

  The folder's own reason comes under the name '', if it cannot be read.
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
  except OSError:  # a link to itself, or into a folder that is closed
    return BROKEN
  return BROKEN if entry.is_symlink() else SPECIAL
