"""Runs a program or a script where some packages cannot be imported.

python without.py NAME[,NAME...] MODULE_OR_FILE [ARGUMENT...]
"""

import importlib.abc
import os
import runpy
import sys


class Missing(importlib.abc.MetaPathFinder):
  """Finds nothing, but refuses what is below some packages."""

  def __init__(self, packages):
    self._packages = packages

  def find_spec(self, name, path=None, target=None):
    del path, target
    if name.partition('.')[0] in self._packages:
      raise ModuleNotFoundError(f'No module named {name!r}', name=name)


def main(argv):
  _, packages, program, *rest = argv
  sys.meta_path.insert(0, Missing(packages.split(',')))
  sys.argv = [program, *rest]
  if program.endswith('.py'):
    sys.path.insert(0, os.path.dirname(os.path.abspath(program)))
    runpy.run_path(program, run_name='__main__')
  else:
    runpy.run_module(program, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
  main(sys.argv)
