"""Several processes: told to stop, all stop at one step, and go on from it."""

import json
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

from cyclegan_jax.checkpoint import Checkpoints

TESTS = pathlib.Path(__file__).parent
PROCESS = """
import sys
import jax
sys.path.insert(0, sys.argv[1])
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.config.update('jax_num_cpu_devices', 2)
jax.distributed.initialize(f'127.0.0.1:{sys.argv[2]}', 2, int(sys.argv[3]))
import test_train
run = test_train.build_run(
  sys.argv[4],
  train__batch_size=4,
  parallel__devices=0,
  schedule__constant=int(sys.argv[6]),
  log__checkpoint_every=0,
  log__sample_every=2,
)
result = test_train.train(
  run, sys.argv[5], say=lambda line: print(line, flush=True)
)
print('ended', result.step, result.signal, flush=True)
"""


def free_port():
  with socket.socket() as server:
    server.bind(('127.0.0.1', 0))
    return server.getsockname()[1]


def start(pictures, workdir, steps):
  """Two processes of two devices each."""
  port = free_port()
  return [
    subprocess.Popen(
      [sys.executable, '-c', PROCESS]
      + [str(x) for x in (TESTS, port, i, pictures, workdir, steps)],
      stdout=subprocess.PIPE,
      text=True,
    )
    for i in range(2)
  ]


def endings(processes):
  """The last line of each process, all of which end well."""
  outputs = [process.communicate(timeout=300)[0] for process in processes]
  assert [process.returncode for process in processes] == [0, 0]
  return [output.splitlines()[-1] for output in outputs]


@pytest.mark.slow
def test_a_signal_to_one_stops_all_at_the_same_step(pictures, tmp_path):
  processes = start(pictures, tmp_path, 100000)
  for line in processes[0].stdout:
    if line.startswith('step 3/'):
      processes[1].send_signal(signal.SIGTERM)
      break
  first, second = endings(processes)
  assert first == second
  word, step, number = first.split()
  assert word == 'ended' and int(number) == signal.SIGTERM
  step = int(step)
  assert Checkpoints(tmp_path / 'checkpoints').latest_step() == step
  last = step + 2
  more = start(pictures, tmp_path, last - 2)  # two more of decay
  assert endings(more) == [f'ended {last} None'] * 2
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(x)['step'] for x in lines] == list(range(1, last + 1))
