"""Files that are whole or absent, whenever the process is killed.

Paths of this machine are `pathlib.Path`s; those of a bucket, gs://BUCKET/NAME,
are `etils.epath.Path`s, with TensorFlow's file system behind them. Objects of a
bucket are whole or absent by themselves, and nothing is appended to them.
"""

import contextlib
import hashlib
import importlib.util
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Union

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.quiet import silent_stderr

if TYPE_CHECKING:
  from etils import epath

Path = Union[pathlib.Path, 'epath.Path']

_BUCKET = 'gs://'
_LINK = b'link to '  # and the name of a folder beside it
_LONGEST = 1024  # bytes of a name in a bucket
_BODY = re.compile(r"with body '.*'", re.DOTALL)  # of the server's answer


def place(path: str | os.PathLike[str]) -> Path:
  """A path that a user gave, `~` the home folder.

  Raises:
    UserError: an address of another kind than gs://BUCKET/NAME, or what runs on
      buckets need is not installed.
  """
  text = os.fspath(path)
  if not text.startswith(_BUCKET):
    if '://' in text:
      raise UserError(
        f'{text}: of such addresses only gs://BUCKET/NAME is known'
      )
    return pathlib.Path(text).expanduser()
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


def remote(path: str | os.PathLike[str]) -> bool:
  """Whether a path is in a bucket."""
  return os.fspath(path).startswith(_BUCKET)


def absolute(path: Path) -> Path:
  """The path from the root; epath's own takes gs: for a folder here."""
  return path if remote(path) else path.absolute()


def resolved(path: Path) -> Path:
  """The path behind all links, those of `link` included."""
  if not remote(path):
    return path.resolve()
  if not path.is_file():
    return path
  with path.open('rb') as file:
    text = file.read(len(_LINK) + _LONGEST)
  if not text.startswith(_LINK):
    return path
  return path.with_name(text.removeprefix(_LINK).decode())


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
  """All files below a folder, in the order of their names."""
  if not remote(folder):
    return sorted(path for path in folder.rglob('*') if path.is_file())
  return sorted(_objects(folder)) if folder.is_dir() else []


def _objects(folder):
  from etils.epath import backend  # a Path would ask what each object is

  for name in backend.tf_backend.listdir(str(folder)):
    if name.endswith('/'):
      yield from _objects(folder / name)
    else:
      yield folder / name


def write(path: Path, data: str | bytes) -> None:
  """Writes text or bytes to a file beside `path`, which then takes its place.

  The folders above it are made.
  """
  if isinstance(data, str):
    data = data.encode()
  if remote(path):
    path.write_bytes(data)
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  part(path).write_bytes(data)
  part(path).replace(path)


def link(path: Path, target: Path) -> None:
  """Has `path` stand for the folder `target` beside it, at once.

  In a bucket `path` becomes an object that holds the folder's name.
  """
  if remote(path):
    path.write_bytes(_LINK + target.name.encode())
    return
  # A link takes another's place at once, a folder does not.
  part(path).unlink(missing_ok=True)
  part(path).symlink_to(target.name)
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


def part(path: Path) -> Path:
  """Where a file is written before it takes its place."""
  return path.with_name(path.name + '.part')


def clean(*folders: Path) -> None:
  """Removes what killed processes left half written."""
  for folder in folders:
    if not remote(folder):
      for path in folder.glob('*.part'):
        path.unlink()


def failed(error: BaseException) -> str | None:
  """Why a file system failed, in one line; None for errors of another kind."""
  known = type(error).__module__.startswith(
    'tensorflow.python.framework.errors'
  )
  if not known and not isinstance(error, OSError):
    return None
  if reason := getattr(error, 'strerror', None):
    return reason
  text = _BODY.sub('', str(error))  # what comes behind it names the path
  return ' '.join(text.split())[:300]


def unreachable(error: BaseException) -> str | None:
  """The same, for errors of buckets alone, which name the path."""
  reason = failed(error)
  return reason if reason and _BUCKET in reason else None


@contextlib.contextmanager
def writing(path: Path, flag: str = '') -> Iterator[None]:
  """Turns an error of the file system into a `UserError` that says what to do.

  Args:
    path: the file or folder that is being written to.
    flag: what the user named it by.
  """
  try:
    yield
  except Exception as e:
    if not (reason := failed(e)):
      raise
    named = f' ({flag})' if flag else ''
    raise UserError(
      f'cannot write to {path}{named}, {reason}: make room or make it '
      'writable, then run the same command to continue'
    ) from e
