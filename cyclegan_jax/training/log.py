"""Writes a run's numbers and pictures: files, loggers, the terminal."""

import contextlib
import json
import math
import time

from cyclegan_jax.common import disk, files, images
from cyclegan_jax.training.loggers import LOGGERS
from cyclegan_jax.training.workdir import Workdir


class Log:
  """Writes a run's numbers and pictures below its folder, each step once.

  metrics.jsonl has a line a logged step, a function of the training alone;
  samples/ the pictures. Loggers get the same, with speeds. A context that
  closes itself.

  Attributes:
    board: the folder that TensorBoard reads.
    code: exit code of this process, as far as it is known.
  """

  def __init__(
    self, workdir, start_step, to=('tensorboard',), options=None, say=print
  ):
    """Continues behind `start_step`; what there is of later steps is dropped.

    Args:
      workdir: the run's folder.
      start_step: steps done; 0 for a new run.
      to: names of `LOGGERS`.
      options: {'section.key': value} of the run, for loggers.
      say: prints a line to the user.

    Raises:
      UserError: it can't be written, here and in all methods.
    """
    work = Workdir(workdir)
    self._workdir, self._samples = work.path, work.samples
    self.board, self.code = work.tensorboard, 0
    with files.writing(work.path):
      files.clean(work.path, work.samples)
      self._lines = _Lines(work.metrics, _kept_lines(work.metrics, start_step))
      self._loggers = [
        LOGGERS[name].open(work, start_step, options or {}, say) for name in to
      ]

  def numbers(self, step, metrics, speed):
    """Scalars of one step; `speed` goes to loggers alone."""
    metrics = {name: float(metrics[name]) for name in sorted(metrics)}
    # JSON has no NaN.
    line = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
    with files.writing(self._workdir):
      self._lines.add(json.dumps({'step': step} | line) + '\n')
      for logger in self._loggers:
        logger.numbers(step, metrics, speed)

  def sample(self, step, picture):
    """A uint8 sample grid."""
    path = self._samples / f'step_{step:07d}.png'
    with files.writing(self._workdir):
      files.write(path, images.png(picture))
      for logger in self._loggers:
        logger.picture(step, picture)

  def flush(self):
    """Sees all of it onto the disk, before a checkpoint counts on it."""
    with files.writing(self._workdir):
      self._lines.flush()
      for logger in self._loggers:
        logger.flush()

  def close(self, code=0):
    """Ends the log.

    Args:
      code: exit code of this process, for loggers.
    """
    with files.writing(self._workdir), contextlib.ExitStack() as stack:
      stack.callback(self._lines.close)
      for logger in self._loggers:
        stack.callback(logger.close, code)

  def __enter__(self):
    return self

  def __exit__(self, kind, error, trace):
    self.close(1 if error else self.code)


class NoLog(contextlib.AbstractContextManager):
  """Stands for a `Log` in processes that write none."""

  board = None
  code = 0

  def numbers(self, step, metrics, speed):
    pass

  def sample(self, step, picture):
    pass

  def flush(self):
    pass

  def __exit__(self, *error):
    return None


class _Lines:
  """A text file that grows line by line.

  In a bucket it is written anew, as a whole, by each `flush`.
  """

  def __init__(self, path, text):
    """Begins with a text, of whole lines."""
    self._remote = path if files.remote(path) else None
    self._texts = [text]
    if not self._remote:
      files.write(path, text)
      self._file = disk.Growing(path)

  def add(self, line):
    if self._remote:
      self._texts.append(line)
    else:
      self._file.add(line)

  def flush(self):
    """Sees all of it onto the disk."""
    if self._remote:
      files.write(self._remote, ''.join(self._texts))
    else:
      self._file.flush()

  def close(self):
    if self._remote:
      self.flush()
    else:
      self._file.close()


def _kept_lines(path, step):
  """The lines up to a step: the run writes those behind it again.

  Lines that cannot be read are dropped: a killed process leaves half of one,
  and a power cut zeros.
  """
  if not path.exists():
    return ''
  kept = []
  for line in path.read_bytes().splitlines(keepends=True):
    with contextlib.suppress(ValueError, KeyError, TypeError):
      if line.endswith(b'\n') and json.loads(line)['step'] <= step:
        kept.append(line.decode())
  return ''.join(kept)


def parameter_table(params):
  """Every parameter's shape and size, as a table to read."""
  from clu import parameter_overview

  return parameter_overview.get_parameter_overview(params)


class Progress:
  """Speed and remaining time of a run, over the steps since the last look."""

  def __init__(self, start_step, last_step, batch_size):
    self._last_step = last_step
    self._batch_size = batch_size
    self._step, self._time, self._waited = start_step, time.monotonic(), 0.0

  def speed(self, step, waited=0.0):
    """Speeds since the last call.

    Args:
      step: the step it is now.
      waited: seconds spent waiting for input since the start.

    Returns:
      {'seconds_per_step', 'images_per_second', 'input_wait': share of time}.
    """
    now = time.monotonic()
    passed = now - self._time
    seconds = passed / max(1, step - self._step)
    wait = (waited - self._waited) / passed
    self._step, self._time, self._waited = step, now, waited
    return {
      'seconds_per_step': seconds,
      'images_per_second': self._batch_size / seconds,
      'input_wait': wait,
    }

  def line(self, step, metrics, speed):
    """One line for the terminal."""
    seconds = speed['seconds_per_step']
    left = int(seconds * (self._last_step - step))
    eta = f'{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}'
    return (
      f'step {step}/{self._last_step} ({100 * step // self._last_step}%)  '
      f'{seconds:.3f} s/step  ETA {eta}  '
      f'loss_gen {metrics["loss_gen"]:.3f}  '
      f'loss_disc {metrics["loss_disc"]:.3f}'
    )
