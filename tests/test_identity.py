"""A run's folder: one process at a time, and only what it was begun with."""

import json
import multiprocessing
import os
import signal

import pytest
import tiny

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, identity
from cyclegan_jax.data.sources import folder
from cyclegan_jax.training.workdir import open_workdir

_FORK = multiprocessing.get_context('spawn')


def config(**overrides):
  return flags.parse(tiny.command('folder', 'x', **overrides), '')[0]


def begin(workdir, pictures, **overrides):
  """As a program does, in a folder that has a checkpoint."""
  identity.begin(workdir, config(**overrides), folder(pictures))
  (workdir / 'checkpoints' / '1').mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize(
  'overrides,named',
  [
    ({'optim__lr': 0.5}, 'optim.lr was 0.0002, is 0.5'),
    ({'seed': 1}, 'seed was 0, is 1'),
    ({'loss__cycle_a': 1.0}, 'loss.cycle_a was 10.0, is 1.0'),
    ({'train__batch_size': 2}, 'train.batch_size was 1, is 2'),
    ({'generator__width': 6}, 'generator.width was 4, is 6'),
    ({'schedule__name': 'cosine'}, "schedule.name was 'linear', is 'cosine'"),
  ],
)
def test_what_changes_the_training_is_refused(
  overrides, named, pictures, tmp_path
):
  begin(tmp_path, pictures)
  with pytest.raises(UserError) as error:
    begin(tmp_path, pictures, **overrides)
  assert named in str(error.value) and str(tmp_path) in str(error.value)
  begin(tmp_path, pictures)  # as before, and nothing was written over


@pytest.mark.parametrize(
  'overrides',
  [
    {'log__every': 7, 'log__keep': 9},
    {'schedule__constant': 9, 'schedule__decay': 9},
    {'parallel__devices': 4, 'data__threads': 3},
    {'train__steps_per_call': 2, 'generator__remat': 'all'},
    {'evaluate__every': 2, 'evaluate__best': 'l1'},
  ],
)
def test_what_does_not_may_change(overrides, pictures, tmp_path):
  begin(tmp_path, pictures)
  begin(tmp_path, pictures, **overrides)
  written = json.loads((tmp_path / 'config.json').read_text())
  (section, name), value = (
    (key.split('__'), value) for key, value in overrides.items()
  ).__next__()
  assert written[section][name] == value


def test_before_the_first_checkpoint_all_may_change(pictures, tmp_path):
  identity.begin(tmp_path, config(), folder(pictures))
  identity.begin(tmp_path, config(seed=1), folder(pictures))


def test_pictures_may_move_but_not_change(pictures, tmp_path):
  for name in ('here', 'there'):
    tiny.write_pictures(tmp_path / name)
  begin(tmp_path / 'run', tmp_path / 'here')
  begin(tmp_path / 'run', tmp_path / 'there')
  (tmp_path / 'there' / 'trainB' / '0.png').unlink()
  with pytest.raises(UserError, match='6 training pictures of B.*7 of before'):
    begin(tmp_path / 'run', tmp_path / 'there')


def test_a_run_of_an_older_version_is_refused(pictures, tmp_path):
  begin(tmp_path, pictures)
  (tmp_path / 'run.json').unlink()
  with pytest.raises(UserError, match='another version of cyclegan_jax'):
    begin(tmp_path, pictures)


def test_options_of_a_newer_version_count_as_their_defaults(pictures, tmp_path):
  begin(tmp_path, pictures)
  path = tmp_path / 'config.json'
  written = json.loads(path.read_text())
  del written['loss']['identity_b'], written['train']['ema_decay']
  path.write_text(json.dumps(written))
  begin(tmp_path, pictures)  # which writes all of them again
  assert json.loads(path.read_text())['loss']['identity_b'] == 5.0
  del written['loss']['cycle_a']
  path.write_text(json.dumps(written))
  with pytest.raises(UserError, match='loss.cycle_a was 10.0, is 1.0'):
    begin(tmp_path, pictures, loss__cycle_a=1.0)


def hold(workdir, opened):
  with open_workdir(workdir):
    opened.set()
    signal.pause()


def test_a_second_process_is_refused_and_a_dead_one_holds_nothing(tmp_path):
  opened = _FORK.Event()
  process = _FORK.Process(target=hold, args=(tmp_path / 'run', opened))
  process.start()
  try:
    assert opened.wait(60)
    with (
      pytest.raises(UserError, match=f'in use by process {process.pid} on'),
      open_workdir(tmp_path / 'run'),
    ):
      pass
  finally:
    os.kill(process.pid, signal.SIGKILL)
    process.join()
  with open_workdir(tmp_path / 'run'):
    assert str(os.getpid()) in (tmp_path / 'run' / 'lock').read_text()
