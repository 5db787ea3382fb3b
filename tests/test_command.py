"""Tests of the command `cyclegan-jax` and of its shell completion."""

import ast
import importlib
import os
import shutil
import subprocess
import sys

import pytest
import tiny
from test_structure import ROOT

import cyclegan_jax
from cyclegan_jax import nets
from cyclegan_jax.config import cards, command
from cyclegan_jax.defaults import OPTIONS, PATHS
from cyclegan_jax.methods import METHODS
from cyclegan_jax.methods.losses import ADVERSARIAL_LOSSES

PROGRAMS = sorted(command.programs())
# Script that pip writes for the entry point.
SCRIPT = """
import sys
from cyclegan_jax.config.command import console
if __name__ == '__main__':
  sys.exit(console())
"""


@pytest.fixture
def call(monkeypatch, capsys):
  """Returns a function that runs the command: (exit code, output, errors)."""

  def run(*words):
    for name in PROGRAMS:  # as in a new process
      monkeypatch.delitem(sys.modules, command.module(name), raising=False)
    monkeypatch.setattr(sys, 'argv', ['cyclegan-jax', *map(str, words)])
    monkeypatch.setattr(sys, 'path', [*sys.path])
    # Otherwise the program would restart this process.
    monkeypatch.setenv('GLIBC_TUNABLES', '')
    try:
      code = command.console()
    except SystemExit as e:
      code = e.code
    return code, *capsys.readouterr()

  return run


def process(*words, **more):
  done = subprocess.run(
    [sys.executable, *map(str, words)], capture_output=True, text=True, **more
  )
  return done.returncode, done.stdout, done.stderr


def test_every_program_file_is_found():
  ends = 'sys.exit(program.run(main))\n'
  files = {p.stem for p in ROOT.glob('*.py') if p.read_text().endswith(ends)}
  modules = {command.module(name) for name in PROGRAMS}
  assert modules == {f'cyclegan_jax.{stem}' for stem in files}
  assert {'train', 'translate', 'check-data'} <= set(PROGRAMS)


@pytest.mark.parametrize('words', [[], ['--help'], ['-h']])
def test_the_programs_are_listed_with_their_meaning(words, call):
  code, out, err = call(*words)
  assert (code, err) == (0, '')
  listed = out.partition('Programs:\n')[2].splitlines()
  for line, (name, path) in zip(
    listed, command.programs().items(), strict=True
  ):
    meaning = ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
    assert line.split()[0] == name
    assert meaning.startswith(line.removeprefix(f'  {name}').strip())
    assert len(line.split()) > 2


def test_the_version_flag_prints_versions(call):
  import jax

  known = f'cyclegan_jax {cyclegan_jax.__version__}, JAX {jax.__version__}\n'
  assert call('--version') == (0, known, '')


@pytest.mark.parametrize(
  'word,hint', [('trian', "did you mean 'train'? "), ('defaults', '')]
)
def test_an_unknown_program_lists_the_programs(word, hint, call):
  listed = ', '.join(PROGRAMS)
  line = f'error: program={word!r} is unknown: {hint}choose from {listed}\n'
  assert call(word) == (2, '', line)


@pytest.mark.parametrize('program', PROGRAMS)
def test_help_of_a_program_is_the_help_of_its_module(program, call, capsys):
  module = importlib.import_module(command.module(program))
  with pytest.raises(SystemExit):
    module.main(['', '--help'])
  text = capsys.readouterr().out
  assert module.__doc__.splitlines()[0] in text
  assert call(program, '--help') == (0, text, '')
  assert call(program.replace('-', '_'), '--help') == (0, text, '')


def test_the_command_trains_and_refuses_unknown_flags(pictures, tmp_path, call):
  small = {'method': 'simgan', 'directions': 'a2b'}
  argv = tiny.command('folder', tmp_path / 'run', pictures, **small)
  code, out, err = call('train', *argv[1:])
  assert (code, err) == (0, '') and 'finished: all 4 steps' in out
  code, out, err = call('report', f'--workdir={tmp_path / "run"}', '--nosuch')
  assert (code, out) == (2, '') and "'nosuch'" in err


def test_the_command_behaves_like_python_m(tmp_path):
  """Compares arguments, exit codes, messages, memory pages and card imports.

  Training restarts its process with the same arguments.
  """
  code = 'import os\npages = os.environ["GLIBC_TUNABLES"]\n'
  (tmp_path / 'beside.py').write_text(code)
  card = 'import beside\nfrom cyclegan_jax.defaults import get_config\n'
  (tmp_path / 'a card.py').write_text(f'{card}print(beside.pages)\n')
  script = tmp_path / 'bin' / 'cyclegan-jax'
  script.parent.mkdir()
  script.write_text(SCRIPT)
  env = {k: x for k, x in os.environ.items() if k != 'GLIBC_TUNABLES'}
  words = '--config=a card.py', '--config.data.sorce=folder'
  starts = [script, 'train'], ['-m', 'cyclegan_jax', 'train']
  wanted = process('-m', 'cyclegan_jax.main', *words, cwd=tmp_path, env=env)
  assert wanted[0] == 2 and 'did you mean --config.data.source' in wanted[2]
  assert sys.platform != 'linux' or wanted[1] == 'glibc.malloc.hugetlb=1\n'
  for start in starts:
    assert process(*start, *words, cwd=tmp_path, env=env) == wanted


def test_nothing_heavy_is_loaded_before_the_program_is_chosen():
  code = """
    import sys
    from cyclegan_jax.config import command, completion
    for words in [['--help'], ['--version'], ['nosuch']]:
      sys.argv[1:] = words
      command.console()
    for words, word in [([], 't'), (['train'], '--config=s')]:
      assert completion.complete(command.meanings(), None, words, word)
    heavy = {'flax', 'jax', 'ml_collections', 'numpy', 'tensorflow'}
    print(*heavy & set(sys.modules))
  """
  pytest.importorskip('argcomplete')
  code = '\n'.join(line[4:] for line in code.splitlines())
  code, out, err = process('-c', code)
  assert (code, out.splitlines()[-1]) == (0, ''), err


def completed(*words):
  """Returns the completions of the last word, in the order of --help."""
  completion = pytest.importorskip('cyclegan_jax.config.completion')
  found = completion.complete(
    command.meanings(),
    lambda name: importlib.import_module(command.module(name)),
    list(words[:-1]),
    words[-1],
  )
  return [x for x in found if x.startswith(words[-1])]


def test_programs_are_completed():
  assert completed('') == [*PROGRAMS, '--help', '--version']
  assert completed('tr') == ['train', 'translate']
  assert completed('nosuch', '--') == []


@pytest.mark.parametrize('program', PROGRAMS)
def test_all_flags_of_a_program_are_completed(program):
  module = importlib.import_module(command.module(program))
  found = completed(program.replace('-', '_'), '--')
  for name, (_, default, _) in module.FLAGS.items():
    assert f'--{name}{"=" * (default is not False)}' in found
  assert '--help' in found
  options = [f'--config.{key}=' for key in OPTIONS]
  assert completed(program, '--config.') in ([], options)
  assert ('--config.' in found) == bool(completed(program, '--config.'))


def test_recipe_cards_are_completed():
  names = [x for x in cards.names() if x.startswith('sat')]
  assert len(names) > 1
  assert completed('train', '--config=sat') == [f'--config={x}' for x in names]
  assert completed('train', '--config', 'sat') == names
  assert completed('train', '--config') == ['--config=', '--config.']


def test_options_are_completed():
  assert completed('train', '--config.train.b') == [
    '--config.train.batch_size='
  ]
  assert '--config.train.batch_size=' not in completed('translate', '--')


@pytest.mark.parametrize(
  'option,table',
  [
    ('method', METHODS),
    ('generator.name', nets.GENERATORS),
    ('discriminator.name', nets.DISCRIMINATORS),
    ('loss.adversarial_loss', ADVERSARIAL_LOSSES),
    ('data.flip', ['True', 'False']),
    ('generator.upsampling', ['transpose', 'resize', 'blur']),
    ('train.batch_size', []),
  ],
)
def test_choices_are_completed(option, table):
  flag = f'--config.{option}'
  found = completed('train', f'{flag}=')
  assert sorted(found) == sorted(f'{flag}={x}' for x in table)
  assert sorted(completed('train', flag, '')) == sorted(table)


def test_values_of_flags_are_completed():
  assert completed('translate', '--direction=b') == ['--direction=b2a']
  assert completed('translate', '--tile', '--ov') == ['--overwrite']
  assert completed('torch-weights', 'ex') == ['export']
  assert completed('translate', '--nosuch=') == []


@pytest.mark.skipif(not shutil.which('bash'), reason='bash lists the files')
def test_paths_are_completed(tmp_path, monkeypatch):
  (tmp_path / 'folder').mkdir()
  (tmp_path / 'file.pth').touch()
  (tmp_path / 'file.py').touch()
  monkeypatch.chdir(tmp_path)
  both = ['file.pth', 'file.py', 'folder/']
  for option in PATHS:
    flag = f'--config.{option}='
    assert sorted(completed('train', f'{flag}f')) == [flag + x for x in both]
  assert sorted(completed('translate', '--model', 'f')) == both
  assert completed('train', '--workdir=f') == ['--workdir=folder/']
  assert sorted(completed('torch-weights', 'import', 'f')) == both
  found = set(completed('train', '--config', 'f')) - set(cards.names())
  assert found == {'file.py', 'folder/'}


ASK = """
eval "$(register-python-argcomplete cyclegan-jax)"
COMP_POINT=${#COMP_LINE} COMP_TYPE=9
_python_argcomplete cyclegan-jax
echo "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
  'line,found',
  [
    ('cyclegan-jax tr', 'train translate'),
    ('cyclegan-jax translate --ov', '--overwrite'),
    (
      'cyclegan-jax train --config=satellite2map_e',
      'satellite2map_experiments',
    ),
    ('cyclegan-jax train --config.train.b', '--config.train.batch_size='),
  ],
)
def test_a_shell_completes_words(line, found, tmp_path):
  pytest.importorskip('argcomplete')
  if not shutil.which('bash'):
    pytest.skip('no bash')
  script = tmp_path / 'cyclegan-jax'
  script.write_text(f'#!{sys.executable}{SCRIPT}')
  script.chmod(0o755)
  folders = tmp_path, os.path.dirname(sys.executable), os.environ['PATH']
  env = os.environ | {
    'PATH': os.pathsep.join(map(str, folders)),
    'COMP_LINE': line,
  }
  done = subprocess.run(
    ['bash', '-c', ASK], env=env, capture_output=True, text=True
  )
  assert done.stdout.split() == found.split(), done.stderr
