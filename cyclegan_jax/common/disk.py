"""Failures of file systems, said in one line, and files that grow."""

import contextlib
import errno
import hashlib
import io
import os
import pathlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Union

from cyclegan_jax.common.errors import UserError

if TYPE_CHECKING:
  from etils import epath

Path = Union[pathlib.Path, 'epath.Path']

_BUCKET = 'gs://'
_BODY = re.compile(r"with body '.*'", re.DOTALL)  # of the server's answer
_PART = '.part'
# Bytes of a file's name: 255 on most file systems, 143 on encrypted ones.
_LONGEST_PART = 143
# Failures of a disk as a whole: the next file would fail in the same way.
_OF_THE_DISK = {
  errno.ENOSPC,
  errno.EDQUOT,
  errno.EROFS,
  errno.EIO,
  errno.ESTALE,
  errno.ENODEV,
}
_MAKE_ROOM = 'make room or make it writable'
_MOVE = 'move what is in the way'
_ADVICE = {
  errno.ENAMETOOLONG: 'shorten the name',
  errno.EISDIR: _MOVE,
  errno.ENOTDIR: _MOVE,
  errno.EEXIST: _MOVE,
  errno.EFBIG: 'make room, or allow larger files (ulimit -f)',
}
_NO_TMP = 'No usable temporary directory'  # of Python's tempfile
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Failures that a program cannot cause by a wrong path.
_OF_NO_PATH = _OF_THE_DISK.union(_FULL)


class WriteError(UserError):
  """A file that could not be written.

  Attributes:
    path: the file or folder.
    flag: the flag that the user named it by, or ''.
    reason: the file system's.
    errno: the number of the error, or None.
  """

  def __init__(self, path: Path, error: BaseException, flag: str = '') -> None:
    self.path = path
    self.flag = flag
    self.reason = failed(error)
    self.errno = number(error)
    named = f' ({flag})' if flag else ''
    name = str(path)
    super().__init__(
      f'cannot write to {name if name.isprintable() else repr(name)}{named}, '
      f'{self.reason}: {_ADVICE.get(self.errno, _MAKE_ROOM)}, then run the '
      'same command to continue'
    )


def _chain(error):
  """An error and what it was raised from."""
  while error is not None:
    yield error
    error = error.__cause__


def _source(error):
  """The error of a file system behind an error, or None."""
  for one in _chain(error):
    module = type(one).__module__
    if module.startswith('tensorflow.python.framework.errors'):
      return one
    if isinstance(one, OSError) or _number_in(one):
      return one
  return None


def _number_in(error):
  """The number of a full disk that an error's text tells of, or None.

  JAX's profiler and TensorStore write by themselves and raise errors of their
  own, with the system's reason somewhere in a long text.
  """
  text = str(error)
  return next((n for n in _FULL if os.strerror(n) in text), None)


def failed(error: BaseException) -> str | None:
  """Returns the reason of a failed file system, or None for other errors.

  A library's error counts that was raised from one of a file system.
  """
  if (source := _source(error)) is None:
    return None
  if reason := getattr(source, 'strerror', None):
    return reason
  if code := _number_in(source):
    return os.strerror(code)
  text = _BODY.sub('', str(source))  # what comes behind it names the path
  return ' '.join(text.split())[:300]


def told(error: BaseException) -> str:
  """Returns the reason of any error, in a few words where that is known."""
  text = ' '.join(str(error).split())
  return failed(error) or text[:200] or type(error).__name__


def number(error: BaseException) -> int | None:
  """The `errno` of a failed file system, or None."""
  if (source := _source(error)) is None:
    return None
  return getattr(source, 'errno', None) or _number_in(source)


def unreachable(error: BaseException) -> str | None:
  """Returns `failed` for errors of buckets alone, which name the path."""
  reason = failed(error)
  return reason if reason and _BUCKET in reason else None


def spoiled(error: BaseException) -> str | None:
  """Returns one line on an error that only a disk can cause; None for others.

  For errors that no `writing` has met, those of libraries above all.
  """
  if isinstance(error, FileNotFoundError) and _NO_TMP in str(error):
    return (
      f'{error.strerror}: make room in one of them, or set TMPDIR to another '
      'folder'
    )
  code = number(error)
  if code is None or code not in _OF_NO_PATH:
    return None
  name = getattr(_source(error), 'filename', None)
  return str(WriteError(name or 'the disk', error))


def concerns_all(error: WriteError, folder: Path) -> bool:
  """Returns True if other files below a folder cannot be written either."""
  if error.errno is None:  # a bucket's, which was tried for long
    return not isinstance(_source(error), OSError)
  if error.errno in _OF_THE_DISK:
    return True
  return not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK)


@contextlib.contextmanager
def writing(path: Path, flag: str = '') -> Iterator[None]:
  """Turns an error of the file system into a `WriteError`.

  Args:
    path: the file or folder that is being written to.
    flag: what the user named it by.
  """
  try:
    yield
  except WriteError as e:  # of a file below the path
    if not flag or e.flag:
      raise
    raise WriteError(e.path, e.__cause__ or e, flag) from e.__cause__
  except UserError:
    raise
  except Exception as e:
    if not failed(e):
      raise
    raise WriteError(path, e, flag) from e


def part(path: Path) -> Path:
  """Path of a file while it is written, before it takes its place.

  It is in the same folder. A name that would be too long with the ending is
  replaced by a short one.
  """
  name = os.fsencode(path.name)
  if len(name) + len(_PART) <= _LONGEST_PART:
    return path.with_name(path.name + _PART)
  return path.with_name(hashlib.sha256(name).hexdigest()[:32] + _PART)


def put(file: io.FileIO, data: bytes) -> None:
  """Writes bytes to a file; all that the package writes itself comes here."""
  rest = memoryview(data)
  while rest:
    rest = rest[file.write(rest) :]


def fill(path: pathlib.Path, data: bytes) -> None:
  """Writes a file of this machine anew; a killed process leaves half of it.

  For files that take their place later; all others are for `files.write`.

  Raises:
    OSError: it cannot be written.
  """
  with path.open('wb', buffering=0) as file:
    put(file, data)


class Growing:
  """A file of this machine to which whole lines are added.

  A line that does not fit is taken back, so no later one is behind half of it.
  """

  def __init__(self, path: pathlib.Path) -> None:
    """Opens the file, which may be there.

    Raises:
      WriteError: it cannot be written, here and in all methods.
    """
    self._path = path
    with writing(path):
      self._file = path.open('ab', buffering=0)

  def add(self, line: str) -> None:
    """Writes a line, its end included."""
    with writing(self._path):
      start = os.fstat(self._file.fileno()).st_size
      try:
        put(self._file, line.encode())
      except OSError:
        with contextlib.suppress(OSError):
          self._file.truncate(start)
        raise

  def flush(self) -> None:
    """Sees all of it onto the disk."""
    with writing(self._path):
      os.fsync(self._file.fileno())

  def close(self) -> None:
    with writing(self._path):
      self._file.close()
