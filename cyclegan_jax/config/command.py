"""One command for all programs of this package:

    cyclegan-jax PROGRAM [FLAGS]

Each program is also a module: `cyclegan-jax translate` is the same as `python
-m cyclegan_jax.translate`, and `cyclegan-jax train` is the same as `python -m
cyclegan_jax.main`. `cyclegan-jax PROGRAM --help` lists the flags of a program.
`cyclegan-jax --version` prints the versions of cyclegan_jax and JAX. The exit
code is the program's, or 2 if there is no such program.
"""

import importlib
import os
import pathlib
import runpy
import sys

import cyclegan_jax
from cyclegan_jax.common.errors import lookup
from cyclegan_jax.config import program

_NO_PROGRAMS = ('__init__', '__main__', 'defaults')


def console():
  """Runs the program named by the first word of the command line.

  Without a program, prints the list of programs or the versions (`main`). Also
  answers a shell that asks for completions.

  Returns:
    The exit code. A program that runs ends the process itself, by SystemExit.
  """
  name = sys.argv[1].replace('_', '-') if sys.argv[1:] else ''
  if '_ARGCOMPLETE' in os.environ:
    _complete()
  if name in programs():
    return _run(module(name))
  return program.run(main)


def programs():
  """Returns {program: path of its module}, sorted by program.

  Programs are the modules at the root of the package, with dashes for
  underscores; main.py is the program `train`.
  """
  paths = {
    path.stem.replace('_', '-'): path
    for path in pathlib.Path(cyclegan_jax.__file__).parent.glob('*.py')
    if path.stem not in _NO_PROGRAMS
  }
  paths['train'] = paths.pop('main')
  return dict(sorted(paths.items()))


def module(name):
  """Returns the module of a program: 'cyclegan_jax.main' for 'train'."""
  return f'cyclegan_jax.{programs()[name].stem}'


def main(argv):
  """Prints the list of programs, or the versions for --version.

  Args:
    argv: the command line, command first.

  Raises:
    UserError: the first word is no program.
  """
  if argv[1:2] in ([], ['--help'], ['-h']):
    print(listing())
  elif argv[1] == '--version':
    print(_versions())
  else:
    lookup(programs(), argv[1], 'program')


def meanings():
  """Returns {program: the first line of its docstring, up to the colon}."""
  lines = {}
  for name, path in programs().items():
    with path.open() as file:
      lines[name] = file.readline().strip('"\n').partition(':')[0]
  return lines


def listing():
  """Returns the text of `cyclegan-jax --help`."""
  lines = [f'  {name:<14} {line}' for name, line in meanings().items()]
  return '\n'.join([__doc__.strip(), '', 'Programs:', *lines])


def _versions():
  # The version of JAX is read without importing JAX, which takes a second.
  from importlib import metadata

  return (
    f'cyclegan_jax {cyclegan_jax.__version__}, JAX {metadata.version("jax")}'
  )


def _run(name):
  """Runs a module like `python -m`; the module ends the process by SystemExit.

  As with `python -m`, a recipe card can import modules of the working
  directory.
  """
  del sys.argv[1]
  if not sys.flags.safe_path:
    sys.path.append(os.getcwd())
  runpy.run_module(name, run_name='__main__', alter_sys=True)


def _complete():
  from cyclegan_jax.config import completion

  completion.answer(meanings(), lambda x: importlib.import_module(module(x)))
