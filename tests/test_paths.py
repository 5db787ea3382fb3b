"""Tests of paths in flags and options: `~`, and absolute paths in records."""

import importlib
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tiny
from test_structure import ROOT

from cyclegan_jax import evaluate, main, report, translate
from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import paths, program
from cyclegan_jax.data import sources
from cyclegan_jax.defaults import OPTIONS, PATHS
from cyclegan_jax.inference import saved

COMMANDS = {
  path.stem: importlib.import_module(f'cyclegan_jax.{path.stem}')
  for path in sorted(ROOT.glob('*.py'))
  if "if __name__ == '__main__':" in path.read_text()
} | {'paper.pictures': importlib.import_module('cyclegan_jax.paper.pictures')}
# Placeholders of flags that are not paths.
NO_PATHS = {
  '',
  'a2b|b2a',
  'auto',
  'GIB',
  'HOST:PORT',
  'HxW',
  'I',
  'N',
  'NAME',
  'NAMES',
  'SECONDS',
  'START:COUNT',
  'X',
}
# Options that are texts without a default, but not paths.
NAMES = {
  'contrast.taps',
  'data.columns',
  'data.name',
  'data.splits',
  'evaluate.best',
}
WITH_CONFIG = set(COMMANDS) - {
  'export',
  'report',
  'share',
  'torch_weights',
  'translate',
}
WITH_WORKDIR = {'main'}  # the flag is declared by flags.parse_run


def flags_of(command):
  """Returns {flag: placeholder} of all flags of a command."""
  flags = {name: line[0] for name, line in COMMANDS[command].FLAGS.items()}
  if command in WITH_WORKDIR:
    flags['workdir'] = 'DIR'
  if command in WITH_CONFIG:
    flags['config'] = 'FILE'
  return flags


def path_flags():
  for command in COMMANDS:
    for name, kind in flags_of(command).items():
      if kind in paths.KINDS:
        yield command, name


PATH_FLAGS = list(path_flags())


def test_every_flag_says_if_it_is_a_path():
  assert {'main', 'translate', 'evaluate'} <= set(COMMANDS)
  for command in COMMANDS:
    for name, kind in flags_of(command).items():
      assert kind in NO_PATHS or kind in paths.KINDS, (command, name)


def test_every_option_says_if_it_is_a_path():
  texts = {key for key, option in OPTIONS.items() if option.default == ''}
  assert texts == NAMES | set(PATHS)


def one_line(command, argv, capsys):
  code = program.run(COMMANDS[command].main, [command, *argv])
  err = capsys.readouterr().err
  assert code == 2 and err.startswith('error: ') and err.count('\n') == 1, err
  return err


@pytest.mark.parametrize(('command', 'flag'), PATH_FLAGS, ids=lambda text: text)
def test_an_unknown_user_in_a_flag_is_one_line(command, flag, capsys):
  given = f'--{flag}=~nosuchuser/x'
  card = [f'--config={tiny.CONFIGS / "folder.py"}'] * (command in WITH_CONFIG)
  words = ['import'] if command == 'torch_weights' else []
  err = one_line(command, [*words, *card, given], capsys)
  assert f"{given}: no user 'nosuchuser' is known here" in err
  if flag == 'config':  # given as two words
    err = one_line(command, ['--config', '~nosuchuser/x'], capsys)
    assert '--config=~nosuchuser/x: no user' in err


@pytest.mark.parametrize('key', PATHS)
@pytest.mark.parametrize('command', sorted(WITH_CONFIG))
def test_an_unknown_user_in_an_option_is_one_line(command, key, capsys):
  given = f'--config.{key}=~nosuchuser/x'
  card = f'--config={tiny.CONFIGS / "folder.py"}'
  err = one_line(command, [card, given], capsys)
  assert f"{given}: no user 'nosuchuser' is known here" in err


@pytest.mark.parametrize(('command', 'flag'), PATH_FLAGS, ids=lambda text: text)
def test_a_tilde_in_a_flag_is_expanded(command, flag, monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path))
  if flag == 'config':
    words = paths.expand_card(['x', '--config=~/a.py', '--config', '~/b.py'])
    expected = [f'--config={tmp_path}/a.py', '--config', f'{tmp_path}/b.py']
    assert words[1:] == expected
    return
  table = COMMANDS[command].FLAGS | {'workdir': ('DIR', '', '')}
  values = {name: line[1] for name, line in table.items()} | {flag: '~/x'}
  assert paths.expand_flags(table, values)[flag] == f'{tmp_path}/x'


def test_only_a_leading_tilde_is_expanded(monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.chdir(tmp_path)
  assert files.place('~/a') == tmp_path / 'a' and files.place('~') == tmp_path
  assert files.place('~root/a') == pathlib.Path('~root').expanduser() / 'a'
  assert files.place('a/~b') == pathlib.Path('a/~b')
  pathlib.Path('~mine.png').touch()  # a file name, like an editor's backup
  assert files.place('~mine.png').is_file()
  with pytest.raises(UserError, match=r"'nobody_here' .*\./~nobody_here/a"):
    files.place('~nobody_here/a')
  monkeypatch.setattr(os.path, 'expanduser', lambda text: text)
  with pytest.raises(UserError, match='~/a: HOME is not set'):
    files.place('~/a')


def test_files_and_folders_are_not_confused(tmp_path, capsys, pictures):
  (tmp_path / 'file').touch()
  for flags, words in (
    ({'workdir': tmp_path / 'file'}, 'is a file: give a folder'),
    ({'workdir': tmp_path, 'output': tmp_path}, 'is a folder: give the name'),
  ):
    argv = [f'--{name}={value}' for name, value in flags.items()]
    assert words in one_line('report', argv, capsys)


@pytest.fixture
def home(tmp_path, monkeypatch, pictures):
  """Home folder with pictures, a recipe card and a model."""
  shutil.copytree(pictures, tmp_path / 'data')
  shutil.copy(tiny.CONFIGS / 'folder.py', tmp_path / 'card.py')
  tiny.save_model(tmp_path / 'model')
  monkeypatch.setenv('HOME', str(tmp_path))
  return tmp_path


def flags(**values):
  return [f'--{name}={value}' for name, value in values.items()]


@pytest.mark.slow
def test_all_programs_expand_a_tilde(home, capsys):
  argv = tiny.command('folder', '~/run', '~/data', init_from='~/model')
  argv[1] = '--config=~/card.py'
  assert program.run(main.main, argv) == 0
  config = json.loads((home / 'run' / 'config.json').read_text())
  assert config['data']['root'] == str(home / 'data')
  assert config['init_from'] == str(home / 'model')
  for command, values in (
    (evaluate, {'model': '~/run', 'output': '~/rows.json'}),
    (report, {'workdir': '~/run', 'output': '~/page.html'}),
    (
      translate,
      {
        'model': '~/run',
        'direction': 'a2b',
        'input': '~/data/testA/*.png',
        'output': '~/out',
      },
    ),
  ):
    assert program.run(command.main, ['program', *flags(**values)]) == 0
  for name in ('rows.json', 'page.html', 'out/0.png', 'out/1.png'):
    assert (home / name).is_file(), name


def test_a_dataset_in_the_home_folder_is_read(home):
  for name, source in sources.SOURCES.items():
    if name == 'folder':
      assert len(source('~/data', '').train['a']) == 5
  shutil.copytree(home / 'data' / 'trainA', home / 'pairs' / 'train')
  assert len(sources.SOURCES['aligned']('~/pairs', '').train['a']) == 5


def test_a_run_is_used_from_another_folder(home, monkeypatch, capsys):
  """The config.json of a run contains the absolute path of its pictures."""
  monkeypatch.chdir(home)
  argv = tiny.command('folder', 'run', 'data', init_from='model')
  options = ['--config.evaluate.every=1', '--config.evaluate.best=l1']
  assert program.run(main.main, argv + options) == 0
  for folder in ('run', 'run/best'):
    config = json.loads((home / folder / 'config.json').read_text())
    assert config['data']['root'] == str(home / 'data'), folder
    assert config['init_from'] == str(home / 'model'), folder
  (home / 'elsewhere').mkdir()
  monkeypatch.chdir(home / 'elsewhere')
  capsys.readouterr()
  for folder in ('../run', '../run/best'):
    argv = ['evaluate', f'--model={folder}', '--output=rows.json']
    assert program.run(evaluate.main, argv) == 0, capsys.readouterr().err
  assert program.run(report.main, ['report', '--workdir=../run']) == 0
  page = (home / 'run' / 'report' / 'index.html').read_text()
  assert 'No test pictures' not in page
  again = tiny.command('folder', '../run', '../data', init_from='../model')
  assert program.run(main.main, again + options) == 0
  assert 'finished' in capsys.readouterr().out
  # Earlier versions recorded relative paths.
  monkeypatch.chdir(home)
  path = home / 'run' / 'config.json'
  config = json.loads(path.read_text())
  config['data']['root'], config['init_from'] = 'data', 'model'
  path.write_text(json.dumps(config))
  argv = tiny.command('folder', 'run', 'data', init_from='model')
  assert program.run(main.main, argv + options) == 0
  assert json.loads(path.read_text())['init_from'] == str(home / 'model')
  tiny.save_model(home / 'other', seed=1)
  argv = tiny.command('folder', 'run', 'data', init_from='other')
  assert program.run(main.main, argv + options) == 2
  assert 'init_from was' in capsys.readouterr().err


def test_equal_paths_are_recognised(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'a').mkdir()
  (tmp_path / 'b').mkdir()
  (tmp_path / 'link').symlink_to('a')
  here = str(tmp_path)
  for old, new, expected in (
    ('a', f'{here}/a', True),
    ('a', 'link', True),
    ('a', 'b', False),
    ('a', '', False),
    ('', '', True),
    (f'{here}/moved/a', 'a', True),  # the whole project has moved
    (f'{here}/moved/b', 'a', False),
    ('gs://bucket/a', 'gs://bucket/a', True),
    ('gs://bucket/a', 'a', False),
  ):
    assert paths.same(old, new) is expected, (old, new)


def test_paths_are_recorded_as_absolute(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config = {'data': {'root': 'x'}, 'init_from': '', 'evaluate': {'every': 1}}
  made = paths.recorded(config)
  assert made['data']['root'] == str(tmp_path / 'x')
  assert made['init_from'] == '' and made['evaluate'] == {'every': 1}
  assert config['data']['root'] == 'x'
  address = {'data': {'root': 'gs://bucket/x'}}
  assert paths.recorded(address) == address


def test_a_saved_model_has_the_absolute_path_of_its_pictures(
  tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  tiny.save_model(tmp_path / 'm', data__root='x', data__source='folder')
  assert saved.load(tmp_path / 'm').config.data.root == str(tmp_path / 'x')
  assert np.isfinite(saved.load('m').checksum())
