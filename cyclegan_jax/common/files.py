"""Files that are whole or absent, whenever the process is killed.

Paths of this machine are `pathlib.Path`s; those of a bucket, gs://BUCKET/NAME,
are `etils.epath.Path`s, with TensorFlow's file system behind them. Objects of a
bucket are whole or absent by themselves, and nothing is appended to them.
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
_LINK = b'link to '  # and the name of a folder beside it
_LONGEST = 1024  # bytes of a name in a bucket


def expanded(path: str | os.PathLike[str]) -> str:
  """The text of a path with a leading `~` or `~user` made the home folder.

  A file of this folder whose own name begins with `~` is left as it is.

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
    f'{text}: {reason}, so ~ is no folder: give the whole path, or ./{text} '
    'for a name that begins with ~'
  )


def place(path: str | os.PathLike[str]) -> Path:
  """A path that a user gave, `~` and `~user` the home folders.

  Raises:
    UserError: an address of another kind than gs://BUCKET/NAME, an unknown
      user, or what runs on buckets need is not installed.
  """
  text = expanded(path)
  if not text.startswith(_BUCKET):
    if '://' in text:
      raise UserError(
        f'{text}: of such addresses only gs://BUCKET/NAME is known'
      )
    return pathlib.Path(text)
  if not _installed('google.cloud.storage'):
    raise UserError(
      f"{text} needs google-cloud-storage: pip install -e '.[gcs]'"
    )
  from etils import epath  # slow to import, and rarely needed
  from etils.epath import backend

  with silent_stderr():
    _ = backend.tf_backend.gfile  # imports TensorFlow, which has its say
  return epath.Path(text)


def _installed(module):
  try:
    return importlib.util.find_spec(module) is not None
  except ModuleNotFoundError:  # of what it is in
    return False


def remote(path: object) -> bool:
  """Returns True for a path in a bucket, and for what only fetches bytes."""
  if not isinstance(path, str | os.PathLike):
    return True
  return os.fspath(path).startswith(_BUCKET)


def absolute(path: Path) -> Path:
  """The path from the root; epath's own takes gs: for a folder here."""
  return path if remote(path) else path.absolute()


def resolved(path: Path) -> Path:
  """The path behind all links, those of `link` included."""
  return followed(path if remote(path) else path.resolve())


def followed(path: Path) -> Path:
  """The folder that a file of `link` stands for; other paths as they are."""
  if not path.is_file():
    return path
  with path.open('rb') as file:
    text = file.read(len(_LINK) + _LONGEST)
  name = os.fsdecode(text.removeprefix(_LINK))
  # A file that others made leads to no folder elsewhere.
  if not text.startswith(_LINK) or name in ('', '.', '..') or '/' in name:
    return path
  return path.with_name(name)


def own(folder: Path, name: str) -> Path:
  """A file of a folder that only this machine's processes use, and open.

  That of a folder in a bucket is among this machine's temporary files.
  """
  if not remote(folder):
    return folder / name
  digest = hashlib.sha256(str(folder).encode()).hexdigest()[:32]
  stand_in = f'cyclegan_jax_{os.getuid()}_{digest}'
  place = pathlib.Path(tempfile.gettempdir()) / stand_in
  place.mkdir(mode=0o700, exist_ok=True)
  return place / name


def make(folder: Path) -> None:
  """Makes a folder; a bucket has none, and must be there itself.

  Raises:
    OSError: it can't be made, or there is no such bucket.
  """
  if not remote(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return
  bucket = _BUCKET + str(folder).removeprefix(_BUCKET).split('/')[0]
  # TensorFlow would look for the folder above a missing bucket for ever.
  if not place(bucket).exists():
    raise FileNotFoundError(f'there is no bucket {bucket}')


def below(folder: Path) -> list[Path]:
  """All files below a folder, in the order of their names; as `found`."""
  return [path for path, reason in found(folder) if not reason]


def found(
  folder: Path, sort: walk.Sort = walk.everything
) -> list[tuple[Path, str | None]]:
  """Lists the files below a folder, in the order of their names.

  Links to folders are followed, and no folder is read twice.

  Args:
    folder: the folder.
    sort: see `walk.Sort`.

  Returns:
    [(path, None for a file, or the reason why the path is not taken)].
  """
  if not remote(folder):
    listed = walk.walk(str(folder), sort) if folder.is_dir() else []
    return [(pathlib.Path(path), reason) for path, reason in listed]
  objects = _objects(folder, sort) if folder.is_dir() else []
  return sorted(objects, key=lambda x: x[0])


def _objects(folder, sort):
  from etils.epath import backend  # a Path would ask what each object is

  for name in backend.tf_backend.listdir(str(folder)):
    reason = sort(name.rstrip('/'))
    if reason or not name.endswith('/'):
      yield folder / name, reason
    else:
      yield from _objects(folder / name, sort)


def write(path: Path, data: str | bytes) -> None:
  """Writes text or bytes to a file beside `path`, which then takes its place.

  The folders above it are made.

  Raises:
    WriteError: it can't be written; what was there before stays.
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
    except OSError:  # the half takes room that is needed
      with contextlib.suppress(OSError):
        part(path).unlink(missing_ok=True)
      raise


def link(path: Path, target: Path) -> None:
  """Has `path` stand for the folder `target` beside it, at once.

  In a bucket, and on a file system without symbolic links, `path` becomes a
  file that holds the folder's name.

  Raises:
    WriteError: it can't be written.
  """
  stand_in = _LINK + target.name.encode()
  with writing(path):
    if remote(path):
      path.write_bytes(stand_in)
      return
    if path.is_dir() and not path.is_symlink():
      remove(path)  # a copy that was made where there are no links
    # A link takes another's place at once, a folder does not.
    part(path).unlink(missing_ok=True)
    try:
      part(path).symlink_to(target.name)
    except OSError:  # each file system has its own reason
      fill(part(path), stand_in)
    part(path).replace(path)


def remove(path: Path) -> None:
  """Removes a file, or a folder with all below it, if it is there."""
  if path.is_file() or (not remote(path) and path.is_symlink()):
    path.unlink()
  elif remote(path):
    path.rmtree(missing_ok=True)  # type: ignore[union-attr]
  else:
    shutil.rmtree(path, ignore_errors=True)


def copy_below(source: Path, folder: Path) -> None:
  """Copies all files below a folder of this machine to below another one."""
  for path in below(source):
    write(folder / path.relative_to(source).as_posix(), path.read_bytes())


@contextlib.contextmanager
def here(path: Path) -> Iterator[Path]:
  """A file as one of this machine, for what opens no others.

  One of a bucket is copied for as long as the context lasts.
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
  """Where, on this machine, to make a file or folder that is to be at `path`.

  It takes the place of what is there when the context ends, but not by an
  error. In a bucket a folder does so file by file.
  """
  make(path.parent)
  with contextlib.ExitStack() as stack:
    if remote(path):
      scratch = stack.enter_context(tempfile.TemporaryDirectory())
      new = pathlib.Path(scratch) / path.name
    else:
      new = part(path)
      remove(new)  # of a process that was killed
      stack.callback(remove, new)
    yield new
    if path.is_dir():
      if not new.is_dir():  # a folder of somebody's
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
  """Removes what killed processes left half written."""
  for folder in folders:
    if not remote(folder):
      with contextlib.suppress(OSError):  # no folder, or not its owner's
        for path in folder.glob('*.part'):
          remove(path)
