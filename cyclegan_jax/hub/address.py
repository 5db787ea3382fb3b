"""Addresses of models on the Hugging Face Hub: hf://USER/NAME@REVISION."""

import os
import re
from typing import NamedTuple

from cyclegan_jax.common.errors import UserError

SCHEME = 'hf://'
_REPO = re.compile(r'[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*', re.ASCII)
_REVISION = re.compile(r'[\w.-]+(/[\w.-]+)*', re.ASCII)
_COMMIT = re.compile(r'[0-9a-f]{40}')
_LONGEST = 96  # maximum number of characters of USER/NAME


class Address(NamedTuple):
  """Address of a model repository on the Hub.

  Attributes:
    repo: name of the repository, 'USER/NAME'.
    revision: a branch, tag or commit; '' for the newest commit.
  """

  repo: str
  revision: str = ''

  def __str__(self):
    """Returns the text hf://USER/NAME or hf://USER/NAME@REVISION."""
    return SCHEME + self.repo + f'@{self.revision}' * bool(self.revision)


def is_address(path: str | os.PathLike[str]) -> bool:
  """Returns True if a path starts with hf://, the mark of a Hub address."""
  return os.fspath(path).startswith(SCHEME)


def parse(text: str) -> Address:
  """Parses the text of a Hub address.

  Args:
    text: hf://USER/NAME or hf://USER/NAME@REVISION.

  Returns:
    The `Address`.

  Raises:
    UserError: `text` has another form, or USER, NAME or REVISION is not valid.
  """
  repo, at, revision = text.removeprefix(SCHEME).partition('@')
  if not text.startswith(SCHEME) or not _is_repo(repo):
    raise UserError(f'{text}: an address on the Hub is hf://USER/NAME@REVISION')
  if at and (not _REVISION.fullmatch(revision) or '..' in revision):
    raise UserError(
      f'{text}: {revision!r} is not a revision: give a branch, a tag or a '
      'commit after the @'
    )
  return Address(repo, revision)


def check_repo(repo: str, flag: str) -> None:
  """Checks the name of a repository.

  Args:
    repo: the text given by the user.
    flag: the flag with this value, for the message.

  Raises:
    UserError: `repo` is not of the form USER/NAME that the Hub accepts.
  """
  if not _is_repo(repo):
    raise UserError(
      f'{flag}={repo}: give USER/NAME, made of letters, digits, -, _ and ., '
      f'with at most {_LONGEST} characters'
    )


def _is_repo(repo):
  """Returns True for a USER/NAME that follows the rules of the Hub."""
  return (
    bool(_REPO.fullmatch(repo))
    and len(repo) <= _LONGEST
    and not re.search(r'--|\.\.|[-.](/|$)|\.git$', repo)
  )


def is_commit(revision: str) -> bool:
  """Returns True if a revision is a full commit hash of 40 hexadecimal digits.

  Unlike branches and tags, a commit hash always refers to the same files.
  """
  return bool(_COMMIT.fullmatch(revision))


def same(old: str, new: str) -> bool:
  """Returns True if two Hub addresses can refer to the same model.

  Args:
    old: address that a run recorded.
    new: address that the user gives now.

  Returns:
    False if the repositories differ, or if `new` is a commit other than the
    revision of `old`. True if `new` has a branch, a tag or no revision, because
    these can refer to any commit; the Hub is not asked.

  Raises:
    UserError: one of the texts is not a Hub address.
  """
  before, now = parse(old), parse(new)
  if before.repo != now.repo:
    return False
  return before.revision == now.revision or not is_commit(now.revision)
