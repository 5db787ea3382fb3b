"""Version of the running code, and its commit in the project's repository."""

import os
import pathlib
import subprocess

import cyclegan_jax

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]


def facts():
  """Returns {'version', 'git_commit'} of the running code.

  'git_commit' is the hash, followed by '+changes' if tracked files differ from
  the commit. It is None if the code is not in the project's git repository.
  """
  return {'version': cyclegan_jax.__version__, 'git_commit': commit(_PACKAGE)}


def commit(package):
  """Returns the git commit of a package's code, or None.

  The hash is followed by '+changes' if tracked files differ from the commit.
  The result is None unless the package lies at the root of this project's
  repository and git tracks it. An installed package may lie inside the
  repository of another project, whose commit says nothing about this code.

  Args:
    package: folder of the package, a resolved `pathlib.Path`.
  """
  # git sets these variables for its hooks. They would replace the repository
  # that the folder itself belongs to.
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
  """Returns True for an environment variable that points git at a place."""
  return variable in (
    'GIT_COMMON_DIR',
    'GIT_DIR',
    'GIT_INDEX_FILE',
    'GIT_OBJECT_DIRECTORY',
    'GIT_WORK_TREE',
  )


def _is_project(root):
  """Returns True if the folder has a setup.cfg that names this package."""
  try:
    lines = (root / 'setup.cfg').read_text().splitlines()
  except OSError:
    return False
  return f'name = {_PACKAGE.name}' in lines
