"""Tests that a run folder serves one process and one configuration."""

import json
import multiprocessing
import os
import pathlib
import re
import shlex
import shutil
import signal

import pytest
import tiny

from cyclegan_jax import main
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, identity, program, run_name
from cyclegan_jax.data.sources import folder
from cyclegan_jax.training.workdir import open_workdir

_FORK = multiprocessing.get_context('spawn')
FORMATS = pathlib.Path(__file__).parent / 'formats'


def config(**overrides):
  return flags.parse(tiny.command('folder', 'x', **overrides), '')[0]


def begin(workdir, pictures, **overrides):
  """Starts or resumes a run in a folder with a checkpoint."""
  identity.begin(workdir, config(**overrides), folder(pictures))
  (workdir / 'checkpoints' / '1').mkdir(parents=True, exist_ok=True)


def spoil(path):
  """Changes the contents of a file, but not its size."""
  path.write_bytes(path.read_bytes()[::-1])


def contents(folder):
  files = (x for x in folder.rglob('*') if x.is_file() and x.name != 'lock')
  return {path: path.read_bytes() for path in files}


@pytest.fixture
def data(tmp_path):
  tiny.write_pictures(tmp_path / 'data')
  return tmp_path / 'data'


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
def test_options_that_change_the_training_are_refused(
  overrides, named, pictures, tmp_path
):
  begin(tmp_path, pictures)
  with pytest.raises(UserError) as error:
    begin(tmp_path, pictures, **overrides)
  assert named in str(error.value) and str(tmp_path) in str(error.value)
  begin(tmp_path, pictures)  # still resumes: nothing was overwritten


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
def test_other_options_may_change(overrides, pictures, tmp_path):
  begin(tmp_path, pictures)
  begin(tmp_path, pictures, **overrides)
  written = json.loads((tmp_path / 'config.json').read_text())
  (section, name), value = (
    (key.split('__'), value) for key, value in overrides.items()
  ).__next__()
  assert written[section][name] == value


def test_all_options_may_change_before_the_first_checkpoint(pictures, tmp_path):
  identity.begin(tmp_path, config(), folder(pictures))
  identity.begin(tmp_path, config(seed=1), folder(pictures))


def test_pictures_may_move_but_not_change(pictures, tmp_path):
  for name in ('here', 'there'):
    tiny.write_pictures(tmp_path / name)
  begin(tmp_path / 'run', tmp_path / 'here')
  begin(tmp_path / 'run', tmp_path / 'there')
  (tmp_path / 'there' / 'trainB' / '0.png').unlink()
  with pytest.raises(UserError, match='6 training pictures of B.*7 of the run'):
    begin(tmp_path / 'run', tmp_path / 'there')


def test_changed_contents_of_pictures_are_refused(data, tmp_path):
  run = tmp_path / 'run'
  begin(run, data)
  spoil(data / 'trainA' / '3.png')
  before = contents(run)
  with pytest.raises(UserError) as error:
    begin(run, data)
  assert (
    'a run with other pictures (the 5 training pictures of A differ from the 5 '
    'of the run, trainA/3.png has changed contents): use those of the run, or '
    f'start a new run from its weights with --config.init_from={run} '
    f'--workdir={run}_2'
  ) in str(error.value)
  assert contents(run) == before
  spoil(data / 'trainA' / '3.png')  # restores the contents
  (data / 'trainA' / 'sub').mkdir()
  (data / 'trainA' / '4.png').rename(data / 'trainA' / 'sub' / '4.png')
  with pytest.raises(UserError, match='trainA/4.png is missing'):
    begin(run, data)


def test_changed_pictures_are_found_without_pictures_json(data, tmp_path):
  begin(tmp_path / 'run', data)
  (tmp_path / 'run' / 'pictures.json').unlink()
  begin(tmp_path / 'run', data)
  (tmp_path / 'run' / 'pictures.json').write_text('{')
  spoil(data / 'trainB' / '0.png')
  with pytest.raises(UserError, match='B differ from the 7 of the run[)]'):
    begin(tmp_path / 'run', data)


def test_an_older_run_gains_the_missing_records(data, tmp_path):
  run = tmp_path / 'run'
  begin(run, data)
  new = json.loads((run / 'run.json').read_text())
  old = json.loads((FORMATS / 'run_1' / 'run.json').read_text())
  (run / 'pictures.json').unlink()
  (run / 'run.json').write_text(json.dumps(old))
  begin(run, data)
  assert json.loads((run / 'run.json').read_text()) == new
  (run / 'run.json').write_text(json.dumps(old))
  (data / 'trainA' / '0.png').rename(data / 'trainA' / '00.png')
  with pytest.raises(UserError, match='A differ from the 5 of the run'):
    begin(run, data)


def test_changed_test_pictures_are_evaluated_again(data, tmp_path, capsys):
  run = tmp_path / 'run'
  begin(run, data)
  (run / 'best').mkdir()
  kept = run / 'best' / 'evaluation.json'
  for changed, words in (
    (None, ''),
    ('testB/1.png', 'testB/1.png has changed contents'),
    ('testA', 'testA is missing'),
  ):
    (run / 'test_metrics.json').write_text('[]')
    kept.write_text(json.dumps({'best': 'l1', 'value': 0.5, 'step': 1}))
    if changed == 'testA':
      shutil.rmtree(data / changed)
    elif changed:
      spoil(data / changed)
    begin(run, data)
    out = capsys.readouterr().out
    assert words in out and ('note: the test pictures' in out) == bool(words)
    assert (run / 'test_metrics.json').exists() == (not words)
    content = json.loads(kept.read_text())
    assert content['value'] == 0.5
    assert (content['best'] == 'l1') == (not words)
    assert identity.other_tests(run, folder(data)) == ''
  spoil(data / 'testB' / '0.png')
  assert identity.other_tests(run, folder(data)).startswith('testB/0.png has')
  assert identity.other_tests(tmp_path / 'nowhere', folder(data)) == ''


def test_a_picture_that_stopped_the_run_may_be_repaired(data, tmp_path):
  run, source = tmp_path / 'run', folder(data)
  begin(run, data)
  name = source.train['a'][2].name
  for text in (f'{name}: cannot be read', 'the disk is full'):
    with pytest.raises(UserError), identity.unusable_noted(run, source):
      raise UserError(text)
  (data / 'trainA' / '2.png').write_bytes(
    (data / 'trainA' / '1.png').read_bytes() + b'mended'
  )
  begin(run, data)
  spoil(data / 'trainA' / '2.png')
  with pytest.raises(UserError, match='trainA/2.png has changed contents'):
    begin(run, data)


@pytest.mark.parametrize(
  'overrides, advice',
  [
    ({'data__flip': False}, '--config.init_from={0} --workdir={0}_3'),
    (
      {'generator__width': 6},
      'as its networks are different, with --workdir={0}_3',
    ),
    ({'init_from': 'x'}, 'start a new run with --workdir={0}_3'),
  ],
)
def test_a_refusal_advises_how_to_continue(overrides, advice, data, tmp_path):
  run = tmp_path / 'run'
  begin(run, data)
  (tmp_path / 'run_2').mkdir()
  with pytest.raises(UserError) as error:
    begin(run, data, **overrides)
  assert str(error.value).endswith(advice.format(run))


@pytest.mark.slow
def test_the_advice_of_a_refusal_works(data, tmp_path, capsys):
  run = tmp_path / 'a run'
  shutil.copytree(FORMATS / 'run_1', run)
  before = contents(run)
  spoil(data / 'testA' / '1.png')
  tiny.write_pictures(tmp_path / 'more', train=(6, 7))
  options = {'generator__width': 2, 'train__ema_decay': 0.9, 'optim__lr': 0.01}
  options |= {'schedule__constant': 1, 'schedule__decay': 0}
  argv = tiny.command('folder', run, tmp_path / 'more', **options)
  assert program.run(main.main, argv) == 2
  error = capsys.readouterr().err
  assert 'optim.lr was 0.0002, is 0.01' in error
  assert '6 training pictures of A differ from the 5 of the run' in error
  assert contents(run) == before
  found = re.search(r'--config\.init_from=.*$', error.strip()).group()
  assert program.run(main.main, [*argv, *shlex.split(found)]) == 0
  out = capsys.readouterr().out
  assert 'init_from: took disc/a, disc/b, gen/a2b, gen/b2a\n' in out
  assert f'finished: all 1 steps are done, in {run}_2' in out


@pytest.mark.slow
def test_a_finished_run_evaluates_changed_test_pictures(data, tmp_path, capsys):
  argv = tiny.command('folder', tmp_path / 'run', data, schedule__constant=0)
  tables = []
  for _ in range(2):
    assert program.run(main.main, argv) == 0
    tables.append((tmp_path / 'run' / 'test_metrics.json').read_text())
    spoiled = tiny.pixels(data / 'testB' / '1.png')[::-1]
    tiny.Image.fromarray(spoiled).save(data / 'testB' / '1.png')
  assert tables[0] != tables[1]
  assert 'the test pictures have changed' in capsys.readouterr().out


def test_the_default_run_folder_contains_the_name_of_data_root(
  tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)

  def default(card, *overrides):
    argv = ['main', f'--config={tiny.CONFIGS / card}.py', *overrides]
    return str(flags.parse(argv, '')[1])

  root = '--config.data.root='
  assert default('folder') == 'runs/folder'
  assert default('folder', f'{root}x/cats') == 'runs/folder_cats'
  assert default('folder', f'{root}.') == f'runs/folder_{tmp_path.name[:60]}'
  assert default('folder', f'{root}/') == 'runs/folder'
  assert len(default('folder', f'{root}{"x" * 250}')) < 100
  assert default('facades_pix2pix', f'{root}x/facades') == (
    'runs/facades_pix2pix'
  )
  assert default('facades_pix2pix', f'{root}x/night') == (
    'runs/facades_pix2pix_night'
  )
  assert default('horse2zebra', f'{root}x/tfds') == 'runs/horse2zebra'
  # An older run of the given pictures keeps its folder.
  config_file = tmp_path / 'runs' / 'folder' / 'config.json'
  config_file.parent.mkdir(parents=True)
  config_file.write_text(json.dumps({'data': {'root': 'x/cats'}}))
  assert default('folder', f'{root}x/cats') == 'runs/folder'
  assert default('folder', f'{root}x/dogs') == 'runs/folder_dogs'
  card = pathlib.Path('folder.py')
  assert run_name.name(card, config(data__root='x/cats')) == 'folder_cats'


def test_a_run_of_an_older_version_is_refused(pictures, tmp_path):
  begin(tmp_path, pictures)
  (tmp_path / 'run.json').unlink()
  with pytest.raises(UserError, match='incompatible version of cyclegan_jax'):
    begin(tmp_path, pictures)


def test_options_of_a_newer_version_count_as_their_defaults(pictures, tmp_path):
  begin(tmp_path, pictures)
  path = tmp_path / 'config.json'
  written = json.loads(path.read_text())
  del written['loss']['identity_b'], written['train']['ema_decay']
  path.write_text(json.dumps(written))
  begin(tmp_path, pictures)  # which writes all options again
  assert json.loads(path.read_text())['loss']['identity_b'] == 5.0
  del written['loss']['cycle_a']
  path.write_text(json.dumps(written))
  with pytest.raises(UserError, match='loss.cycle_a was 10.0, is 1.0'):
    begin(tmp_path, pictures, loss__cycle_a=1.0)


def hold(workdir, opened):
  with open_workdir(workdir):
    opened.set()
    signal.pause()


def test_a_run_folder_is_locked_until_its_process_ends(tmp_path):
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
