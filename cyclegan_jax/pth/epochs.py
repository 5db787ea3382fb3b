"""Folders of official files: the epoch that is taken of several."""

import pathlib
import re
from typing import NamedTuple

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError

LATEST = 'latest'
_NAME = re.compile(r'(?:(.*)_)?net_([GDF])(?:_[AB])?')
_NUMBER = re.compile(r'(iter_)?0*(\d+)')  # of an epoch, or of an iteration


class Chosen(NamedTuple):
  """The files of an epoch.

  Attributes:
    paths: in the order of their names.
    step: the number of the epoch, or of the iteration; None if it has none.
    line: says what was chosen of several epochs; '' of a single one.
  """

  paths: list[pathlib.Path]
  step: int | None
  line: str


def epochs(folder):
  """{name of an epoch: paths} of the official files in a folder.

  The name is what stands before _net_G_A.pth: 'latest', '200', 'iter_5000', or
  '' before net_G_A.pth.
  """
  found = {}
  for path in sorted(folder.glob('*.pth')):
    if match := _NAME.fullmatch(path.stem):
      found.setdefault(match[1] or '', []).append(path)
  return found


def choose(folder, name, step=None):
  """The files of one epoch.

  Args:
    folder: holds official files of one or more epochs.
    name: the folder as the user spells it.
    step: number of an epoch, or of an iteration; None for 'latest', or where
      there is none the highest number.

  Returns:
    A `Chosen`.

  Raises:
    UserError: there is no such epoch, or it is not clear which to take.
  """
  found = epochs(folder)
  # Discriminators alone translate nothing.
  with_generators = {
    epoch: paths for epoch, paths in found.items() if _has_generator(paths)
  }
  there = ', '.join(x or 'net_*.pth' for x in sorted(found, key=_rank))
  if step is not None:
    for epoch in sorted(found, key=_rank):
      if _number(epoch) == step:
        return Chosen(found[epoch], step, '')
    raise UserError(
      f'no {step}_net_*.pth in {name}: the epochs there are {there}'
    )
  candidates = with_generators or found
  epoch = max(candidates, key=_rank)
  unclear = [x for x in candidates if _rank(x)[0] == 0]
  if len(unclear) > 1 and _rank(epoch)[0] == 0:
    raise UserError(
      f'{name} holds files of several models ({there}): give the .pth files of '
      'one, in a folder of its own'
    )
  taken = f'{epoch}_net_*.pth'.removeprefix('_')
  line = f'{name}: takes {taken} of the epochs {there}'
  return Chosen(found[epoch], _number(epoch), line if len(found) > 1 else '')


def check_epoch(path, name, step):
  """Raises `UserError` if a file is not of the epoch asked for.

  Args:
    path: an official file.
    name: the same as the user spells it.
    step: number of the epoch; None for any.
  """
  match = _NAME.fullmatch(path.stem)
  if step is not None and not (match and _number(match[1] or '') == step):
    raise UserError(
      f'{name} is not of epoch {step}: leave out the step, or give the folder '
      f'that holds {step}_net_*.pth'
    )


def expand(path, step):
  """The files of a folder's epoch; of a file itself."""
  place = files.place(path)
  if not place.is_dir():
    check_epoch(place, path, step)
    return [place], ''
  if not epochs(place):
    raise UserError(f'{path} holds no *_net_*.pth: give the official files')
  chosen = choose(place, path, step)
  return chosen.paths, chosen.line


def has_heads(path):
  """Returns True for CUT's net_F: projection heads, which no picture needs."""
  match = _NAME.fullmatch(path.stem)
  return match is not None and match[2] == 'F'


def _has_generator(paths):
  return any(_NAME.fullmatch(path.stem)[2] == 'G' for path in paths)


def _number(epoch):
  match = _NUMBER.fullmatch(epoch)
  return int(match[2]) if match else None


def _rank(epoch):
  """Names of no epoch come before iterations, epochs and 'latest'."""
  match = _NUMBER.fullmatch(epoch)
  if match:
    return (1 if match[1] else 2), int(match[2]), epoch
  return (3 if epoch == LATEST else 0), 0, epoch
