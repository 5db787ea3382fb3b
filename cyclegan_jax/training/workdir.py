"""The run folder: the paths of its files, and its lock."""

import contextlib
import errno
import fcntl
import os
import platform
import sys

from cyclegan_jax.common import files, hosts
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.training import processes

# Error numbers for a lock that another process holds. Any other number means
# that the file system has no locks.
_IN_USE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class Workdir:
  """Paths of the files and folders of a run, made from the run folder.

  Attributes:
    path: the run folder.
    config: the config of the run.
    run: format number of the run, and digests of its pictures.
    environment: versions and devices that the run was trained with.
    checkpoints: folder of the checkpoints.
    metrics: the metrics, a line of JSON per logged step.
    samples: folder of the sample grids.
    best: link to the best model.
    tensorboard: folder that TensorBoard reads.
    parameters: table of the parameters.
    test_json: metrics of the test set at the end of the run.
    test_markdown: the metrics of `test_json` as a table.
    evaluation: metrics that cyclegan_jax.evaluate measures.
    report: page of the report.
  """

  def __init__(self, path):
    """Stores the absolute paths of the files.

    Args:
      path: the run folder, local or gs://BUCKET/NAME.
    """
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
    """Returns True if the run folder holds a checkpoint."""
    return any(self.checkpoints.glob('[0-9]*'))

  def forget_test(self):
    """Removes the metrics of the test set, so that they are measured again.

    Raises:
      UserError: a file cannot be removed.
    """
    with files.writing(self.path):
      for path in (self.test_json, self.test_markdown):
        path.unlink(missing_ok=True)

  def last_sample(self):
    """Returns the path of the newest sample grid, or None."""
    return max(self.samples.glob('*.png'), default=None)


@contextlib.contextmanager
def open_workdir(workdir):
  """Context manager that creates a run folder and locks it for this run.

  The operating system releases the lock when the process ends in any way. In a
  run of several processes, the first one holds the lock. The lock of a folder
  in a bucket is only valid on this host. If the file system has no locks, a
  warning is printed and the folder is not locked.

  Args:
    workdir: path of the run folder, from `Workdir.path`.

  Raises:
    UserError: the folder cannot be created or written, or another process has
      locked it.
  """
  with contextlib.ExitStack() as stack:
    with processes.together():
      if hosts.writes():  # the first process locks it for all
        stack.enter_context(_lock(workdir))
    yield


def _lock(workdir):
  """Creates and locks a run folder; returns the open lock file."""
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
      f'warning: {workdir} (--workdir) cannot be locked ({e.strerror}): do '
      'not start a second run in this folder',
      file=sys.stderr,
    )
  with contextlib.suppress(OSError):  # only informs the user of another run
    lock.truncate(0)
    lock.write(f'process {os.getpid()} on {platform.node()}'.encode())
  return lock
