"""Choice of an epoch in a folder of official .pth files."""

import pathlib
import re
from typing import NamedTuple

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError

LATEST = 'latest'
_NAME = re.compile(r'(?:(.*)_)?net_([GDF])(?:_[AB])?')
_NUMBER = re.compile(r'(iter_)?0*(\d+)')  # an epoch or an iteration


class Chosen(NamedTuple):
  """The official files of one epoch, chosen from a folder.

  Attributes:
    paths: paths of the files, sorted by name.
    step: number of the epoch or iteration; None if the epoch has no number,
      such as 'latest'.
    line: a line for the user that names the chosen files if the folder holds
      several epochs, else ''.
  """

  paths: list[pathlib.Path]
  step: int | None
  line: str


def epochs(folder):
  """Returns {name of an epoch: paths} for the official files in a folder.

  The name of an epoch is the part of the file name before _net_G_A.pth, such as
  'latest', '200' or 'iter_5000'. The name is '' for net_G_A.pth.

  Args:
    folder: path object of the folder.
  """
  found = {}
  for path in sorted(folder.glob('*.pth')):
    if match := _NAME.fullmatch(path.stem):
      found.setdefault(match[1] or '', []).append(path)
  return found


def choose(folder, name, step=None):
  """Chooses the official files of one epoch in a folder.

  Args:
    folder: path object of a folder with official files of one or more epochs.
    name: the folder as the user spells it, for messages.
    step: number of the epoch or iteration. None chooses 'latest' if there is
      one, else the highest epoch, else the highest iteration; epochs without a
      generator are then chosen only if no epoch has a generator.

  Returns:
    The files, as a `Chosen`.

  Raises:
    UserError: the folder has no such epoch, or holds files of several models.
  """
  found = epochs(folder)
  # An epoch with discriminators only cannot translate.
  with_generators = {
    epoch: paths for epoch, paths in found.items() if _has_generator(paths)
  }
  there = ', '.join(x or 'net_*.pth' for x in sorted(found, key=_rank))
  if step is not None:
    for epoch in sorted(found, key=_rank):
      if _number(epoch) == step:
        return Chosen(found[epoch], step, '')
    raise UserError(
      f'{name} has no {step}_net_*.pth: choose one of the epochs {there}'
    )
  candidates = with_generators or found
  epoch = max(candidates, key=_rank)
  unclear = [x for x in candidates if _rank(x)[0] == 0]
  if len(unclear) > 1 and _rank(epoch)[0] == 0:
    raise UserError(
      f'{name} holds files of several models ({there}): move the .pth files of '
      'one model to a folder of their own'
    )
  taken = f'{epoch}_net_*.pth'.removeprefix('_')
  line = f'{name}: uses {taken} of the epochs {there}'
  return Chosen(found[epoch], _number(epoch), line if len(found) > 1 else '')


def check_epoch(path, name, step):
  """Checks that an official file belongs to a given epoch, by the file's name.

  Args:
    path: path object of the file.
    name: the path as the user spells it, for messages.
    step: number of the epoch or iteration; None allows any.

  Raises:
    UserError: the file is not of that epoch.
  """
  match = _NAME.fullmatch(path.stem)
  if step is not None and not (match and _number(match[1] or '') == step):
    raise UserError(
      f'{name} is not of epoch {step}: leave out the step, or give the folder '
      f'with {step}_net_*.pth'
    )


def expand(path, step):
  """Returns the official files that a user's path and step stand for.

  Args:
    path: an official file, or a folder of official files.
    step: number of an epoch or iteration. With None, 'latest' or else the
      highest number is chosen from a folder.

  Returns:
    (paths, line for the user). For a folder, these are `Chosen.paths` and
    `Chosen.line`; for a file, the list of its own path and ''.

  Raises:
    UserError: the folder has no official files or no such epoch, or the file is
      not of that epoch.
  """
  place = files.place(path)
  if not place.is_dir():
    check_epoch(place, path, step)
    return [place], ''
  if not epochs(place):
    raise UserError(
      f'{path} holds no *_net_*.pth: give the folder of the official files'
    )
  chosen = choose(place, path, step)
  return chosen.paths, chosen.line


def has_heads(path):
  """Returns True if a file is named like CUT's net_F, the projection heads.

  The projection heads are needed for training only, not for translation.

  Args:
    path: path object of the file.
  """
  match = _NAME.fullmatch(path.stem)
  return match is not None and match[2] == 'F'


def _has_generator(paths):
  return any(_NAME.fullmatch(path.stem)[2] == 'G' for path in paths)


def _number(epoch):
  match = _NUMBER.fullmatch(epoch)
  return int(match[2]) if match else None


def _rank(epoch):
  """Returns the sort key of an epoch's name.

  Names that are no epoch come first, then iterations, epochs, and 'latest'.
  """
  match = _NUMBER.fullmatch(epoch)
  if match:
    return (1 if match[1] else 2), int(match[2]), epoch
  return (3 if epoch == LATEST else 0), 0, epoch
