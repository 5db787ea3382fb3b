"""Tests of chaos.py: killed runs leave equal folders; differences are found."""

import json
import random
import shutil
import signal

import chaos
import numpy as np
import pytest
from clu import metric_writers

from cyclegan_jax.training.checkpoint import Checkpoints


@pytest.mark.slow
def test_a_killed_run_leaves_no_trace(tmp_path):
  said = []
  well = chaos.check(tmp_path, kills=2, steps=40, seed=1, say=said.append)
  assert well, '\n'.join(said)
  done, halves = (int(said[-2].split()[i]) for i in (0, 2))
  assert done >= 2 and halves >= 1


@pytest.mark.parametrize('kills', [1, 3, 8, 20, 50])
def test_a_quarter_of_the_kills_hits_a_checkpoint(kills):
  names = chaos.plan(kills, random.Random(0))
  assert len(names) == kills
  assert names.count(chaos.SAVING) >= kills / 4
  assert chaos.END not in names[: -(kills // 8) or None]
  if kills >= 20:
    assert set(names) == set(chaos.KINDS)
  signals = [number for _, number in chaos.KINDS[chaos.SAVING].signals]
  assert signals == [signal.SIGKILL]


def write_records(workdir, steps):
  """Appends records of steps to metrics.jsonl and TensorBoard."""
  board = metric_writers.SummaryWriter(str(workdir / 'tensorboard'))
  with (workdir / 'metrics.jsonl').open('a') as lines:
    for step in steps:
      lines.write(json.dumps({'step': step, 'loss_gen': 1 / step}) + '\n')
      board.write_scalars(step, {'loss_gen': 1 / step, 'input_wait': 0.1})
      board.write_images(step, {'samples': np.full((1, 2, 2, 3), step / 9)})
  board.close()


def write_checkpoint(workdir, kernel):
  checkpoints = Checkpoints(workdir / 'checkpoints')
  checkpoints.save(4, {'params': {'kernel': kernel}, 'key': np.arange(2)})
  checkpoints.close()


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Run folder with the files of a run of four steps."""
  workdir = tmp_path_factory.mktemp('whole')
  write_records(workdir, [1, 2, 3, 4])
  write_checkpoint(workdir, np.ones((2, 3), np.float32))
  (workdir / 'samples').mkdir()
  (workdir / 'samples' / 'step_0000004.png').write_bytes(b'\0picture')
  (workdir / 'test_metrics.json').write_text('[]\n')
  return workdir


@pytest.fixture
def killed(whole, tmp_path):
  return shutil.copytree(whole, tmp_path / 'killed')


def assert_found(whole, killed, *expected):
  found = chaos.differences(whole, killed)
  assert len(found) == len(expected), found
  for line, words in zip(found, expected):
    assert words in line


def test_equal_folders_have_no_differences(whole, killed):
  assert_found(whole, killed)


def test_records_split_over_several_files_are_equal(whole, killed):
  shutil.rmtree(killed / 'tensorboard')
  (killed / 'metrics.jsonl').unlink()
  write_records(killed, [1, 2])
  write_records(killed, [3, 4])
  assert_found(whole, killed)


@pytest.mark.parametrize(
  'value', [np.nextafter(np.float32(1), 2), np.float32(np.nan)]
)
def test_a_changed_bit_is_named(value, whole, killed):
  shutil.rmtree(killed / 'checkpoints')
  kernel = np.ones((2, 3), np.float32)
  kernel[1, 2] = value
  write_checkpoint(killed, kernel)
  assert_found(whole, killed, 'checkpoint 4: params/kernel differs')


def test_minus_zero_differs_from_zero_and_nan_equals_nan():
  def same(x, y):
    return chaos.same_bits(np.float32([x]), np.float32([y]))

  assert not same(0.0, -0.0) and same(np.nan, np.nan)
  assert not chaos.same_bits(np.zeros(2, np.float32), None)
  assert not chaos.same_bits(np.zeros(2, np.float32), np.zeros(2, np.int32))


def test_a_different_last_checkpoint_is_found(whole, killed):
  (killed / 'checkpoints' / '4').rename(killed / 'checkpoints' / '3')
  assert_found(whole, killed, 'the last ones are 4 and 3')


def test_a_doubled_line_is_found(whole, killed):
  with (killed / 'metrics.jsonl').open('a') as lines:
    lines.write('{"step": 4}\n')
  assert_found(whole, killed, 'metrics.jsonl: line 5 differs')


def test_a_doubled_step_of_tensorboard_is_found(whole, killed):
  board = metric_writers.SummaryWriter(str(killed / 'tensorboard'))
  board.write_scalars(3, {'loss_gen': 1 / 3})
  board.close()
  words = 'disturbed: loss_gen more than once at steps [3]'
  assert_found(whole, killed, words)


def test_missing_and_changed_records_are_found(whole, killed):
  shutil.rmtree(killed / 'tensorboard')
  board = metric_writers.SummaryWriter(str(killed / 'tensorboard'))
  for step in (1, 2, 4):
    board.write_scalars(step, {'loss_gen': 1.0, 'input_wait': 0.2})
    board.write_images(step, {'samples': np.full((1, 2, 2, 3), step / 9)})
  board.close()
  assert_found(
    whole,
    killed,
    'input_wait not in both runs at steps [3]',
    'loss_gen not in both runs at steps [3]',
    'loss_gen differs at steps [2, 4]',
    'samples not in both runs at steps [3]',
  )


def test_a_changed_or_missing_file_is_found(whole, killed):
  (killed / 'samples' / 'step_0000004.png').write_bytes(b'\0pict')
  (killed / 'test_metrics.json').unlink()
  (killed / 'core').touch()
  assert_found(
    whole,
    killed,
    'core: only in the disturbed run',
    'test_metrics.json: only in the undisturbed run',
    'step_0000004.png: differs',
  )


@pytest.mark.parametrize(
  'name',
  [
    'checkpoints/9.orbax-checkpoint-tmp',
    'metrics.jsonl.part',
    'tensorboard/events.out.tfevents.1.part',
  ],
)
def test_leftover_files_are_found(name, whole, killed):
  (killed / name).touch()
  assert_found(whole, killed, f'left over: {name}')


def test_a_failing_program_is_reported(tmp_path, monkeypatch):
  """The command of both runs exits at once with code 3."""
  program = chaos.Program
  monkeypatch.setattr(program, 'command', lambda *_: ['sh', '-c', 'exit 3'])
  said = []
  assert not chaos.check(tmp_path, kills=1, steps=5, seed=0, say=said.append)
  assert 'exit code 3' in said[-1]
