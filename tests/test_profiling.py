"""Tests of profiles of steps, stacks of a stuck step, and waiting times."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
import test_train

from cyclegan_jax.training import profiling
from cyclegan_jax.training.profiling import Profile, Profiler

WATCHED = """
import time
from cyclegan_jax.training.profiling import Watchdog
with Watchdog({seconds}) as stepped:
  for _ in range(4):
    def the_step_that_hangs():
      time.sleep({step})
    the_step_that_hangs()
    stepped()
"""


def test_start_and_count_of_a_profile_are_parsed():
  assert profiling.parse('') is None
  assert profiling.parse('100:5') == Profile(100, 5)


def test_a_profile_contains_only_the_requested_steps(tmp_path):
  settled, said = [], []
  profiler = Profiler(Profile(3, 2), tmp_path, settled.append, said.append)
  for step in range(8):
    profiler(step)
    jax.block_until_ready(jnp.ones(3) + step)
    assert bool(said) == (step >= 5)
  assert settled == [3, 5]
  assert len(list(tmp_path.glob('plugins/profile/*/*.xplane.pb'))) == 1


def test_a_profile_cut_short_by_the_end_is_written(tmp_path):
  said = []
  profiler = Profiler(Profile(1, 9), tmp_path, lambda step: None, said.append)
  profiler(1)
  profiler.close(2)
  assert 'step 2' in said[0]
  assert list(tmp_path.glob('plugins/profile/*/*.xplane.pb'))


def test_training_writes_the_requested_profile(pictures, tmp_path):
  run = test_train.make_run(pictures)._replace(profile=Profile(1, 2))
  said = []
  test_train.train(run, tmp_path, say=said.append)
  assert any(line.startswith('profile up to step 3') for line in said)
  found = list(tmp_path.glob('tensorboard/plugins/profile/*/*.xplane.pb'))
  assert len(found) == 1
  # A resumed run accepts profiles in the folder of TensorBoard.
  test_train.train(run, tmp_path, say=said.append)


@pytest.mark.parametrize('seconds,step,stuck', [(1, 2, True), (3, 0.1, False)])
def test_a_stuck_step_prints_its_stack(seconds, step, stuck):
  code = WATCHED.format(seconds=seconds, step=step)
  ended = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert ('the_step_that_hangs' in ended.stderr) == stuck
  assert ('Timeout' in ended.stderr) == stuck


def test_waiting_times_of_every_process_are_logged(monkeypatch):
  speed = {'seconds_per_step': 0.5, 'images_per_second': 2, 'input_wait': 0.1}
  assert profiling.by_process(speed) == {}
  monkeypatch.setattr(profiling.hosts, 'several', lambda: True)
  monkeypatch.setattr(
    profiling.hosts, 'from_all', lambda own: [own, [0.5, 0.75]]
  )
  assert profiling.by_process(speed) == {
    'process_0/seconds_per_step': 0.5,
    'process_0/input_wait': pytest.approx(0.1),
    'process_1/seconds_per_step': 0.5,
    'process_1/input_wait': 0.75,
  }
