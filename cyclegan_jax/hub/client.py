"""Downloads from the Hugging Face Hub, and uploads, by huggingface_hub."""

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
_REASON = 300  # characters of what the library or the Hub says


def download(
  where: Address, names: Sequence[str]
) -> tuple[list[pathlib.Path], Address]:
  """Downloads files of one commit of a model repository, or finds them cached.

  No other file is read. With HF_HUB_OFFLINE=1 the cache alone is asked.

  Args:
    where: the repository.
    names: the names of the files.

  Returns:
    The paths of the files in the library's cache, and the address with the
    hash of the commit.

  Raises:
    UserError: huggingface_hub is not installed, the Hub refuses or can't be
      reached, or there is no such repository, revision or file.
  """
  found: list[pathlib.Path] = []
  hub = _library(str(where))
  with _explained(str(where), ' and '.join(names)):
    for name in names:
      path = hub.hf_hub_download(
        where.repo, name, revision=where.revision or None
      )
      found.append(pathlib.Path(path))
      # snapshots/COMMIT/NAME: the other files are of this commit too.
      where = Address(where.repo, found[-1].parent.name)
  return found, where


def upload(
  folder: pathlib.Path, repo: str, own: Sequence[str], private: bool
) -> tuple[str, str]:
  """Uploads a folder of files as one commit; makes the repository if needed.

  Args:
    folder: the files, with no folder below it.
    repo: 'USER/NAME'.
    own: names of files that are removed from the repository where the folder
      has none of that name.
    private: makes a new repository private, and asks that one that exists is.

  Returns:
    The address of the repository's page, and the hash of the commit.

  Raises:
    UserError: huggingface_hub is not installed, the Hub refuses or can't be
      reached, or a repository is public that was asked to be private.
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
  """The package huggingface_hub, which is kept quiet."""
  try:
    import huggingface_hub  # slow to import, and rarely needed
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
  """Turns what goes wrong with a repository into a `UserError`.

  Args:
    what: the repository, as the user gave it.
    names: the files that are wanted of it.
  """
  try:
    yield
  except UserError:
    raise
  except Exception as e:  # network, disk, refusals: it raises all kinds
    cause: BaseException = e
    while isinstance(cause, RuntimeError) and cause.__cause__:
      cause = cause.__cause__  # 'Error while uploading' says nothing
    raise UserError(f'{what}: {_reason(cause, names)}') from e


def _reason(error: BaseException, names: str) -> str:
  """Returns what went wrong and what to do, without the user's token."""
  from huggingface_hub import errors

  if isinstance(error, errors.LocalEntryNotFoundError):
    return _not_cached(error)
  status = getattr(getattr(error, 'response', None), 'status_code', None)
  # The order matters: some of these classes are made of others.
  if isinstance(error, errors.OfflineModeIsEnabled):
    return 'HF_HUB_OFFLINE is set: unset it to reach the Hub'
  if isinstance(error, errors.GatedRepoError):
    return f'accept the terms on its page on the Hub, and {_LOG_IN}'
  if isinstance(error, errors.RevisionNotFoundError):
    return 'there is no such revision: give a branch, a tag or a commit'
  if isinstance(error, errors.EntryNotFoundError):
    return (
      f'this repository has not the files {names}, and cyclegan_jax reads no '
      'others: give a repository that cyclegan_jax.share made'
    )
  if isinstance(error, errors.RepositoryNotFoundError):
    return (
      f'there is no such repository on the Hub, or it is private: check the '
      f'name, and {_LOG_IN} if it is yours'
    )
  if status == 401:
    return f'the Hub knows no such user or token: {_LOG_IN}'
  if status == 403:
    return (
      'the token may not do this: give it the right to write, and check that '
      'the name before the / is yours'
    )
  return f'the Hub cannot be used ({_text(error)})'


def _not_cached(error):
  """The reason for which the cache alone was asked."""
  from huggingface_hub import constants

  if constants.HF_HUB_OFFLINE:
    return (
      'it is not in the cache, and HF_HUB_OFFLINE is set: unset it to download '
      'the files'
    )
  return (
    'it is not in the cache, and the Hub cannot be reached '
    f'({_text(error.__cause__ or error)}): check the network'
  )


def _text(error):
  """One line on an error that holds no token, whatever the Hub answered."""
  import huggingface_hub

  text = f'{type(error).__name__}: {error}'
  with contextlib.suppress(Exception):  # a token that can't be read
    if token := huggingface_hub.get_token():
      text = text.replace(token, '***')
  return textwrap.shorten(' '.join(text.split()), _REASON, placeholder='...')
