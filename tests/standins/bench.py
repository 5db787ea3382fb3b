"""A repository to launch from, with stand-ins for the programs it needs."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

STANDINS = pathlib.Path(__file__).parent
REPOSITORY = STANDINS.parent.parent
LAUNCH = REPOSITORY / 'launch'
# Stand-in for cyclegan_jax.main. Its run folder has a plan for each process and
# try: a number is the exit code; None waits for a signal to stop.
PROGRAM = """
import json, os, pathlib, signal, sys, time

flags = dict(x[2:].partition('=')[::2] for x in sys.argv[1:])
number = int(flags.get('process-id') or os.environ['SLURM_PROCID'])
folder = pathlib.Path(flags['workdir'])
tries = len(list(folder.glob(f'{number}.*')))
seen = {'arguments': sys.argv[1:], 'environment': dict(os.environ), 'told': 0}
file = folder / f'{number}.{tries}'
code = json.loads((folder / 'plan').read_text())[tries][number]

def told(signum, frame):
  global code
  code = 128 + signum
  seen['told'] += 1

for signum in (signal.SIGINT, signal.SIGTERM):
  signal.signal(signum, told)
file.write_text(json.dumps(seen))
print(f'process {number} in try {tries}', flush=True)
for _ in range(600):
  if code is not None:
    break
  time.sleep(0.1)
if seen['told']:
  # Saves, the first one sooner, and would notice a second signal.
  time.sleep(0.5 + number / 2)
  file.write_text(json.dumps(seen))
  print('saved', flush=True)
sys.exit(code)
"""


class Bench:
  """Repository to launch from, and stand-ins on the PATH."""

  def __init__(self, tmp, program=None, **environment):
    """Uses `program` instead of this repository's cyclegan_jax.main."""
    self.standins = tmp / 'standins'
    self.standins.mkdir()
    self.repository = tmp / 'repository'
    shutil.copytree(LAUNCH, self.repository / 'launch')
    shutil.copy(REPOSITORY / 'constraints.txt', self.repository)
    if program is None:
      for name in ('cyclegan_jax', 'configs'):
        shutil.copytree(REPOSITORY / name, self.repository / name)
    else:
      (self.repository / 'cyclegan_jax').mkdir()
      # Without this file, Python would prefer an installed package.
      (self.repository / 'cyclegan_jax' / '__init__.py').touch()
      (self.repository / 'cyclegan_jax' / 'main.py').write_text(program)
    for words in (
      ['init', '-q'],
      ['add', '-A'],
      ['-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-qm', 'All'],
    ):
      subprocess.run(['git', *words], cwd=self.repository, check=True)
    self.workdir = tmp / 'run'
    self.workdir.mkdir()
    with socket.socket() as server:
      server.bind(('127.0.0.1', 0))
      (self.standins / 'port').write_text(str(server.getsockname()[1]))
    self.environment = {
      **os.environ,
      # The stand-ins run with the Python of the tests.
      'PATH': ':'.join(
        [
          str(STANDINS),
          str(pathlib.Path(sys.executable).parent),
          os.environ['PATH'],
        ]
      ),
      'PYTHON': sys.executable,
      'STANDINS': str(self.standins),
      'STANDIN_PYTHON': sys.executable,
      'JAX_PLATFORMS': 'cpu',
      'JAX_NUM_CPU_DEVICES': '2',
      'JAX_CPU_COLLECTIVES_IMPLEMENTATION': 'gloo',
      **environment,
    }

  def plan(self, *tries):
    (self.workdir / 'plan').write_text(json.dumps(tries))

  def seen(self, number, attempt=0):
    return json.loads((self.workdir / f'{number}.{attempt}').read_text())

  def calls(self, *start):
    """Returns the calls of stand-ins that begin with the words `start`."""
    file = self.standins / 'calls'
    lines = file.read_text().splitlines() if file.exists() else []
    calls = [json.loads(x) for x in lines]
    return [x for x in calls if x[: len(start)] == list(start)]

  def start(self, script, *words, **environment):
    return subprocess.Popen(
      # As in a terminal, even if the tests run with SIGINT ignored.
      ['env', '--default-signal=INT', self.repository / 'launch' / script]
      + [*words],
      env=self.environment | environment,
      cwd=self.repository,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      start_new_session=True,
    )

  def run(self, script, *words, code=0, **environment):
    """Runs a script; returns its standard output and standard error."""
    process = self.start(script, *words, **environment)
    try:
      out, err = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
      # Also ends its children, which have their own process groups.
      subprocess.run(['pkill', '-KILL', '-s', str(process.pid)], check=False)
      raise
    assert process.returncode == code, out + err
    return out, err

  def local(self, *words, **options):
    return self.run(
      'local.sh', *words, '--', f'--workdir={self.workdir}', **options
    )

  POD = ('--name=pod', '--zone=zone-a', '--type=v5litepod-16', '--poll=0')

  def pod(self, *words, **options):
    return self.run('tpu_pod.sh', *self.pod_words(*words), **options)

  def pod_words(self, *words):
    return [*self.POD, *words, '--', f'--workdir={self.workdir}']

  def wait_for(self, name, text=''):
    """Waits until a file below the run folder contains a text."""
    for _ in range(1200):
      file = self.workdir / name
      if file.exists() and text in file.read_text():
        return
      time.sleep(0.1)
    raise AssertionError(f'no {text!r} in {name}')

  def preempt(self):
    (self.standins / 'state').write_text('PREEMPTED')
    for line in (self.standins / 'pids').read_text().split():
      with contextlib.suppress(ProcessLookupError):
        os.killpg(int(line), signal.SIGKILL)
