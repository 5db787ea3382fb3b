"""Tests of soak.py: growth in made-up readings, and readings of a short run."""

import multiprocessing
import os

import pytest
import soak


def steady(count=200, **changes):
  """Returns readings of a run; `changes` map names to functions of the step."""
  found = []
  for step in range(100, 100 * count + 1, 100):
    values = {
      'seconds': 0.01 + 0.001 * (step // 100 % 3),
      'memory': 10**9 + 10**6 * (step // 100 % 5),
      'threads': 40 + (step % 1000 == 0),
      'handles': 20 + 3 * (step % 1000 == 0),
    }
    values |= {name: change(step) for name, change in changes.items()}
    found.append(soak.Reading(step, **values))
  return found


def verdict(found):
  """Returns the names of the checks that fail."""
  return {
    line.partition(':')[0] for holds, line in soak.judge(found) if not holds
  }


def test_a_steady_run_passes_all_checks():
  assert verdict(steady()) == set()
  assert verdict(steady(count=50)) == set()


@pytest.mark.parametrize(
  'name, change, fails',
  [
    ('memory', lambda step: 10**9 + 2000 * step, True),  # 4% in all
    ('memory', lambda step: 10**9 + 500 * step, False),  # 1%
    ('memory', lambda step: 10**9 * (1 + (step > 1500)), False),  # warms up
    ('memory', lambda step: 10**9 * (1 + (step % 1000 == 0)), False),  # saves
    (
      'memory',  # frees much memory, then grows
      lambda step: 10**9 * (1 + (step < 6000)) + 5000 * step,
      True,
    ),
    ('threads', lambda step: 40 + step // 5000, True),
    ('threads', lambda step: 60 - step // 5000, False),
    ('handles', lambda step: 20 + (step > 16000), True),
    ('seconds', lambda step: 0.01 * (1 + step / 30000), True),
    ('seconds', lambda step: 0.01 * (1 + (step % 1000 == 0)), False),
    ('seconds', lambda step: 0.01 * (1 + 3 * (step < 2000)), False),
  ],
)
def test_growth_is_distinguished_from_noise(name, change, fails):
  failing = {'time' if name == 'seconds' else name} if fails else set()
  assert verdict(steady(**{name: change})) == failing


def test_the_first_reading_may_have_no_time():
  first, *rest = steady()
  assert verdict([first._replace(seconds=None), *rest]) == set()
  assert '100' in soak.row(first._replace(seconds=None))


def test_memory_threads_and_handles_of_a_process_are_read():
  memory, threads, handles = soak.read(os.getpid())
  assert 10**6 < memory < 10**12 and threads >= 1 and handles >= 3
  with open(os.devnull):
    assert soak.read(os.getpid())[2] == handles + 1


@pytest.mark.slow
def test_a_short_run_is_measured_and_judged():
  said = []
  found = soak.readings(60, every=2, say=said.append)
  assert [r.step for r in found] == list(range(2, 61, 2))
  assert found[0].seconds is None and all(r.seconds > 0 for r in found[1:])
  assert all(r.memory > 10**7 and r.threads > 1 for r in found)
  assert len(soak.judge(found)) == 4 and len(said) == 30
  assert not multiprocessing.active_children()


def test_a_failing_run_raises_an_error(monkeypatch, capfd):
  monkeypatch.setattr(soak, 'train', fail)
  with pytest.raises(RuntimeError, match='exit code 1'):
    soak.readings(10, every=1)
  assert 'no such thing' in capfd.readouterr().err


def fail(*args):
  raise ValueError('no such thing')
