"""Logger that writes TensorBoard event files below tensorboard/ of a run."""

import contextlib
import struct

from cyclegan_jax.common import files
from cyclegan_jax.training.loggers.base import Logger

_HEAD, _TAIL = 12, 4  # bytes of a TFRecord before and after its event


def _open(work, start_step, options, say):
  """Opens the logger after `start_step`; removes events of later steps."""
  del options, say
  import cyclegan_jax.data.tf  # noqa: F401, silences clu's TensorFlow

  folder = work.tensorboard
  files.clean(folder)
  for file in sorted(folder.glob('*tfevents*')):
    _keep_events(file, start_step)
  return _TensorBoard(folder)


LOGGER = Logger(_open, ('clu', 'tensorboard'))


class _TensorBoard:
  """Logger that writes events in a separate thread, with clu.

  The methods are those that `loggers.base.Logger` describes.
  """

  def __init__(self, folder):
    from clu import metric_writers  # slow to import, since it loads TensorFlow

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
  """Removes events after a step, and a half-written last one, from a file."""
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
  """Yields the records of a TFRecord file up to the first damaged one.

  A record is the length of the event (8 bytes), the checksum of the length (4),
  the event, and the checksum of the event (4). The last checksum is not
  verified: this would take seconds in Python, and a killed process can leave an
  incomplete record, but not a wrong one.

  Args:
    data: the bytes of the file.

  Yields:
    The bytes of each record.
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
