"""Files that are whole or absent, whenever the process is killed."""

import contextlib

from cyclegan_jax.errors import UserError


def write(path, data):
  """Writes text or bytes to a file beside `path`, which then takes its place.

  The folders above it are made.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  if isinstance(data, str):
    data = data.encode()
  part(path).write_bytes(data)
  part(path).replace(path)


def part(path):
  """Where a file is written before it takes its place."""
  return path.with_name(path.name + '.part')


def clean(*folders):
  """Removes what killed processes left half written."""
  for folder in folders:
    for path in folder.glob('*.part'):
      path.unlink()


@contextlib.contextmanager
def writing(folder):
  """Turns an error of the file system into a `UserError` that says what to do.

  Args:
    folder: what is being written to, as the user knows it.
  """
  try:
    yield
  except OSError as e:
    raise UserError(
      f'cannot write to {folder} ({e.strerror or e}): make room or make it '
      'writable, then run the same command to continue'
    ) from e
