"""Writes a run's numbers and pictures: files, TensorBoard, the terminal.

The only file that imports clu.
"""

import contextlib
import json
import math
import struct
import time

from google.protobuf import message
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

import cyclegan_jax.data.tf  # noqa: F401, keeps clu's TensorFlow quiet
from cyclegan_jax.common import disk, files, images
from cyclegan_jax.training.workdir import Workdir

_HEAD, _TAIL = 12, 4  # bytes of a TFRecord before and behind its event


class Log:
  """Writes a run's numbers and pictures below its folder, each step once.

  metrics.jsonl has a line a logged step, a function of the training alone;
  tensorboard/ has the same, with speeds and pictures; samples/ the pictures.

  Attributes:
    board: the folder that TensorBoard reads.
  """

  def __init__(self, workdir, start_step):
    """Goes on behind `start_step`; what there is of later steps is dropped.

    Raises:
      UserError: it can't be written, here and in all methods.
    """
    from clu import metric_writers  # after TensorFlow was silenced

    work = Workdir(workdir)
    self._workdir, self._samples = work.path, work.samples
    self.board = board = work.tensorboard
    with files.writing(work.path):
      files.clean(work.path, board, work.samples)
      self._lines = _Lines(work.metrics, _kept_lines(work.metrics, start_step))
      for file in sorted(board.glob('*tfevents*')):
        _keep_events(file, start_step)
      self._writer = metric_writers.AsyncWriter(
        metric_writers.SummaryWriter(str(board))
      )

  def numbers(self, step, metrics, speed):
    """Scalars of one step; `speed` goes to TensorBoard alone."""
    metrics = {name: float(metrics[name]) for name in sorted(metrics)}
    # JSON has no NaN.
    line = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
    with files.writing(self._workdir):
      self._lines.add(json.dumps({'step': step} | line) + '\n')
      self._writer.write_scalars(step, metrics | speed)

  def sample(self, step, picture):
    """A uint8 sample grid."""
    path = self._samples / f'step_{step:07d}.png'
    with files.writing(self._workdir):
      files.write(path, images.png(picture))
      self._writer.write_images(step, {'samples': picture[None]})

  def flush(self):
    """Sees all of it onto the disk, before a checkpoint counts on it."""
    with files.writing(self._workdir):
      self._lines.flush()
      self._writer.flush()

  def close(self):
    with files.writing(self._workdir):
      self._writer.close()
      self._lines.close()


class NoLog:
  """Stands for a `Log` in processes that write none."""

  board = None

  def numbers(self, step, metrics, speed):
    pass

  def sample(self, step, picture):
    pass

  def flush(self):
    pass

  def close(self):
    pass


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


def _keep_events(path, step):
  """The same for a file of TensorBoard events, which may end in half of one."""
  data, kept = path.read_bytes(), []
  with contextlib.suppress(message.DecodeError):
    for record in _records(data):
      event = event_pb2.Event.FromString(record[_HEAD:-_TAIL])
      if event.step <= step:
        kept.append(record)
  kept = b''.join(kept)
  if kept != data:
    files.write(path, kept)


def _records(data):
  """The records of a TFRecord file up to the first damaged one, as bytes.

  A record is the event's length (8 bytes), a checksum of that (4), the event
  and a checksum of it (4). The last checksum is left to TensorBoard: in Python
  it takes seconds, and a killed process leaves half a record, not a wrong one.
  """
  start = 0
  while start + _HEAD <= len(data):
    length, checksum = struct.unpack_from('<QI', data, start)
    end = start + _HEAD + length + _TAIL
    if end > len(data) or checksum != masked_crc32c(data[start : start + 8]):
      return
    yield data[start:end]
    start = end


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
