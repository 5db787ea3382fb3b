"""One-line errors for failures of file systems, and files of growing length."""

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
_BODY = re.compile(r"with body '.*'", re.DOTALL)  # the server's long answer
_PART = '.part'
# Bytes allowed in a file name: 255 on most file systems, 143 on encrypted ones.
_LONGEST_PART = 143
# Failures of a whole disk: writing any other file would fail, too.
_OF_THE_DISK = {
  errno.ENOSPC,
  errno.EDQUOT,
  errno.EROFS,
  errno.EIO,
  errno.ESTALE,
  errno.ENODEV,
}
_MAKE_ROOM = 'make room or make it writable'
_MOVE = 'move the file or folder that is in the way'
_ADVICE = {
  errno.ENAMETOOLONG: 'shorten the name',
  errno.EISDIR: _MOVE,
  errno.ENOTDIR: _MOVE,
  errno.EEXIST: _MOVE,
  errno.EFBIG: 'make room, or allow larger files (ulimit -f)',
}
_NO_TMP = 'No usable temporary directory'  # of Python's tempfile
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Failures that a wrong path cannot cause.
_OF_NO_PATH = _OF_THE_DISK.union(_FULL)


class WriteError(UserError):
  """Error for a file that could not be written.

  Attributes:
    path: the file or folder.
    flag: the flag or option that the user gave the path with, or ''.
    reason: the reason that the file system gave, or None.
    errno: the `errno` of the failure, or None.
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
  """Yields an error and its chain of `__cause__` errors."""
  while error is not None:
    yield error
    error = error.__cause__


def _source(error):
  """Returns the file system error among `error` and its causes, or None."""
  for one in _chain(error):
    module = type(one).__module__
    if module.startswith('tensorflow.python.framework.errors'):
      return one
    if isinstance(one, OSError) or _number_in(one):
      return one
  return None


def _number_in(error):
  """Returns the `errno` of a full disk if the error's text names it, or None.

  JAX's profiler and TensorStore write files themselves. Their errors are no
  `OSError`, but hold the system's reason somewhere in a long text.
  """
  text = str(error)
  return next((n for n in _FULL if os.strerror(n) in text), None)


def failed(error: BaseException) -> str | None:
  """Returns the reason for a file system error, or None for any other error.

  Args:
    error: any error. An error of a library counts as a file system error if a
      file system error is among its causes (`raise ... from`).

  Returns:
    The reason in the system's words, such as 'No space left on device'.
  """
  if (source := _source(error)) is None:
    return None
  if reason := getattr(source, 'strerror', None):
    return reason
  if code := _number_in(source):
    return os.strerror(code)
  text = _BODY.sub('', str(source))  # the text after the answer names the path
  return ' '.join(text.split())[:300]


def told(error: BaseException) -> str:
  """Returns a one-line reason for any error.

  Args:
    error: any error.

  Returns:
    The reason of the system (`failed`) for a file system error. For any other
    error, the first 200 characters of the error's text, or the name of the
    error's type if the text is empty.
  """
  text = ' '.join(str(error).split())
  return failed(error) or text[:200] or type(error).__name__


def number(error: BaseException) -> int | None:
  """Returns the `errno` of a file system error, or None if there is none.

  Args:
    error: any error.
  """
  if (source := _source(error)) is None:
    return None
  return getattr(source, 'errno', None) or _number_in(source)


def unreachable(error: BaseException) -> str | None:
  """Returns the reason for an error of a bucket, or None for any other error.

  The reason names the path in the bucket.

  Args:
    error: any error, such as one of TensorFlow's file system.
  """
  reason = failed(error)
  return reason if reason and _BUCKET in reason else None


def spoiled(error: BaseException) -> str | None:
  """Returns a one-line message for an error that only a disk can cause.

  For errors that were raised outside of `writing`, mostly by libraries. Returns
  None for other errors, such as a missing file, which a wrong path can cause.

  Args:
    error: any error that ended a program.
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
  """Returns True if other files below a folder cannot be written either.

  Args:
    error: the error that writing one file below the folder raised.
    folder: the folder.
  """
  if error.errno is None:  # of a bucket, after many attempts
    return not isinstance(_source(error), OSError)
  if error.errno in _OF_THE_DISK:
    return True
  return not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK)


@contextlib.contextmanager
def writing(path: Path, flag: str = '') -> Iterator[None]:
  """Context that turns a file system error into a `WriteError`.

  Args:
    path: the file or folder that the context writes to.
    flag: the flag or option that the user gave the path with.

  Raises:
    WriteError: the context raised a file system error. Any other error is
      raised unchanged.
  """
  try:
    yield
  except WriteError as e:  # from a nested context, for a file below the path
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
  """Returns the temporary path of a file while the file is being written.

  The temporary path is the file's path with '.part' appended. If its name would
  be too long, a short name derived from the file's name is used instead.
  """
  name = os.fsencode(path.name)
  if len(name) + len(_PART) <= _LONGEST_PART:
    return path.with_name(path.name + _PART)
  return path.with_name(hashlib.sha256(name).hexdigest()[:32] + _PART)


def put(file: io.FileIO, data: bytes) -> None:
  """Writes all bytes to an unbuffered file.

  Every local file that the package writes itself is written by this function.

  Args:
    file: a local file, opened unbuffered for writing.
    data: the bytes.

  Raises:
    OSError: the bytes cannot be written.
  """
  rest = memoryview(data)
  while rest:
    rest = rest[file.write(rest) :]


def fill(path: pathlib.Path, data: bytes) -> None:
  """Creates or overwrites a local file.

  A killed process leaves half of the file, so use `files.write` for a final
  path, and this function only for a temporary path that is renamed afterwards.

  Raises:
    OSError: the file cannot be written.
  """
  with path.open('wb', buffering=0) as file:
    put(file, data)


class Growing:
  """A local file to which whole lines are appended, by `add`.

  A line that does not fit on the disk is removed again, so that later lines
  never follow half a line.
  """

  def __init__(self, path: pathlib.Path) -> None:
    """Opens the file for appending and creates it if missing.

    Args:
      path: path of the file.

    Raises:
      WriteError: the file cannot be written. All methods raise this error, too.
    """
    self._path = path
    with writing(path):
      self._file = path.open('ab', buffering=0)

  def add(self, line: str) -> None:
    """Appends a line to the file.

    Args:
      line: text that ends with a newline.

    Raises:
      WriteError: the line cannot be written; none of its text is kept.
    """
    with writing(self._path):
      start = os.fstat(self._file.fileno()).st_size
      try:
        put(self._file, line.encode())
      except OSError:
        with contextlib.suppress(OSError):
          self._file.truncate(start)
        raise

  def flush(self) -> None:
    """Waits until the operating system has written the file to the disk."""
    with writing(self._path):
      os.fsync(self._file.fileno())

  def close(self) -> None:
    """Closes the file."""
    with writing(self._path):
      self._file.close()
