"""Tests of logs of resumed runs: every step is logged once."""

import json
import resource

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.compat.proto import event_pb2

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.training.log import Log


def write(workdir, start, steps):
  log = Log(workdir, start)
  for step in steps:
    log.numbers(step, {'loss': np.float32(step)}, {'seconds_per_step': 1.0})
    log.sample(step, np.full((8, 8, 3), step, np.uint8))
  log.flush()
  return log


def lines(workdir):
  text = (workdir / 'metrics.jsonl').read_text()
  return [json.loads(x) for x in text.splitlines()]


def board(workdir):
  """Returns the sorted (step, tag) of all records in TensorBoard files."""
  found = []
  for path in sorted((workdir / 'tensorboard').iterdir()):
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
      event = event_pb2.Event.FromString(record)
      found += [(event.step, value.tag) for value in event.summary.value]
  return sorted(found)


def test_each_step_is_logged_once(tmp_path):
  write(tmp_path, 0, [1, 2, 3, 4]).close()
  write(tmp_path, 2, [3, 4, 5]).close()
  assert [x['step'] for x in lines(tmp_path)] == [1, 2, 3, 4, 5]
  assert board(tmp_path) == sorted(
    (step, tag)
    for step in (1, 2, 3, 4, 5)
    for tag in ('loss', 'seconds_per_step', 'samples')
  )


def test_flushed_records_survive_without_close(tmp_path):
  log = write(tmp_path, 0, [1, 2])
  assert len(lines(tmp_path)) == 2 and len(board(tmp_path)) == 6
  log.close()


def test_partial_lines_events_and_files_are_dropped(tmp_path):
  write(tmp_path, 0, [1, 2, 3]).close()
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 4, "lo')
  (events,) = (tmp_path / 'tensorboard').iterdir()
  events.write_bytes(events.read_bytes()[:-7])
  for name in ('metrics.jsonl.part', 'tensorboard/x.tfevents.1.part'):
    (tmp_path / name).write_text('half')
  write(tmp_path, 2, [3]).close()
  assert [x['step'] for x in lines(tmp_path)] == [1, 2, 3]
  assert [step for step, tag in board(tmp_path) if tag == 'samples'] == [
    1,
    2,
    3,
  ]
  assert not list(tmp_path.rglob('*.part'))


@pytest.mark.parametrize(
  'damage',
  [
    b'{"step": 4, "lo\n',
    b'{"step": 4, "lo{"step": 5, "loss": 1.0}\n',
    b'\0' * 64 + b'\n',
    b'\xff\xfe\n',
    b'[4]\n"5"\n{}\n\n',
  ],
)
def test_unreadable_lines_are_dropped(damage, tmp_path):
  write(tmp_path, 0, [1, 2]).close()
  path = tmp_path / 'metrics.jsonl'
  first, second = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(first + damage + second + b'{"step": 2')
  write(tmp_path, 2, [3]).close()
  assert [x['step'] for x in lines(tmp_path)] == [1, 2, 3]


def test_records_after_a_damaged_event_are_dropped(tmp_path):
  write(tmp_path, 0, [1, 2]).close()
  (events,) = (tmp_path / 'tensorboard').iterdir()
  whole = events.read_bytes()
  events.write_bytes(
    whole + b'\0' * 64 + whole
  )  # a power failure may leave zeros
  write(tmp_path, 2, []).close()
  assert events.read_bytes() == whole


def test_nan_is_logged_as_null(tmp_path):
  log = Log(tmp_path, 0)
  log.numbers(1, {'loss': np.float32('nan')}, {})
  log.close()
  assert lines(tmp_path) == [{'step': 1, 'loss': None}]


def test_a_full_disk_is_one_line(tmp_path):
  log = write(tmp_path, 0, [1])
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (32, limits[1]))
  try:
    with pytest.raises(UserError, match=f'cannot write to {tmp_path}.*room'):
      write_more(log)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  log.close()
  Log(tmp_path, 1).close()
  assert lines(tmp_path) == [{'step': 1, 'loss': 1.0}]


def write_more(log):
  log.numbers(2, {'loss': np.float32(2)}, {})
  log.flush()
