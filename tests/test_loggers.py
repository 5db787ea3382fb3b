"""Tests of loggers: each step is logged once, despite stops and crashes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import tiny
import wandb_file
from PIL import Image

from cyclegan_jax import main
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.training import loggers
from cyclegan_jax.training.log import Log
from cyclegan_jax.training.loggers import LOGGERS
from cyclegan_jax.training.loggers import wandb as wandb_logger

DOCUMENT = tiny.CONFIGS.parent / 'docs' / 'loggers.md'


def example():
  """Returns the `Logger` of the example in the documentation."""
  (code,) = re.findall(
    r'^```python\n(.*?)^```', DOCUMENT.read_text(), re.M | re.S
  )
  module = types.ModuleType('numbers_csv')
  exec(code, module.__dict__)
  return module.LOGGER


def of_tensorboard(workdir):
  import tensorflow as tf
  from tensorboard.compat.proto import event_pb2

  for path in sorted((workdir / 'tensorboard').iterdir()):
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
      event = event_pb2.Event.FromString(record)
      for value in event.summary.value:
        picture = tf.make_ndarray(value.tensor)
        shown = value.tag == 'samples'
        yield (
          event.step,
          value.tag,
          decoded(picture[2]) if shown else (float(picture)),
        )


def decoded(png):
  import tensorflow as tf

  return tf.io.decode_png(png).numpy()


def of_wandb(workdir):
  for step, row in wandb_file.history(workdir):
    for name, value in row.items():
      if name == 'samples.path':
        (path,) = workdir.glob(f'wandb/offline-run-*/files/{value}')
        yield step, 'samples', tiny.pixels(path)
      elif not name.startswith(('_', 'samples')):
        yield step, name, value


def of_csv(workdir):
  for line in (workdir / 'numbers.csv').read_text().splitlines():
    step, name, value = line.split(',')
    yield int(step), name, float(value)


# {logger: function (workdir) -> all written (step, name, number or picture)}
READERS = {'tensorboard': of_tensorboard, 'wandb': of_wandb, 'csv': of_csv}


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
  for name in [x for x in os.environ if x.startswith('WANDB_')]:
    monkeypatch.delenv(name)
  monkeypatch.setenv('WANDB_MODE', 'offline')
  monkeypatch.setenv('HOME', str(tmp_path))  # hides a login of the user
  monkeypatch.setattr(sys, 'exit', sys.exit)  # wandb wraps both
  monkeypatch.setattr(sys, 'excepthook', sys.excepthook)


@pytest.fixture(params=[*LOGGERS, 'csv'])
def name(request, monkeypatch):
  """Name of a logger of the table, or of the documentation's example."""
  if request.param == 'csv':
    monkeypatch.setitem(LOGGERS, 'csv', example())
  for package in LOGGERS[request.param].packages:
    pytest.importorskip(package)
  loggers.check([request.param])
  return request.param


def write(log, steps):
  for step in steps:
    log.numbers(step, {'loss': np.float32(step)}, {'seconds_per_step': 1.0})
    log.sample(step, picture(step))
    log.numbers(step, {'test/a2b/L1': step / 2}, {})


def picture(step):
  return np.full((8, 6, 3), step, np.uint8)


def read(name, workdir):
  """Reads {(step, name): value} and checks that there are no duplicates."""
  found = list(READERS[name](workdir))
  values = {(step, key): value for step, key, value in found}
  assert len(values) == len(found)
  return values


def check(name, workdir, steps):
  """Checks that all values of `write` in the given steps were logged once."""
  found = read(name, workdir)
  expected = {
    (step, key): value
    for step in steps
    for key, value in (
      ('loss', step),
      ('seconds_per_step', 1.0),
      ('test/a2b/L1', step / 2),
      ('samples', picture(step)),
    )
    # The example logger does not log pictures.
    if (name, key) != ('csv', 'samples')
  }
  assert found.keys() == expected.keys()
  for key, value in expected.items():
    np.testing.assert_array_equal(found[key], value)


def test_each_step_is_logged_once(name, tmp_path):
  log = Log(tmp_path, 0, [name], {'seed': 3})
  write(log, [1, 2, 3, 4])
  log.flush()
  log.close(143)
  # The newest checkpoint was saved at step 2.
  with Log(tmp_path, 2, [name], {'seed': 3}) as log:
    write(log, [3, 4, 5])
  check(name, tmp_path, [1, 2, 3, 4, 5])
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert {json.loads(line)['step'] for line in lines} == {1, 2, 3, 4, 5}
  assert len(list((tmp_path / 'samples').iterdir())) == 5


CRASH = """
import os, sys
sys.path.insert(0, {tests!r})
import test_loggers
from cyclegan_jax.training.log import Log
if {name!r} == 'csv':
  test_loggers.LOGGERS['csv'] = test_loggers.example()
log = Log({workdir!r}, 0, [{name!r}], {{'seed': 3}})
test_loggers.write(log, [1, 2])
log.flush()
print('flushed', flush=True)
sys.stdin.readline()
test_loggers.write(log, [3, 4])
os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_flushed_values_survive_a_crash(name, tmp_path):
  code = CRASH.format(
    tests=str(tiny.CONFIGS.parent / 'tests'), name=name, workdir=str(tmp_path)
  )
  # The child starts its own wandb service, not the one of `loggers.check`.
  own = {k: v for k, v in os.environ.items() if k != 'WANDB_SERVICE'}
  with subprocess.Popen(
    [sys.executable, '-c', code],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    env=own,
  ) as child:
    while child.stdout.readline() != b'flushed\n':
      assert child.poll() is None
    wait_for(lambda: {step for step, _ in read(name, tmp_path)} >= {1, 2})
    child.stdin.write(b'\n')
    child.stdin.flush()
    assert child.wait() == -signal.SIGKILL
  with Log(tmp_path, 2, [name], {'seed': 3}) as log:
    write(log, [3, 4, 5])
  found = {step for step, _ in read(name, tmp_path)}
  # wandb may have had no time to store step 3.
  assert found - {3} == {1, 2, 4, 5} and (name == 'wandb' or 3 in found)


def wait_for(ready, seconds=60):
  end = time.monotonic() + seconds
  while not ready():
    assert time.monotonic() < end
    time.sleep(0.1)


def test_without_loggers_files_are_still_written(tmp_path):
  with Log(tmp_path, 0, []) as log:
    write(log, [1])
  left = {path.name for path in tmp_path.iterdir()}
  assert left == {'metrics.jsonl', 'samples'}
  with Image.open(tmp_path / 'samples' / 'step_0000001.png') as image:
    np.testing.assert_array_equal(np.asarray(image), picture(1))


@pytest.mark.parametrize(
  ('names', 'words'),
  [
    (['tensorbord'], "log.to='tensorbord' is unknown: did you mean"),
    (['tensorboard', ''], 'choose from tensorboard, wandb'),
  ],
)
def test_an_unknown_logger_lists_the_loggers(names, words):
  with pytest.raises(UserError, match=words) as e:
    loggers.check(names)
  assert '\n' not in str(e.value)


def test_a_missing_package_names_the_extra(monkeypatch):
  entry = LOGGERS['wandb']._replace(packages=('not_installed',))
  monkeypatch.setitem(LOGGERS, 'wandb', entry)
  words = r"needs not_installed: pip install 'cyclegan_jax\[wandb\]'"
  with pytest.raises(UserError, match=words):
    loggers.check(['wandb'])


def test_an_unknown_logger_is_refused_before_training(
  pictures, tmp_path, capsys
):
  argv = tiny.command('folder', tmp_path / 'run', pictures, log__to='wand')
  assert program.run(main.main, argv) == 2
  err = capsys.readouterr().err
  assert "log.to='wand' is unknown" in err and err.count('\n') == 1
  assert not (tmp_path / 'run' / 'config.json').exists()


# wandb.


def test_wandb_gets_the_options_and_keeps_its_run(tmp_path):
  pytest.importorskip('wandb')
  lines = []
  for step, options in (
    (0, {'log.to': 'wandb'}),
    (1, {'log.to': 'x', 'a.b': 2}),
  ):
    with Log(tmp_path, step, ['wandb'], options, lines.append) as log:
      write(log, [step + 1])
    time.sleep(1.1)  # wandb names a folder by the second in which it was made
  found, ids = wandb_file.config(tmp_path)
  state = json.loads((tmp_path / 'wandb_run.json').read_text())
  assert ids == {state['id']} and state['last'] == 2
  assert found.items() >= {'log.to': 'x', 'a.b': 2}.items()
  (line,) = set(lines)
  command = f'wandb sync {tmp_path}/wandb/offline-run-*-{state["id"]}'
  assert line.endswith(command)
  pattern = command.rpartition('/')[2]
  assert len(list((tmp_path / 'wandb').glob(pattern))) == 2
  # Training that starts again with other options is another run.
  with Log(tmp_path, 0, ['wandb'], {'seed': 4}, lines.append) as log:
    write(log, [1])
  assert len(wandb_file.config(tmp_path)[1]) == 2


def test_wandb_gets_the_exit_code(tmp_path):
  pytest.importorskip('wandb')
  with Log(tmp_path, 0, ['wandb']) as log:
    write(log, [1])
    log.code = 143
  with pytest.raises(RuntimeError), Log(tmp_path, 1, ['wandb']):
    raise RuntimeError
  codes = [
    record.exit.exit_code
    for run in wandb_file.runs(tmp_path)
    for record in run
    if record.WhichOneof('record_type') == 'exit'
  ]
  assert codes == [143, 1]


def test_wandb_without_a_login_is_one_line(tmp_path):
  """Runs in its own process, because wandb reads its variables once."""
  pytest.importorskip('wandb')
  code = 'from cyclegan_jax.training import loggers; loggers.check(["wandb"])'
  clean = {k: v for k, v in os.environ.items() if k != 'WANDB_MODE'}
  for extra, word in (
    ({}, 'not logged in'),
    ({'WANDB_MODE': 'x'}, 'not start'),
  ):
    ended = subprocess.run(
      [sys.executable, '-c', code],
      stdin=subprocess.DEVNULL,
      capture_output=True,
      text=True,
      env=clean | {'HOME': str(tmp_path), 'NETRC': str(tmp_path / 'x')} | extra,
      check=False,
    )
    last = ended.stderr.splitlines()[-1]
    assert 'UserError: log.to=wandb: ' in last and word in last
    assert 'wandb:' not in ended.stdout


def test_a_failure_of_wandb_is_a_warning(tmp_path, monkeypatch):
  wandb = pytest.importorskip('wandb')
  lines = []
  log = Log(tmp_path, 0, ['wandb'], {}, lines.append)

  def fail(*args, **keywords):
    raise ConnectionError('the service is gone')

  monkeypatch.setattr(wandb.Run, 'log', fail)
  write(log, [1, 2, 3])
  log.close()
  assert [x for x in lines if x.startswith('warning: ')] == [
    'warning: wandb: the service is gone: the training continues without it'
  ]
  assert len((tmp_path / 'metrics.jsonl').read_text().splitlines()) == 6


def test_an_unreachable_wandb_is_logged_offline(tmp_path, monkeypatch):
  wandb = pytest.importorskip('wandb')
  true, lines = wandb.init, []

  def init(mode=None, **keywords):
    if mode is None:
      raise wandb.errors.CommError('no network')
    return true(mode=mode, **keywords)

  monkeypatch.setattr(wandb, 'init', init)
  with Log(tmp_path, 0, ['wandb'], {}, lines.append) as log:
    write(log, [1])
  assert 'no network' in lines[0] and 'wandb sync' in lines[1]
  check('wandb', tmp_path, [1])


def test_wandb_files_of_a_bucket_are_temporary(tmp_path, monkeypatch):
  monkeypatch.setattr(wandb_logger.files, 'remote', lambda path: True)
  monkeypatch.setenv('TMPDIR', str(tmp_path))
  own = wandb_logger.files.own(tmp_path / 'run', 'wandb')
  assert own.parent != tmp_path / 'run'


def trained(workdir, pictures, **options):
  """Starts a process that trains and logs to wandb."""
  options = {
    'method': 'simgan',  # compiles quickly
    'directions': 'a2b',
    'log__to': 'wandb',
    'log__checkpoint_every': 2,
    'log__sample_every': 50,
  } | options
  argv = tiny.command('folder', workdir, pictures, **options)[1:]
  return subprocess.Popen(
    [sys.executable, '-m', 'cyclegan_jax.main', *argv],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    start_new_session=True,
    text=True,
    env={k: v for k, v in os.environ.items() if k != 'WANDB_SERVICE'}
    | tiny.compiled(),
  )


def until(child, words):
  """Reads the output of a process up to a line that contains the words."""
  lines = []
  for line in child.stdout:
    lines.append(line)
    if words in line:
      return
  raise AssertionError(''.join(lines))


def logged(workdir):
  """Reads {step: values without times} of wandb; no step is logged twice."""
  rows = wandb_file.history(workdir)
  assert len({step for step, _ in rows}) == len(rows)
  timed = ('_', 'seconds_', 'images_', 'input_', 'samples.path')
  return {
    step: {k: v for k, v in row.items() if not k.startswith(timed)}
    for step, row in rows
  }


LAST = 300
LONG = {'schedule__constant': LAST - 2, 'log__checkpoint_every': 20}


@pytest.fixture(scope='module')
def whole(pictures, tmp_path_factory):
  """Values that wandb has of an uninterrupted run."""
  pytest.importorskip('wandb')
  workdir = tmp_path_factory.mktemp('whole')
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('WANDB_MODE', 'offline')
    with trained(workdir, pictures, **LONG) as child:
      assert 'finished: ' in child.communicate()[0]
  rows = logged(workdir)
  assert list(rows) == list(range(1, LAST + 1))
  return rows


@pytest.mark.slow
@pytest.mark.parametrize('number', ['SIGTERM', 'SIGINT', 'SIGKILL'])
def test_a_resumed_run_is_one_run_of_wandb(number, whole, pictures, tmp_path):
  signum = signal.Signals[number]
  with trained(tmp_path, pictures, **LONG) as child:
    until(child, f'step 70/{LAST}')
    os.killpg(child.pid, signum)  # to the whole group, as a terminal does
    text = child.communicate()[0]
  killed = number == 'SIGKILL'
  assert child.returncode == (-signum if killed else 128 + signum)
  assert killed or 'stopped and saved' in text
  with trained(tmp_path, pictures, **LONG) as child:
    text = child.communicate()[0]
  assert child.returncode == 0 and 'finished: ' in text
  rows = logged(tmp_path)
  assert len(wandb_file.config(tmp_path)[1]) == 1
  assert rows == {step: whole[step] for step in rows}
  # A killed wandb may lose the last values.
  missing = whole.keys() - rows.keys()
  assert not missing or (killed and max(missing) < LAST / 2)
