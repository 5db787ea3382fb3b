"""Finds the files that --input names: one, a folder, or a pattern."""

import fnmatch
import functools
import glob
import pathlib
from collections.abc import Sequence

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import folders

_ANY_DEPTH = '**'
_FOLDER = 'folder'

Found = list[tuple[files.Path, str | None]]


def search(source: str) -> tuple[files.Path, Found]:
  """Finds the files of a path or pattern, in the order of their names.

  Args:
    source: a file, a folder with all its subfolders, or a pattern with the
      characters `*`, `?` or `[]`. In a local pattern `**` stands for any number
      of folders.

  Returns:
    (root, found): the folder that the names of outputs are relative to, and a
    list of (path, reason). The reason is None for a file to use, and a text for
    a path that is left out.

  Raises:
    UserError: `source` is not a pattern and does not exist, or it is a pattern
      of a bucket with `**`.
  """
  path = files.place(source)
  if path.is_file():
    return path.parent, [(path, None)]
  if path.is_dir():
    return path, files.found(path, folders.sort)
  if not glob.has_magic(str(path)):
    raise UserError(f'no file or folder {source} (--input)')
  parts = path.parts
  fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
  root = type(path)(*parts[: min(fixed, len(parts) - 1)])
  pattern = parts[fixed:]
  if files.remote(path):
    if _ANY_DEPTH in parts:
      raise UserError(
        f'{source} (--input): ** is not supported in a bucket: give a folder'
      )
    matches = sorted(root.glob('/'.join(pattern)))
    return root, [(p, folders.sort(p.name)) for p in matches]
  if _ANY_DEPTH in pattern:
    found = files.found(root, folders.sort)
    return root, [x for x in found if _fits(x[0], root, pattern)]
  matches = sorted(map(pathlib.Path, glob.glob(str(path))))
  return root, [(p, _reason(p, root)) for p in matches]


def _reason(path, root):
  """Returns the reason to leave out a file that matches, or None."""
  # glob matches hidden names only for patterns that have the dot: keep these.
  names = path.relative_to(root).parts
  reasons = (folders.sort(name) for name in names if name[0] != '.')
  if reason := next(filter(None, reasons), None):
    return reason
  return None if path.is_file() else _FOLDER


def _fits(path, root, pattern):
  """Returns True if a path matches a pattern; `**` is any number of folders."""
  return _matches(path.relative_to(root).parts, tuple(pattern))


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
  @functools.cache
  def rest(i, k):
    if k == len(pattern):
      return i == len(names)
    if pattern[k] == _ANY_DEPTH:
      last = k + 1 == len(pattern)
      return last or any(rest(j, k + 1) for j in range(i, len(names)))
    return (
      i < len(names)
      and fnmatch.fnmatchcase(names[i], pattern[k])
      and rest(i + 1, k + 1)
    )

  return rest(0, 0)
