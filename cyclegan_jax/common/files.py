"""Functions to read and write files, local or in a bucket.

A file is written completely or not at all, even if the process is killed. A
local path is a `pathlib.Path`. A path in a bucket, gs://BUCKET/NAME, is an
`etils.epath.Path`, which uses TensorFlow's file system. A bucket itself never
holds half a file, and nothing can be appended to a file in a bucket.
"""

import contextlib
import errno
import hashlib
import importlib.util
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from cyclegan_jax.common import walk
from cyclegan_jax.common.disk import (
  Path,
  fill,
  part,
  writing,
)
from cyclegan_jax.common.disk import failed as failed
from cyclegan_jax.common.disk import unreachable as unreachable
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.quiet import silent_stderr

_BUCKET = 'gs://'
_LINK = b'link to '  # followed by the name of a folder in the same folder
_LONGEST = 1024  # bytes allowed in a name in a bucket


def expanded(path: str | os.PathLike[str]) -> str:
  """Returns a path as text, with a leading `~` or `~user` expanded.

  The path of an existing file whose own name begins with `~` is not changed.

  Raises:
    UserError: there is no such user, or the user has no home folder.
  """
  text = os.fspath(path)
  full = os.path.expanduser(text)
  if not full.startswith('~') or os.path.lexists(text):
    return full
  user = text[1:].partition('/')[0]
  reason = f'no user {user!r} is known here' if user else 'HOME is not set'
  raise UserError(
    f'{text}: {reason}, so ~ cannot be expanded: give the whole path, or '
    f'./{text} for a name that begins with ~'
  )


def place(path: str | os.PathLike[str]) -> Path:
  """Returns the path object for a path that a user gave.

  A leading `~` or `~user` is expanded. A path that begins with gs:// becomes an
  `etils.epath.Path`, any other path a `pathlib.Path`.

  Raises:
    UserError: the path is a URL of another kind than gs://BUCKET/NAME, the user
      after `~` is unknown, or a package needed for buckets is not installed.
  """
  text = expanded(path)
  if not text.startswith(_BUCKET):
    if '://' in text:
      raise UserError(f'{text}: of URLs, only gs://BUCKET/NAME is supported')
    return pathlib.Path(text)
  if not _installed('google.cloud.storage'):
    raise UserError(
      f"{text} needs google-cloud-storage: pip install -e '.[gcs]'"
    )
  from etils import epath  # slow to import and rarely needed
  from etils.epath import backend

  with silent_stderr():
    _ = backend.tf_backend.gfile  # imports TensorFlow, which prints messages
  return epath.Path(text)


def _installed(module):
  try:
    return importlib.util.find_spec(module) is not None
  except ModuleNotFoundError:  # raised for a missing parent package
    return False


def remote(path: object) -> bool:
  """Returns True for a path in a bucket and for objects that are not a path.

  Such an object, for example a `data.fetched.Fetched`, only fetches the bytes
  of a file by a function.
  """
  if not isinstance(path, str | os.PathLike):
    return True
  return os.fspath(path).startswith(_BUCKET)


def absolute(path: Path) -> Path:
  """Returns the absolute path; a path in a bucket is returned unchanged."""
  return path if remote(path) else path.absolute()


def resolved(path: Path) -> Path:
  """Returns a path with all links followed.

  These are symbolic links, and the files that `link` writes in place of links.
  """
  return followed(path if remote(path) else path.resolve())


def followed(path: Path) -> Path:
  """Returns the folder that a link leads to, if `link` wrote it as a file.

  `link` writes a file in place of a link in buckets and on file systems without
  symbolic links. Any other path is returned unchanged.

  Args:
    path: path of the link, or any other path.
  """
  if not path.is_file():
    return path
  with path.open('rb') as file:
    text = file.read(len(_LINK) + _LONGEST)
  name = os.fsdecode(text.removeprefix(_LINK))
  # A file made by somebody else must not lead to a folder elsewhere.
  if not text.startswith(_LINK) or name in ('', '.', '..') or '/' in name:
    return path
  return path.with_name(name)


def own(folder: Path, name: str) -> Path:
  """Returns the local path of a file that belongs to a folder.

  For files that processes of this machine keep open, such as logs and locks. If
  the folder is in a bucket, the file is below this machine's temporary folder,
  at a place derived from the folder's path.

  Args:
    folder: the folder, local or in a bucket.
    name: name of the file in the folder.
  """
  if not remote(folder):
    return folder / name
  digest = hashlib.sha256(str(folder).encode()).hexdigest()[:32]
  stand_in = f'cyclegan_jax_{os.getuid()}_{digest}'
  place = pathlib.Path(tempfile.gettempdir()) / stand_in
  place.mkdir(mode=0o700, exist_ok=True)
  return place / name


def make(folder: Path) -> None:
  """Makes a folder and its parents.

  A bucket has no folders: for a path in a bucket, the function only checks that
  the bucket exists.

  Raises:
    OSError: the folder cannot be made, or the bucket does not exist.
  """
  if not remote(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return
  bucket = _BUCKET + str(folder).removeprefix(_BUCKET).split('/')[0]
  # TensorFlow would search for the parent of a missing bucket forever.
  if not place(bucket).exists():
    raise FileNotFoundError(f'there is no bucket {bucket}')


def below(folder: Path) -> list[Path]:
  """Returns the paths of all files below a folder, sorted by name.

  Folders are searched recursively, and links to folders are followed. Broken
  links, unreadable folders and special files are left out.
  """
  return [path for path, reason in found(folder) if not reason]


def found(
  folder: Path, sort: walk.Sort = walk.everything
) -> list[tuple[Path, str | None]]:
  """Lists the files below a folder recursively, sorted by name.

  Links to folders are followed, and no folder is read twice. A missing folder
  has no files.

  Args:
    folder: the folder.
    sort: function of a file or folder name that returns None, or the reason to
      skip the file or folder.

  Returns:
    [(path, None for a file, or the reason why the path is skipped)].
  """
  if not remote(folder):
    listed = walk.walk(str(folder), sort) if folder.is_dir() else []
    return [(pathlib.Path(path), reason) for path, reason in listed]
  objects = _objects(folder, sort) if folder.is_dir() else []
  return sorted(objects, key=lambda x: x[0])


def _objects(folder, sort):
  from etils.epath import backend  # a Path would send a request per object

  for name in backend.tf_backend.listdir(str(folder)):
    reason = sort(name.rstrip('/'))
    if reason or not name.endswith('/'):
      yield folder / name, reason
    else:
      yield from _objects(folder / name, sort)


def write(path: Path, data: str | bytes) -> None:
  """Writes text or bytes to a file, completely or not at all.

  A local file is written to a temporary path and then renamed. Missing folders
  are made.

  Args:
    path: the file, local or in a bucket.
    data: its contents; text is written as UTF-8.

  Raises:
    WriteError: the file cannot be written; an older file at `path` is kept.
  """
  if isinstance(data, str):
    data = data.encode()
  with writing(path):
    if remote(path):
      path.write_bytes(data)
      return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
      fill(part(path), data)
      part(path).replace(path)
    except OSError:  # half a file would waste space on a full disk
      with contextlib.suppress(OSError):
        part(path).unlink(missing_ok=True)
      raise


def link(path: Path, target: Path) -> None:
  """Makes `path` a link to the folder `target`, replacing an older link.

  Both have the same parent folder. In a bucket, and on a file system without
  symbolic links, `path` becomes a file that holds the name of the target; read
  the link with `followed`. The link is replaced in one step, so that there is
  no moment without a link.

  Raises:
    WriteError: the link cannot be written.
  """
  stand_in = _LINK + target.name.encode()
  with writing(path):
    if remote(path):
      path.write_bytes(stand_in)
      return
    if path.is_dir() and not path.is_symlink():
      remove(path)  # a folder, made by a copy that did not preserve links
    # Renaming replaces a link in one step, but cannot replace a folder.
    part(path).unlink(missing_ok=True)
    try:
      part(path).symlink_to(target.name)
    except OSError:  # the error number differs between file systems
      fill(part(path), stand_in)
    part(path).replace(path)


def remove(path: Path) -> None:
  """Removes a file, a link, or a folder with its contents, if it exists."""
  if path.is_file() or (not remote(path) and path.is_symlink()):
    path.unlink()
  elif remote(path):
    path.rmtree(missing_ok=True)  # type: ignore[union-attr]
  else:
    shutil.rmtree(path, ignore_errors=True)


def copy_below(source: Path, folder: Path) -> None:
  """Copies all files below a local folder to another folder.

  Each file keeps its path relative to `source` and replaces a file of that
  path. Other files of `folder` stay.

  Args:
    source: the local folder.
    folder: the other folder, local or in a bucket.

  Raises:
    WriteError: a file cannot be written.
  """
  for path in below(source):
    write(folder / path.relative_to(source).as_posix(), path.read_bytes())


@contextlib.contextmanager
def here(path: Path) -> Iterator[Path]:
  """Yields a local path of a file, for libraries that open only local files.

  A local path is yielded as it is. A file in a bucket is copied to a temporary
  file, which is removed when the context ends.

  Args:
    path: path of an existing file, local or in a bucket.
  """
  if not remote(path):
    yield path
    return
  with tempfile.TemporaryDirectory() as scratch:
    copy = pathlib.Path(scratch) / path.name
    _copy(path, copy)
    yield copy


@contextlib.contextmanager
def made(path: Path) -> Iterator[Path]:
  """Yields a temporary local path for a file or folder that replaces `path`.

  The caller writes the new file or folder at the yielded path. When the context
  ends, the new file or folder replaces an older one at `path`. If the context
  raises an error, `path` is not changed. A folder in a bucket is removed and
  then copied file by file; everything else is replaced in one step.

  Raises:
    OSError: the parent folder cannot be made, or a file would replace a folder.
  """
  make(path.parent)
  with contextlib.ExitStack() as stack:
    if remote(path):
      scratch = stack.enter_context(tempfile.TemporaryDirectory())
      new = pathlib.Path(scratch) / path.name
    else:
      new = part(path)
      remove(new)  # left over from a killed process
      stack.callback(remove, new)
    yield new
    if path.is_dir():
      if not new.is_dir():  # do not delete a folder of the user for a file
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
      remove(path)
    if not remote(path):
      new.replace(path)
    elif new.is_dir():
      copy_below(new, path)
    else:
      _copy(new, path)


def _copy(source, target):
  with source.open('rb') as old, target.open('wb') as new:
    shutil.copyfileobj(old, new)


def clean(*folders: Path) -> None:
  """Removes temporary files and folders that killed processes left behind.

  The names of temporary files end in '.part'. Only direct entries of the given
  folders are removed. Folders in a bucket are skipped.

  Args:
    *folders: the folders; they need not exist.
  """
  for folder in folders:
    if not remote(folder):
      with contextlib.suppress(OSError):  # no folder, or no permission
        for path in folder.glob('*.part'):
          remove(path)
