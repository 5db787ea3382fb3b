"""Default names of what a command leaves for a recipe card and its data."""

import json
import pathlib

import ml_collections

from cyclegan_jax.common import files
from cyclegan_jax.config import paths
from cyclegan_jax.config.options import flatten

_OWN_PICTURES = ('folder', 'aligned')  # the values of data.source
_LONGEST = 60  # characters of a data set's name


def name(card: pathlib.Path, config: ml_collections.ConfigDict) -> str:
  """Names a card together with the folder of pictures it is used for.

  Args:
    card: the recipe card.
    config: the config it makes.

  Returns:
    CARD_FOLDER for a card of the user's own pictures; CARD where it has the
    folder's name among its words, and for all other cards.
  """
  c = config.data
  if c.source not in _OWN_PICTURES or not c.root:
    return card.stem
  folder = files.absolute(files.place(c.root)).name[:_LONGEST].strip()
  if not folder or folder in (card.stem, *card.stem.split('_')):
    return card.stem
  return f'{card.stem}_{folder}'


def workdir(card: pathlib.Path, config: ml_collections.ConfigDict) -> str:
  """The folder of a run where none is given.

  That of earlier versions, runs/CARD, if it holds a run of the same pictures.
  """
  earlier = f'runs/{card.stem}'
  if _root_of(pathlib.Path(earlier)) == paths.absolute(config.data.root):
    return earlier
  return f'runs/{name(card, config)}'


def _root_of(folder):
  """The data.root of a run, absolute; None if there is no run."""
  try:
    content = flatten(json.loads((folder / 'config.json').read_text()))
    return paths.absolute(content['data.root'])
  except (OSError, ValueError, KeyError, AttributeError):
    return None
