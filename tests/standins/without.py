"""Runs a program or a script where some packages are not installed.

python without.py NAME[,NAME...] MODULE_OR_FILE [ARGUMENT...]
"""

import os
import runpy
import sys


def remove(packages):
  """Makes imports of packages fail, and `find_spec` return None for them."""
  sys.modules.update(dict.fromkeys(packages))


def main(argv):
  _, packages, program, *rest = argv
  remove(packages.split(','))
  sys.argv = [program, *rest]
  if program.endswith('.py'):
    sys.path.insert(0, os.path.dirname(os.path.abspath(program)))
    runpy.run_path(program, run_name='__main__')
  else:
    runpy.run_module(program, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
  main(sys.argv)
