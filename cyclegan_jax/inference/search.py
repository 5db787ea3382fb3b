"""The files that --input means: one, a folder's, or those of a pattern."""

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
    source: a file, a folder (with all below it), or a pattern with * ? [].

  Returns:
    The folder that names are relative to, and [(path, None for a file, or the
    reason why it is left out)], as `files.found`.

  Raises:
    UserError: there is no such file, and it is no pattern.
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
      raise UserError(f'{source} (--input): ** is not known in a bucket')
    matches = sorted(root.glob('/'.join(pattern)))
    return root, [(p, folders.sort(p.name)) for p in matches]
  if _ANY_DEPTH in pattern:
    found = files.found(root, folders.sort)
    return root, [x for x in found if _fits(x[0], root, pattern)]
  matches = sorted(map(pathlib.Path, glob.glob(str(path))))
  return root, [(p, _reason(p, root)) for p in matches]


def _reason(path, root):
  """Returns the reason to leave out a match of a pattern, or None."""
  # A pattern that has the dot means what is hidden.
  names = path.relative_to(root).parts
  reasons = (folders.sort(name) for name in names if name[0] != '.')
  if reason := next(filter(None, reasons), None):
    return reason
  return None if path.is_file() else _FOLDER


def _fits(path, root, pattern):
  """Returns True for a match of a pattern; `**` is any number of folders."""
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
