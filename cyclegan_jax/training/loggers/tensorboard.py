"""TensorBoard's files of events, below tensorboard/ of a run."""

import contextlib
import struct

from cyclegan_jax.common import files
from cyclegan_jax.training.loggers.base import Logger

_HEAD, _TAIL = 12, 4  # bytes of a TFRecord before and behind its event


def _open(work, start_step, options, say):
  """Continues behind a step; events of later steps are dropped."""
  del options, say
  import cyclegan_jax.data.tf  # noqa: F401, keeps clu's TensorFlow quiet

  folder = work.tensorboard
  files.clean(folder)
  for file in sorted(folder.glob('*tfevents*')):
    _keep_events(file, start_step)
  return _TensorBoard(folder)


LOGGER = Logger(_open, ('clu', 'tensorboard'))


class _TensorBoard:
  """Writes in a thread of its own, by clu."""

  def __init__(self, folder):
    from clu import metric_writers  # slow to import, as TensorFlow is

    self._writer = metric_writers.AsyncWriter(
      metric_writers.SummaryWriter(str(folder))
    )

  def numbers(self, step, metrics, speed):
    self._writer.write_scalars(step, metrics | speed)

  def picture(self, step, picture):
    self._writer.write_images(step, {'samples': picture[None]})

  def flush(self):
    self._writer.flush()

  def close(self, code):
    del code
    self._writer.close()


def _keep_events(path, step):
  """Drops the events of a file behind a step; it may end in half of one."""
  from google.protobuf import message
  from tensorboard.compat.proto import event_pb2

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
  from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

  start = 0
  while start + _HEAD <= len(data):
    length, checksum = struct.unpack_from('<QI', data, start)
    end = start + _HEAD + length + _TAIL
    own = pywrap_tensorflow.masked_crc32c(data[start : start + 8])
    if end > len(data) or checksum != own:
      return
    yield data[start:end]
    start = end
