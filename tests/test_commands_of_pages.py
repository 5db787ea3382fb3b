"""Runs every command and example of the documentation in a short form.

The pages' commands name `datasets/NAME`, `photos`, `photo.png`, `runs/NAME`,
`models/NAME` and `checkpoints/NAME`; here they run in a folder that has these.
Added options reduce training to a few small steps. A command with special
requirements states them on its page, as in `# needs: a GPU`; for such a command
only the existence of its program, flags and options is checked.
"""

import contextlib
import glob
import importlib
import io
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import tiny
from PIL import Image
from test_structure import ROOT

from cyclegan_jax import torch_weights
from cyclegan_jax.config import command, flags, program
from cyclegan_jax.config.options import flatten
from cyclegan_jax.config.unused import unused

REPOSITORY = ROOT.parent
PAGES = [
  *(REPOSITORY / x for x in ('README.md', 'CONTRIBUTING.md')),
  REPOSITORY / 'launch' / 'README.md',
  *sorted((REPOSITORY / 'docs').glob('**/*.md')),
]
BLOCK = re.compile(r'^```(bash|python)\n(.*?)^```', re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r'^    (python|cyclegan-jax|pip|make|launch/)', re.M)
NEED = re.compile(r'# needs: (.+)')
NEEDS = {
  'a GPU',
  'a TPU',
  'a bucket',
  'a cluster',
  'a download of weights',
  'a login at wandb',
  'an account on the Hub',
  'Docker',
  'minutes',
  'PyTorch',
  'the internet',
}
# Programs of other projects; their commands are not run.
OTHERS = {
  '.',
  'apt',
  'cd',
  'docker',
  'eval',
  'export',
  'gcloud',
  'git',
  'hf',
  'kubectl',
  'npm',
  'sbatch',
  'scancel',
  'sky',
  'source',
  'srun',
  'ssh',
  'ssh-add',
  'tensorboard',
  'wandb',
}
SHORT = {
  key: value
  for key, value in tiny.OVERRIDES.items()
  if not key.startswith('log.')
} | {'contrast.taps': '', 'log.sample_every': 0, 'log.samples': 2}


_trained = set()  # arguments of trainings that ran: pages repeat some


class Command(NamedTuple):
  """Command or example of a page.

  Attributes:
    text: text on the page, with continued lines joined.
    kind: 'bash' or 'python'.
    needs: words after `# needs:`, or ''.
  """

  text: str
  kind: str
  needs: str


def commands(text):
  """Yields each `Command` of a page."""
  for kind, block in BLOCK.findall(text):
    first, _, rest = block.partition('\n')
    whole = NEED.fullmatch(first.strip())
    needs = whole[1].strip() if whole else ''
    if kind == 'python':
      yield Command(block, kind, needs)
      continue
    for line in (rest if whole else block).replace('\\\n', ' ').splitlines():
      own = NEED.search(line)
      if words(line):
        yield Command(line, kind, own[1].strip() if own else needs)


def words(line):
  """Returns the words of a line as a shell reads them, without variables.

  Patterns are replaced by the matching files, as in a shell, but here also
  inside quotes.
  """
  found = shlex.split(line, comments=True)
  while found and re.match(r'\w+=', found[0]):
    found.pop(0)
  return [x for word in found for x in sorted(glob.glob(word)) or [word]]


def of_program(command_words):
  """Returns (program, arguments) of a command of the package, or None."""
  match command_words:
    case ['python', '-m', name, *rest] if name.startswith('cyclegan_jax.'):
      return name.removeprefix('cyclegan_jax.'), rest
    case ['cyclegan-jax', name, *rest] if not name.startswith('-'):
      return command.module(name).rpartition('.')[2], rest
  return None


def named(path):
  """Returns the name of a page in the names of tests."""
  return path.relative_to(REPOSITORY).as_posix()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """Folder with the files that the commands of the pages name."""
  folder = tmp_path_factory.mktemp('pages')
  tiny.write_pictures(folder / 'datasets' / 'NAME', train=(6, 6))
  rng = np.random.default_rng(1)
  (folder / 'photos').mkdir()
  for path in ('photo.png', 'photos/1.png', 'photos/2.jpg'):
    pixels = rng.integers(0, 256, (20, 28, 3), np.uint8)
    Image.fromarray(pixels).save(folder / path)
  argv = tiny.command(
    'folder', folder / 'runs' / 'NAME', folder / 'datasets' / 'NAME'
  )
  run('main', argv[1:])
  tiny.save_model(folder / 'models' / 'NAME')
  code = torch_weights.main(
    [
      'torch_weights',
      'export',
      f'--model={folder / "models" / "NAME"}',
      f'--output={folder / "checkpoints" / "NAME"}',
    ]
  )
  assert not code
  return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
  """Copies the `trained` folder and the repository's, and works in the copy."""
  folder = tmp_path / 'here'
  shutil.copytree(trained, folder, symlinks=True)
  for name in ('configs', 'launch', 'tests', 'benchmarks', 'setup.cfg'):
    (folder / name).symlink_to(REPOSITORY / name)
  monkeypatch.chdir(folder)
  return folder


def run(name, arguments):
  """Runs a program of the package in this process.

  Raises:
    AssertionError: the exit code is not 0; the error has the printed lines.
  """
  said = io.StringIO()
  module = importlib.import_module(f'cyclegan_jax.{name}')
  with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
    try:
      code = program.run(module.main, [name, *arguments])
    except SystemExit as e:
      code = e.code
  assert not code, f'{name} {arguments}: {said.getvalue()[-2000:]}'


def short(arguments, number):
  """Returns the arguments of a small training in its own run folder.

  Args:
    arguments: arguments on the page.
    number: index of the command on the page, which names the run folder.
  """
  arguments = [x for x in arguments if not x.startswith('--workdir=')]
  plain = [x for x in arguments if x.startswith('--config')]
  given = flatten(flags.parse(['main', *plain], '')[0].to_dict())
  idle = unused(given | SHORT)
  return [
    *arguments,
    *(f'--config.{key}={x}' for key, x in SHORT.items() if key not in idle),
    f'--workdir=runs/new_{number}',
  ]


def check_flags(name, arguments):
  """Checks that the flags of a command that is not run exist."""
  said = io.StringIO()
  module = importlib.import_module(f'cyclegan_jax.{name}')
  with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
    module.main([name, '--help'])
  for argument in arguments:
    flag = argument.partition('=')[0]
    if flag.startswith('--') and not flag.startswith('--config.'):
      known = re.search(rf'{flag}(?![\w-])', said.getvalue())
      assert known, f'{name} has no {flag}'


def check_installed(command_words):
  """Checks that the extras, files or targets of pip and make commands exist."""
  text = (REPOSITORY / 'setup.cfg').read_text()
  for extra in re.findall(r'\[([\w,]+)\]', ' '.join(command_words)):
    for name in extra.split(','):
      assert re.search(rf'^{name} =$', text, re.MULTILINE), name
  if command_words[0] == 'make':
    makefile = (REPOSITORY / 'Makefile').read_text()
    for target in command_words[1:]:
      assert '=' in target or f'\n{target}:' in makefile, target


def try_command(one, number):
  """Runs a `Command`, or only checks it if its needs are not met."""
  if one.kind == 'python':
    exec(compile(one.text, f'example {number}', 'exec'), {'__name__': 'page'})
    return
  line = words(one.text)
  ours = of_program(line)
  if ours and one.needs:
    check_flags(*ours)
  elif ours:
    name, arguments = ours
    if name != 'main':
      run(name, arguments)
    elif (key := tuple(arguments)) not in _trained:
      run(name, short(arguments, number))
      _trained.add(key)
  elif line[0] in ('pip', 'make'):
    check_installed(line)
  elif not one.needs and line[0] not in OTHERS:
    environment = os.environ | {
      'PATH': f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}',
      'PYTHONPATH': str(REPOSITORY),
    }
    done = subprocess.run(
      ['bash', '-c', one.text],
      env=environment,
      capture_output=True,
      text=True,
      timeout=600,
    )
    assert done.returncode == 0, one.text + done.stdout + done.stderr


@pytest.mark.parametrize('page', tiny.plain_first(PAGES, PAGES[0]), ids=named)
def test_the_commands_of_a_page_run(page, here):
  for number, one in enumerate(commands(page.read_text())):
    if one.kind == 'bash' or not one.needs:
      try_command(one, number)


@pytest.mark.parametrize('page', PAGES, ids=named)
def test_commands_are_in_fenced_blocks_with_valid_needs(page):
  text = page.read_text()
  assert not INDENTED.search(text), 'fence commands by ```bash'
  for one in commands(text):
    needs = one.needs
    assert needs in NEEDS | {''} or re.fullmatch(r'[\w/.-]+\.\w+', needs), needs


def test_a_command_with_a_wrong_flag_is_found(here):
  wrong = Command(
    'python -m cyclegan_jax.report --workdirs=runs/NAME', 'bash', ''
  )
  with pytest.raises(AssertionError, match='workdirs'):
    try_command(wrong, 0)
  with pytest.raises(AssertionError, match='workdirs'):
    try_command(wrong._replace(needs='a GPU'), 0)
  short_of_one = Command(
    'cyclegan-jax report --work=runs/NAME', 'bash', 'a GPU'
  )
  with pytest.raises(AssertionError, match='has no --work'):
    try_command(short_of_one, 0)
