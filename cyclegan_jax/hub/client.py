"""Downloads from and uploads to the Hugging Face Hub, with huggingface_hub."""

import contextlib
import logging
import pathlib
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.hub.address import Address

_LOG_IN = 'log in (hf auth login) or set HF_TOKEN'
_REASON = 300  # maximum length of an error text of the library or the Hub


def download(
  where: Address, names: Sequence[str]
) -> tuple[list[pathlib.Path], Address]:
  """Downloads files of a model repository, all from the same commit.

  Files that are already in the cache of huggingface_hub are not downloaded
  again. With HF_HUB_OFFLINE=1 only the cache is used. No other files of the
  repository are read.

  Args:
    where: `Address` of the repository; its revision selects the commit.
    names: names of the files in the repository, at least one.

  Returns:
    (paths, address): the paths of the files in the cache, in the order of
    `names`, and the `Address` with the hash of the commit as its revision.

  Raises:
    UserError: huggingface_hub is not installed, the Hub refuses the request or
      cannot be reached, or the repository, the revision or a file does not
      exist.
  """
  found: list[pathlib.Path] = []
  hub = _library(str(where))
  with _explained(str(where), ' and '.join(names)):
    for name in names:
      path = hub.hf_hub_download(
        where.repo, name, revision=where.revision or None
      )
      found.append(pathlib.Path(path))
      # The path ends in snapshots/COMMIT/NAME. The remaining files are
      # requested from this commit.
      where = Address(where.repo, found[-1].parent.name)
  return found, where


def upload(
  folder: pathlib.Path, repo: str, own: Sequence[str], private: bool
) -> tuple[str, str]:
  """Uploads the files of a folder to a model repository, as one commit.

  Creates the repository if it does not exist.

  Args:
    folder: local folder of the files, without subfolders.
    repo: name of the repository, 'USER/NAME'.
    own: names of files that the commit deletes from the repository if the
      folder has no file of that name. Other files in the repository are kept.
    private: whether the repository has to be private. A new repository is then
      created as private, and a public repository is an error.

  Returns:
    (page, commit): the URL of the repository's page, and the hash of the
    commit.

  Raises:
    UserError: huggingface_hub is not installed, the Hub refuses the request or
      cannot be reached, or the repository is public although `private` is True.
  """
  hub = _library('cyclegan_jax.share')
  api = hub.HfApi()
  new = sorted(folder.iterdir())
  with _explained(repo, ''):
    page = api.create_repo(repo, private=private or None, exist_ok=True)
    facts = api.model_info(repo)
    if private and not facts.private:
      raise UserError(
        f'{repo} is public: make it private in its settings on the Hub, or '
        'leave out --private'
      )
    there = {sibling.rfilename for sibling in facts.siblings or []}
    old = there.intersection(own) - {path.name for path in new}
    made = api.create_commit(
      repo,
      operations=[
        *(hub.CommitOperationAdd(path.name, str(path)) for path in new),
        *(hub.CommitOperationDelete(name) for name in sorted(old)),
      ],
      commit_message='Upload a model of cyclegan_jax',
    )
  return str(page), made.oid


def _library(what: str) -> Any:
  """Imports huggingface_hub and silences its log output.

  Args:
    what: the address or program that needs the package, for the message.

  Returns:
    The module huggingface_hub.

  Raises:
    UserError: the package is not installed.
  """
  try:
    import huggingface_hub  # imported here: slow, and rarely needed
    from huggingface_hub import utils
  except ImportError as e:
    raise UserError(
      f"{what} needs the package huggingface_hub: pip install -e '.[hub]'"
    ) from e
  logging.getLogger('huggingface_hub').setLevel(logging.ERROR)
  logging.getLogger('httpx').setLevel(logging.ERROR)
  if not sys.stderr.isatty():
    utils.disable_progress_bars()
  return huggingface_hub


@contextlib.contextmanager
def _explained(what: str, names: str) -> Iterator[None]:
  """Context manager that turns any exception of the library into `UserError`.

  Args:
    what: the repository as the user gave it, for the message.
    names: names of the requested files as one text, for the message.

  Raises:
    UserError: the body of the `with` statement raised an exception.
  """
  try:
    yield
  except UserError:
    raise
  except Exception as e:  # network, disk, refusals: many types are raised
    cause: BaseException = e
    while isinstance(cause, RuntimeError) and cause.__cause__:
      cause = cause.__cause__  # the outer text is only 'Error while uploading'
    raise UserError(f'{what}: {_reason(cause, names)}') from e


def _reason(error: BaseException, names: str) -> str:
  """Returns what went wrong and what to do, without the user's token.

  Args:
    error: exception of huggingface_hub.
    names: names of the requested files as one text.
  """
  from huggingface_hub import errors

  if isinstance(error, errors.LocalEntryNotFoundError):
    return _not_cached(error)
  status = getattr(getattr(error, 'response', None), 'status_code', None)
  # The order matters, because some of these classes inherit from others.
  if isinstance(error, errors.OfflineModeIsEnabled):
    return 'HF_HUB_OFFLINE is set: unset HF_HUB_OFFLINE to reach the Hub'
  if isinstance(error, errors.GatedRepoError):
    return f'accept the terms on its page on the Hub, and {_LOG_IN}'
  if isinstance(error, errors.RevisionNotFoundError):
    return 'there is no such revision: give a branch, a tag or a commit'
  if isinstance(error, errors.EntryNotFoundError):
    return (
      f'the repository does not contain the files {names}: give a repository '
      'that cyclegan_jax.share created'
    )
  if isinstance(error, errors.RepositoryNotFoundError):
    return (
      f'there is no such repository on the Hub, or it is private: check the '
      f'name, and {_LOG_IN} if it is yours'
    )
  if status == 401:
    return f'the Hub does not know the user or the token: {_LOG_IN}'
  if status == 403:
    return (
      'the token does not allow this: give the token write access, and check '
      'that the name before the / is yours'
    )
  return f'the Hub cannot be used ({_text(error)})'


def _not_cached(error):
  """Returns the reason for an error where only the cache was searched."""
  from huggingface_hub import constants

  if constants.HF_HUB_OFFLINE:
    return (
      'not in the cache, and HF_HUB_OFFLINE is set: unset HF_HUB_OFFLINE to '
      'download the files'
    )
  return (
    'not in the cache, and the Hub cannot be reached '
    f'({_text(error.__cause__ or error)}): check the network'
  )


def _text(error):
  """Returns one line with an error's type and text, the token replaced by ***.

  An answer of the Hub could contain the user's token.
  """
  import huggingface_hub

  text = f'{type(error).__name__}: {error}'
  with contextlib.suppress(Exception):  # the token file may be unreadable
    if token := huggingface_hub.get_token():
      text = text.replace(token, '***')
  return textwrap.shorten(' '.join(text.split()), _REASON, placeholder='...')
