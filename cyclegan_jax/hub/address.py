"""Addresses of models on the Hugging Face Hub: hf://USER/NAME@REVISION."""

import os
import re
from typing import NamedTuple

from cyclegan_jax.common.errors import UserError

SCHEME = 'hf://'
_REPO = re.compile(r'[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*', re.ASCII)
_REVISION = re.compile(r'[\w.-]+(/[\w.-]+)*', re.ASCII)
_COMMIT = re.compile(r'[0-9a-f]{40}')
_LONGEST = 96  # characters of a user's name and a repository's together


class Address(NamedTuple):
  """A model repository.

  Attributes:
    repo: 'USER/NAME'.
    revision: a branch, tag or commit; '' for the newest commit.
  """

  repo: str
  revision: str = ''

  def __str__(self):
    return SCHEME + self.repo + f'@{self.revision}' * bool(self.revision)


def is_address(path: str | os.PathLike[str]) -> bool:
  """Returns True for an address on the Hub."""
  return os.fspath(path).startswith(SCHEME)


def parse(text: str) -> Address:
  """The `Address` of a text.

  Raises:
    UserError: it is none.
  """
  repo, at, revision = text.removeprefix(SCHEME).partition('@')
  if not text.startswith(SCHEME) or not _is_repo(repo):
    raise UserError(f'{text}: an address on the Hub is hf://USER/NAME@REVISION')
  if at and (not _REVISION.fullmatch(revision) or '..' in revision):
    raise UserError(
      f'{text}: {revision!r} is no revision: give a branch, a tag or a commit '
      'behind the @'
    )
  return Address(repo, revision)


def check_repo(repo: str, flag: str) -> None:
  """Raises `UserError` for a text that is no USER/NAME; `flag` is named."""
  if not _is_repo(repo):
    raise UserError(
      f'{flag}={repo}: give USER/NAME, of letters, digits, -, _ and ., at most '
      f'{_LONGEST} characters'
    )


def _is_repo(repo):
  """Returns True for a name that the Hub can have: its rules are these."""
  return (
    bool(_REPO.fullmatch(repo))
    and len(repo) <= _LONGEST
    and not re.search(r'--|\.\.|[-.](/|$)|\.git$', repo)
  )


def is_commit(revision: str) -> bool:
  """Returns True for a whole commit hash, which never means another one."""
  return bool(_COMMIT.fullmatch(revision))


def same(old: str, new: str) -> bool:
  """Returns True if `new` can mean what `old`, a recorded address, means.

  Branches and tags move: that what they mean now is compared by nobody.

  Raises:
    UserError: one of the texts is no address.
  """
  before, now = parse(old), parse(new)
  if before.repo != now.repo:
    return False
  return before.revision == now.revision or not is_commit(now.revision)
