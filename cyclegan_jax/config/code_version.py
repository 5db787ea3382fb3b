"""Which code runs: its version, and its commit in the project's repository."""

import os
import pathlib
import subprocess

import cyclegan_jax

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]


def facts():
  """{'version', 'git_commit'}, None for code outside the project's repository.

  The commit is followed by '+changes' if tracked files were changed.
  """
  return {'version': cyclegan_jax.__version__, 'git_commit': commit(_PACKAGE)}


def commit(package):
  """The commit of a package's code, or None.

  An installed package may lie below the root of another repository, in a
  virtual environment or among its files. That repository's commit says nothing
  of this code.

  Args:
    package: the folder of the package, a resolved path.
  """
  # Set by git for its hooks; they would stand for the folder's own repository.
  environment = {k: v for k, v in os.environ.items() if not _names_a_place(k)}

  def git(*args):
    return subprocess.run(
      ['git', '-C', package.parent, *args],
      capture_output=True,
      text=True,
      check=True,
      env=environment,
    ).stdout.strip()

  try:
    root = pathlib.Path(git('rev-parse', '--show-toplevel')).resolve()
    if root != package.parent or not _is_project(root):
      return None
    git('ls-files', '--error-unmatch', f'{package.name}/__init__.py')
    changes = git('status', '--porcelain', '--untracked-files=no')
    return git('rev-parse', 'HEAD') + ('+changes' if changes else '')
  except (OSError, subprocess.CalledProcessError):
    return None


def _names_a_place(variable):
  return variable in (
    'GIT_COMMON_DIR',
    'GIT_DIR',
    'GIT_INDEX_FILE',
    'GIT_OBJECT_DIRECTORY',
    'GIT_WORK_TREE',
  )


def _is_project(root):
  """Returns True for a folder with this project's settings of setuptools."""
  try:
    lines = (root / 'setup.cfg').read_text().splitlines()
  except OSError:
    return False
  return f'name = {_PACKAGE.name}' in lines
