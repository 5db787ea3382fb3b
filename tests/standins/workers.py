"""Local processes that stand in for the workers of a slice or a job.

All files are in the folder STANDINS: `calls` has every command line, `pids` has
the process groups of running workers, and `worker-N` is the home of worker N.
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(os.environ['STANDINS'])
COUNT = int(os.environ.get('STANDIN_WORKERS', '2'))


def record():
  """Records the command line of this program."""
  words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
  with open(ROOT / 'calls', 'a') as file:
    file.write(json.dumps(words) + '\n')


def environment(worker):
  """Returns variables from which JAX reads the rank of a worker (Slurm)."""
  return {
    **os.environ,
    'HOME': str(ROOT / f'worker-{worker}'),
    'SLURM_JOB_ID': '7',
    'SLURM_STEP_NODELIST': '127.0.0.1',
    'SLURM_NTASKS': str(COUNT),
    'SLURM_PROCID': str(worker),
    'SLURM_LOCALID': str(worker),
    'SLURM_STEP_NUM_NODES': '1',
    'JAX_COORDINATOR_PORT': (ROOT / 'port').read_text(),
  }


def run(words, numbers, home=False):
  """Runs a command on some workers in parallel; returns the exit codes."""
  processes = []
  for i in numbers:
    processes.append(
      subprocess.Popen(
        words,
        env=environment(i),
        cwd=ROOT / f'worker-{i}' if home else None,
        start_new_session=True,  # continues if the connection ends
      )
    )
    with open(ROOT / 'pids', 'a') as file:
      file.write(f'{processes[-1].pid}\n')
  codes = [process.wait() for process in processes]
  return [128 - code if code < 0 else code for code in codes]
