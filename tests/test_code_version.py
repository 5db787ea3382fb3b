"""Tests that a run records a commit of this project only."""

import pathlib
import subprocess

import pytest

import cyclegan_jax
from cyclegan_jax.config import code_version


def git(folder, *words):
  user = ('-c', 'user.name=x', '-c', 'user.email=x@x')
  return subprocess.run(
    ['git', *user, '-C', folder, *words],
    capture_output=True,
    text=True,
    check=True,
  ).stdout.strip()


@pytest.fixture
def repository(tmp_path):
  """Repository like this project's, with its package in cyclegan_jax/."""
  package = tmp_path / 'project' / 'cyclegan_jax'
  package.mkdir(parents=True)
  (package / '__init__.py').write_text('')
  settings = '[metadata]\nname = cyclegan_jax\n'
  (package.parent / 'setup.cfg').write_text(settings)
  git(package.parent, 'init', '-q')
  git(package.parent, 'add', '.')
  git(package.parent, 'commit', '-qm', 'all')
  return package.parent


def test_the_commit_of_the_project_is_found(repository):
  head = git(repository, 'rev-parse', 'HEAD')
  package = repository / 'cyclegan_jax'
  assert code_version.commit(package) == head
  (package / 'untracked.py').touch()
  assert code_version.commit(package) == head
  (package / '__init__.py').write_text('changed')
  assert code_version.commit(package) == f'{head}+changes'


@pytest.mark.parametrize(
  'place', ['.venv/lib/python3.11/site-packages', 'third_party', '.']
)
@pytest.mark.parametrize('tracked', [False, True])
def test_commits_of_other_repositories_are_not_recorded(
  place, tracked, tmp_path
):
  theirs = tmp_path / 'theirs'
  package = theirs / place / 'cyclegan_jax'
  package.mkdir(parents=True)
  (package / '__init__.py').touch()
  (theirs / 'setup.cfg').write_text('[metadata]\nname = theirs\n')
  git(theirs, 'init', '-q')
  git(theirs, 'add', '.' if tracked else 'setup.cfg')
  git(theirs, 'commit', '-qm', 'all')
  assert code_version.commit(package.resolve()) is None


def test_an_untracked_package_has_no_commit(repository):
  other = repository / 'other' / 'cyclegan_jax'
  other.mkdir(parents=True)
  (other / '__init__.py').touch()
  assert code_version.commit(other) is None
  git(repository, 'rm', '-q', '--cached', 'cyclegan_jax/__init__.py')
  assert code_version.commit(repository / 'cyclegan_jax') is None


def test_variables_of_a_git_hook_are_ignored(repository, tmp_path, monkeypatch):
  """Git hooks run with GIT_* variables that name their own repository."""
  head = git(repository, 'rev-parse', 'HEAD')
  other = tmp_path / 'hook'
  other.mkdir()
  git(other, 'init', '-q')
  git(other, 'commit', '-qm', 'x', '--allow-empty')
  monkeypatch.setenv('GIT_DIR', str(other / '.git'))
  monkeypatch.setenv('GIT_WORK_TREE', str(other))
  monkeypatch.setenv('GIT_INDEX_FILE', str(other / '.git' / 'index'))
  assert code_version.commit(repository / 'cyclegan_jax') == head


def test_without_git_there_is_no_commit(repository, monkeypatch):
  monkeypatch.setenv('PATH', '')
  assert code_version.commit(repository / 'cyclegan_jax') is None


def test_facts_name_the_version():
  facts = code_version.facts()
  assert facts['version'] == cyclegan_jax.__version__
  root = pathlib.Path(cyclegan_jax.__file__).parents[1]
  if (root / '.git').exists():
    assert facts['git_commit'].startswith(git(root, 'rev-parse', 'HEAD'))
