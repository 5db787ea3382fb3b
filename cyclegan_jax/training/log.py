"""Writes the metrics and sample grids of a run to files and loggers."""

import contextlib
import json
import math
import time

from cyclegan_jax.common import disk, files, images
from cyclegan_jax.training.loggers import LOGGERS
from cyclegan_jax.training.workdir import Workdir


class Log:
  """Context manager that writes the metrics and sample grids of a run.

  metrics.jsonl gets one line per logged step and holds only values that are
  bit-identical when the run is repeated. The sample grids are written to
  samples/. Loggers receive both, and also the speeds. `numbers` and `sample`
  write, `flush` makes the output safe. Each step is written once, however often
  the run is resumed. Every method raises `UserError` if a file cannot be
  written.

  Attributes:
    board: path of the folder that TensorBoard reads.
    code: exit code of this process, which is passed to the loggers at the end;
      0 until another value is set.
  """

  def __init__(
    self, workdir, start_step, to=('tensorboard',), options=None, say=print
  ):
    """Opens the files and loggers, and removes lines of later steps.

    Args:
      workdir: path of the run folder.
      start_step: number of steps done, where the log continues; 0 for a new
        run. Lines of later steps are removed.
      to: names of the loggers, of `LOGGERS`.
      options: {'section.key': value} of the run, for the loggers.
      say: prints a line to the user.

    Raises:
      UserError: a file cannot be written.
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
    """Writes the metrics of a step.

    Args:
      step: number of steps done.
      metrics: {name: scalar}, written to metrics.jsonl and to the loggers. NaN
        and infinity are null in metrics.jsonl.
      speed: {name: float}, written to the loggers only.
    """
    metrics = {name: float(metrics[name]) for name in sorted(metrics)}
    # JSON cannot represent NaN.
    line = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
    with files.writing(self._workdir):
      self._lines.add(json.dumps({'step': step} | line) + '\n')
      for logger in self._loggers:
        logger.numbers(step, metrics, speed)

  def sample(self, step, picture):
    """Writes the sample grid of a step.

    Args:
      step: number of steps done.
      picture: the grid, uint8 [height, width, 3].
    """
    path = self._samples / f'step_{step:07d}.png'
    with files.writing(self._workdir):
      files.write(path, images.png(picture))
      for logger in self._loggers:
        logger.picture(step, picture)

  def flush(self):
    """Writes all output to disk, so that a checkpoint can rely on it."""
    with files.writing(self._workdir):
      self._lines.flush()
      for logger in self._loggers:
        logger.flush()

  def close(self, code=0):
    """Closes metrics.jsonl and the loggers.

    Args:
      code: exit code of this process, which is passed to the loggers.
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
  """A `Log` that writes nothing, for processes other than the first."""

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
  """A text file to which lines are appended.

  A file in a bucket is rewritten as a whole by each `flush`.
  """

  def __init__(self, path, text):
    """Creates the file.

    Args:
      path: path of the file, local or in a bucket.
      text: its first lines, each with a line break at its end.
    """
    self._remote = path if files.remote(path) else None
    self._texts = [text]
    if not self._remote:
      files.write(path, text)
      self._file = disk.Growing(path)

  def add(self, line):
    """Appends a line.

    Args:
      line: text that ends with a line break.
    """
    if self._remote:
      self._texts.append(line)
    else:
      self._file.add(line)

  def flush(self):
    """Writes all lines to the disk or the bucket."""
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
  """Returns the lines of metrics.jsonl up to a step, as one text.

  The resumed run writes the lines of later steps again. Invalid lines are left
  out: a killed process can leave half a line, and a power cut zero bytes.
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
  """Returns a table of the name, shape and size of every parameter, as text.

  Args:
    params: parameters, nested dicts of arrays.
  """
  from clu import parameter_overview

  return parameter_overview.get_parameter_overview(params)


class Progress:
  """Measures the speed of a run and estimates its remaining time.

  At each logged step, call `speed`, then `line` with its result.
  """

  def __init__(self, start_step, last_step, batch_size):
    """Starts the clock.

    Args:
      start_step: number of steps done.
      last_step: number of steps of the whole run.
      batch_size: pictures of each domain per step.
    """
    self._last_step = last_step
    self._batch_size = batch_size
    self._step, self._time, self._waited = start_step, time.monotonic(), 0.0

  def speed(self, step, waited=0.0):
    """Returns the mean speeds since the previous call, or since the start.

    Args:
      step: number of steps done.
      waited: seconds that the device has waited for input since the start.

    Returns:
      {'seconds_per_step': float, 'images_per_second': pictures of each domain
      per second, 'input_wait': share of the time that was spent waiting for
      input, in [0, 1]}.
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
    """Returns the line that the terminal shows for a logged step.

    Args:
      step: number of steps done.
      metrics: {name: scalar} with 'loss_gen' and 'loss_disc'.
      speed: the dict that `speed` returned.
    """
    seconds = speed['seconds_per_step']
    left = int(seconds * (self._last_step - step))
    eta = f'{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}'
    return (
      f'step {step}/{self._last_step} ({100 * step // self._last_step}%)  '
      f'{seconds:.3f} s/step  ETA {eta}  '
      f'loss_gen {metrics["loss_gen"]:.3f}  '
      f'loss_disc {metrics["loss_disc"]:.3f}'
    )
