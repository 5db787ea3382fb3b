"""Tests of training in several processes: equal results, faults, recovery."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest
import tiny

from cyclegan_jax import main
from cyclegan_jax.common import files
from cyclegan_jax.config import program
from cyclegan_jax.training import checkpoint

HEARTBEAT = 10  # seconds; the documented time-out of the test


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  """Compilation cache that all processes share."""
  return tmp_path_factory.mktemp('cache')


def free_port():
  with socket.socket() as server:
    server.bind(('127.0.0.1', 0))
    return server.getsockname()[1]


def options(workdir, pictures, **changes):
  """Returns the options of a run of 4 steps, without the program.

  After more steps, results are not comparable: from step 5 or 6 on, rounding
  changes the sign of an L1 difference at some pixel, and one device differs
  from four by 1e-3 of a loss.
  """
  return tiny.command(
    'folder',
    workdir,
    pictures,
    **{
      'train__batch_size': 4,
      'parallel__devices': 0,
      'optim__name': 'sgd',
      'optim__lr': 1e-3,
      'schedule__constant': 2,
      'log__checkpoint_every': 2,
    }
    | changes,
  )[1:]


class Job:
  """Processes of one program; the output of each is written to a file."""

  def __init__(self, folder, cache, count, devices, *commands, program='main'):
    port = free_port()
    self.folder = folder
    self.outputs = [None] * count
    self.processes = [None] * count
    self.commands = [
      [sys.executable, '-m', f'cyclegan_jax.{program}']
      + commands[min(i, len(commands) - 1)]
      + [f'--coordinator=127.0.0.1:{port}', f'--process-id={i}']
      + [f'--num-processes={count}', f'--heartbeat-timeout={HEARTBEAT}']
      for i in range(count)
    ]
    self.env = os.environ | {
      'JAX_PLATFORMS': 'cpu',
      'JAX_NUM_CPU_DEVICES': str(devices),
      'JAX_COMPILATION_CACHE_DIR': str(cache),
      'PYTHONUNBUFFERED': '1',
    }
    for number in range(count):
      self.start(number)

  def start(self, number):
    """Starts or restarts a process, with a new output file.

    The previous process may still be writing to its own file.
    """
    name = f'output_{number}_{time.monotonic_ns()}.txt'
    self.outputs[number] = self.folder / name
    with self.outputs[number].open('w') as output:
      self.processes[number] = subprocess.Popen(
        self.commands[number], stdout=output, stderr=output, env=self.env
      )

  def codes(self, timeout=300):
    """Waits for the end of all processes and returns their exit codes."""
    try:
      return [process.wait(timeout) for process in self.processes]
    finally:
      for process in self.processes:
        process.kill()

  def text(self, number):
    return self.outputs[number].read_text()

  def wait_for(self, pattern, number=0, timeout=300):
    """Waits until the output of a process matches a pattern."""
    end = time.monotonic() + timeout
    while not re.search(pattern, self.text(number)):
      assert time.monotonic() < end, self.text(number)
      assert self.processes[number].poll() is None, self.text(number)
      time.sleep(0.05)


def results(workdir):
  """Returns the final parameters and the losses of every step."""
  step, params = checkpoint.read_params(workdir / 'checkpoints')
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return step, params, [json.loads(line) for line in lines]


def assert_same_training(ours, theirs, tolerance):
  assert ours[0] == theirs[0]
  if tolerance == 0:
    tiny.assert_same(ours[1], theirs[1])
    assert ours[2] == theirs[2]
    return
  tiny.assert_close(ours[1], theirs[1], tolerance)
  for one, other in zip(ours[2], theirs[2], strict=True):
    assert one == pytest.approx(other, rel=1e-4, abs=1e-5)


@pytest.fixture(scope='module')
def whole(pictures, tmp_path_factory, cache):
  """Results of an undisturbed run of two processes with two devices each."""
  folder = tmp_path_factory.mktemp('whole')
  job = Job(folder, cache, 2, 2, options(folder / 'run', pictures))
  assert job.codes() == [0, 0], job.text(0) + job.text(1)
  # Process 0 prints for both.
  assert 'finished: all 4 steps are done' in job.text(0)
  assert 'finished' not in job.text(1) and 'step 1/4' not in job.text(1)
  return results(folder / 'run')


@pytest.mark.slow
@pytest.mark.parametrize('count,devices', [(1, 4), (4, 1)])
def test_the_number_of_processes_is_invisible(
  count, devices, whole, pictures, tmp_path, cache
):
  job = Job(tmp_path, cache, count, devices, options(tmp_path / 'r', pictures))
  assert job.codes() == [0] * count, job.text(0)
  assert_same_training(results(tmp_path / 'r'), whole, 1e-5)


@pytest.mark.slow
def test_a_killed_process_ends_the_others_and_the_run_resumes(
  whole, pictures, tmp_path, cache
):
  run = tmp_path / 'run'
  # An endless run, so that it is still running when it is killed.
  endless = options(run, pictures, schedule__constant=10**6, log__keep_every=2)
  job = Job(tmp_path, cache, 2, 2, endless)
  job.wait_for('step 5/')
  job.processes[1].send_signal(signal.SIGKILL)
  killed = time.monotonic()
  assert job.processes[0].wait(HEARTBEAT + 20) not in (0, 2)
  assert time.monotonic() - killed < HEARTBEAT + 15
  end = time.monotonic() + 10  # the line is printed when the process has ended
  while 'lost another process' not in job.text(0):
    assert time.monotonic() < end, job.text(0)
    time.sleep(0.1)
  assert 'run the same command to continue' in job.text(0).splitlines()[-1]
  job.codes()
  # Keeps the 2 steps of the constant learning rate, equal in both schedules.
  for folder in (run / 'checkpoints').glob('[0-9]*'):
    if int(folder.name) > 2:
      shutil.rmtree(folder)
  moved = tmp_path / 'moved'
  shutil.copytree(run, moved)
  job = Job(tmp_path, cache, 2, 2, options(run, pictures))
  assert job.codes() == [0, 0], job.text(0)
  assert 'continuing' in job.text(0)
  assert_same_training(results(run), whole, 0)
  # Another number of processes and devices gives equal batches.
  job = Job(tmp_path, cache, 1, 4, options(moved, pictures))
  assert job.codes() == [0], job.text(0)
  assert 'continuing' in job.text(0)
  assert_same_training(results(moved), whole, 1e-5)


@pytest.mark.slow
def test_a_restarted_process_waits_and_sigterm_stops_all(
  pictures, tmp_path, cache
):
  run = tmp_path / 'run'
  endless = options(run, pictures, schedule__constant=10**6)
  job = Job(tmp_path, cache, 2, 2, endless)
  job.wait_for('step 5/')
  job.processes[1].send_signal(signal.SIGKILL)
  job.processes[1].wait()
  job.start(1)
  assert job.processes[0].wait(HEARTBEAT + 20) not in (0, 2)
  job.start(0)
  job.wait_for('continuing')
  job.wait_for(r'\bstep \d+/')
  job.processes[1].send_signal(signal.SIGTERM)
  assert job.codes() == [143, 143], job.text(0) + job.text(1)
  step, _, lines = results(run)
  assert f'saved at step {step} of' in job.text(0).splitlines()[-1]
  assert [line['step'] for line in lines] == list(range(1, step + 1))


@pytest.mark.slow
def test_processes_share_a_bucket(whole, bucket, pictures, tmp_path, cache):
  files.copy_below(pictures, bucket / 'pictures')
  run = bucket / 'run'
  job = Job(tmp_path, cache, 2, 2, options(run, bucket / 'pictures'))
  assert job.codes() == [0, 0], job.text(0) + job.text(1)
  assert_same_training(results(run), whole, 0)
  job = Job(tmp_path, cache, 2, 2, options(run, bucket / 'pictures'))
  assert job.codes() == [0, 0] and 'all 4 steps are done' in job.text(0)


@pytest.mark.slow
def test_a_bad_picture_in_one_process_ends_all(pictures, tmp_path, cache):
  root = tmp_path / 'pictures'
  shutil.copytree(pictures, root)
  path = root / 'trainB' / '3.png'
  path.write_bytes(path.read_bytes()[:-200])  # its header is whole
  words = options(tmp_path / 'r', root, schedule__constant=10**6)
  job = Job(tmp_path, cache, 2, 2, words)
  codes = job.codes()
  assert 0 not in codes and 2 in codes
  met = codes.index(2)
  text = job.text(met)
  assert f'error: {path}' in text.splitlines()[-1], text


@pytest.mark.slow
def test_different_configs_or_missing_pictures_end_all_processes(
  pictures, tmp_path, cache
):
  first = options(tmp_path / 'r', pictures)
  other = options(tmp_path / 'r', pictures, seed=1)
  job = Job(tmp_path, cache, 2, 2, first, other)
  assert job.codes() == [2, 2], job.text(0)
  for number in (0, 1):
    last = job.text(number).splitlines()[-1]
    assert last.startswith('error: process 1 has other config than process 0')
  lacks = options(tmp_path / 'r', tmp_path / 'nowhere')
  job = Job(tmp_path, cache, 2, 2, first, lacks)
  assert job.codes() == [2, 2], job.text(0)
  assert 'error: process 1 cannot continue' in job.text(0)
  assert 'nowhere' in job.text(1).splitlines()[-1]
  assert not list((tmp_path / 'r').glob('checkpoints/*'))


@pytest.mark.slow
@pytest.mark.parametrize(
  'flags,code,line',
  [
    (
      '--num-processes=2 --process-id=0 --start-timeout=3 --coordinator=',
      -signal.SIGABRT,
      'error: the processes did not meet within --start-timeout=3 seconds',
    ),
    ('--distributed=auto', 2, 'error: --distributed=auto: found no Cloud TPU'),
  ],
)
def test_a_process_that_finds_no_others_ends_with_one_line(
  flags, code, line, pictures, tmp_path
):
  words = flags.split()
  if words[-1].endswith('='):
    words[-1] += f'127.0.0.1:{free_port()}'
  ended = subprocess.run(
    [sys.executable, '-m', 'cyclegan_jax.main', *words]
    + options(tmp_path / 'r', pictures),
    capture_output=True,
    text=True,
    timeout=120,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
  )
  assert ended.returncode == code
  assert ended.stderr.splitlines()[-1].startswith(line)


@pytest.mark.parametrize(
  'flags,named',
  [
    (['--distributed=yes'], "--distributed='yes'"),
    (['--distributed=auto', '--process-id=1'], 'give one or the other'),
    (
      ['--coordinator=a:1'],
      '--coordinator: also give --num-processes, --process-id',
    ),
    (
      ['--num-processes=2'],
      '--num-processes: also give --coordinator, --process-id',
    ),
    (
      ['--coordinator=a', '--num-processes=2', '--process-id=0'],
      '--coordinator=a: must be HOST:PORT',
    ),
    (
      ['--coordinator=a:1', '--num-processes=2', '--process-id=2'],
      '--process-id=2: must be',
    ),
    (['--start-timeout=0'], '--start-timeout=0: must be at least 1'),
    (['--profile=3'], '--profile=3: must be START:COUNT'),
    (['--profile=3:0'], '--profile=3:0: must be START:COUNT'),
  ],
)
def test_invalid_distributed_flags_are_one_line(
  flags, named, pictures, tmp_path, capsys
):
  argv = ['main', *options(tmp_path / 'r', pictures), *flags]
  assert program.run(main.main, argv) == 2
  error = capsys.readouterr().err
  assert named in error and len(error.splitlines()) == 1
  assert not (tmp_path / 'r').exists()
  assert not jax.distributed.is_initialized()


@pytest.mark.slow
def test_processes_share_evaluation_and_translation(pictures, tmp_path, cache):
  model = tiny.save_model(tmp_path / 'model')
  data = (
    f'--config={tiny.CONFIGS / "folder.py"}',
    f'--config.data.root={pictures}',
  )
  measure = [f'--model={model}', '--metrics=l1,ssim', *data]
  measure += ['--config.data.load_size=18', '--config.data.crop_size=16']
  translate = [f'--model={model}', '--direction=a2b']
  translate.append(f'--input={pictures / "trainB"}')  # 7 pictures
  rows, outputs = [], []
  for count in (1, 3):
    folder = tmp_path / str(count)
    folder.mkdir()
    words = [*measure, f'--output={folder / "rows.json"}']
    job = Job(folder, cache, count, 1, words, program='evaluate')
    assert job.codes() == [0] * count, job.text(0)
    rows.append(json.loads((folder / 'rows.json').read_text())['rows'])
    words = [*translate, f'--output={folder / "made"}']
    job = Job(folder, cache, count, 1, words, program='translate')
    assert job.codes() == [0] * count, job.text(0)
    assert 'translated 7 pictures: in' in job.text(0)
    assert count == 1 or 'translated' not in job.text(1)
    outputs.append(
      {p.name: p.read_bytes() for p in (folder / 'made').glob('*.png')}
    )
  assert outputs[0] == outputs[1] and len(outputs[0]) == 7
  for alone, shared in zip(*rows, strict=True):
    for name in ('direction', 'candidate'):
      assert alone.pop(name) == shared.pop(name)
    assert alone and alone == pytest.approx(shared, rel=1e-5)
