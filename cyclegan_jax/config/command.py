"""The programs of this package as one command:

    cyclegan-jax PROGRAM [FLAGS]

Each program is also a module: `cyclegan-jax translate` and `python -m
cyclegan_jax.translate` are the same, and so are `cyclegan-jax train` and
`python -m cyclegan_jax.main`. `cyclegan-jax PROGRAM --help` lists the flags of
a program, and --version prints the versions of cyclegan_jax and JAX. Exit
codes: those of the program, 2 for a program that does not exist.
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
  """Runs the program that the command line names; returns an exit code."""
  name = sys.argv[1].replace('_', '-') if sys.argv[1:] else ''
  if '_ARGCOMPLETE' in os.environ:
    _complete()
  if name in programs():
    return _run(module(name))
  return program.run(main)


def programs():
  """{program: path of its module}, sorted; the module of train is main."""
  paths = {
    path.stem.replace('_', '-'): path
    for path in pathlib.Path(cyclegan_jax.__file__).parent.glob('*.py')
    if path.stem not in _NO_PROGRAMS
  }
  paths['train'] = paths.pop('main')
  return dict(sorted(paths.items()))


def module(name):
  """The full name of a program's module."""
  return f'cyclegan_jax.{programs()[name].stem}'


def main(argv):
  """Prints what no program does: the list of them, and the versions."""
  if argv[1:2] in ([], ['--help'], ['-h']):
    print(listing())
  elif argv[1] == '--version':
    print(_versions())
  else:
    lookup(programs(), argv[1], 'program')


def meanings():
  """{program: the first line of its docstring, up to the colon}."""
  lines = {}
  for name, path in programs().items():
    with path.open() as file:
      lines[name] = file.readline().strip('"\n').partition(':')[0]
  return lines


def listing():
  """The text of --help."""
  lines = [f'  {name:<14} {line}' for name, line in meanings().items()]
  return '\n'.join([__doc__.strip(), '', 'Programs:', *lines])


def _versions():
  # Not by import, which takes a second.
  from importlib import metadata

  return (
    f'cyclegan_jax {cyclegan_jax.__version__}, JAX {metadata.version("jax")}'
  )


def _run(name):
  """Runs a module as `python -m` does: it ends by SystemExit.

  A recipe card may import what lies in the working directory.
  """
  del sys.argv[1]
  if not sys.flags.safe_path:
    sys.path.append(os.getcwd())
  runpy.run_module(name, run_name='__main__', alter_sys=True)


def _complete():
  from cyclegan_jax.config import completion

  completion.answer(meanings(), lambda x: importlib.import_module(module(x)))
