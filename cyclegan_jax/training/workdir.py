"""The folder of a run: the names of its files, and its lock."""

import contextlib
import errno
import fcntl
import os
import platform
import sys

from cyclegan_jax.common import files, hosts
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.training import processes

# What the system says of a lock that another process has. All else it says of a
# file system without locks.
_IN_USE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class Workdir:
  """Names of what a run leaves in its folder."""

  def __init__(self, path):
    self.path = files.absolute(files.place(path))
    self.config = self.path / 'config.json'
    self.run = self.path / 'run.json'
    self.environment = self.path / 'environment.json'
    self.checkpoints = self.path / 'checkpoints'
    self.metrics = self.path / 'metrics.jsonl'
    self.samples = self.path / 'samples'
    self.best = self.path / 'best'
    self.tensorboard = self.path / 'tensorboard'
    self.parameters = self.path / 'parameters.txt'
    self.test_json = self.path / 'test_metrics.json'
    self.test_markdown = self.path / 'test_metrics.md'
    self.evaluation = self.path / 'evaluation.json'
    self.report = self.path / 'report' / 'index.html'

  def has_checkpoints(self):
    """Returns True if a step was saved."""
    return any(self.checkpoints.glob('[0-9]*'))

  def forget_test(self):
    """Removes the test figures, which will be measured anew."""
    with files.writing(self.path):
      for path in (self.test_json, self.test_markdown):
        path.unlink(missing_ok=True)

  def last_sample(self):
    """The newest sample grid, or None."""
    return max(self.samples.glob('*.png'), default=None)


@contextlib.contextmanager
def open_workdir(workdir):
  """Makes the folder of a run and keeps it to this process.

  The system frees the lock when the process ends, however that may be. That of
  a folder in a bucket holds on this machine alone.

  Where the file system has no locks, a line says so and nothing is locked.

  Raises:
    UserError: it can't be made or written, or another process has it.
  """
  with contextlib.ExitStack() as stack:
    with processes.together():
      if hosts.writes():  # the first of several keeps it for all
        stack.enter_context(_lock(workdir))
    yield


def _lock(workdir):
  with files.writing(workdir, '--workdir'):
    files.make(workdir)
    lock = files.own(workdir, 'lock').open('a+b', buffering=0)
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as e:
    if e.errno in _IN_USE:
      lock.seek(0)
      holder = lock.read().decode(errors='replace') or 'another process'
      lock.close()
      raise UserError(
        f'{workdir} (--workdir) is in use by {holder}: wait until it ends, or '
        'use another --workdir'
      ) from e
    print(
      f'warning: {workdir} (--workdir) cannot be locked ({e.strerror}): start '
      'no second process in it',
      file=sys.stderr,
    )
  with contextlib.suppress(OSError):  # it tells others, and nothing needs it
    lock.truncate(0)
    lock.write(f'process {os.getpid()} on {platform.node()}'.encode())
  return lock
