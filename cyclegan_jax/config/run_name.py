"""Default folder names for the outputs of a recipe card and its dataset."""

import json
import pathlib

import ml_collections

from cyclegan_jax.common import files
from cyclegan_jax.config import paths
from cyclegan_jax.config.options import flatten

_OWN_PICTURES = ('folder', 'aligned')  # the values of data.source
_LONGEST = 60  # characters of the dataset in a name


def name(card: pathlib.Path, config: ml_collections.ConfigDict) -> str:
  """Returns a name for a recipe card and the folder of pictures it is used on.

  Args:
    card: path of the recipe card.
    config: the config of the recipe card.

  Returns:
    CARD_FOLDER if data.source is folder or aligned, else CARD. CARD is the file
    name of the recipe card without its ending; FOLDER is the last name in
    data.root, shortened if long. FOLDER is left out if it is empty or one of
    the words of CARD, which underscores separate.
  """
  c = config.data
  if c.source not in _OWN_PICTURES or not c.root:
    return card.stem
  folder = files.absolute(files.place(c.root)).name[:_LONGEST].strip()
  if not folder or folder in (card.stem, *card.stem.split('_')):
    return card.stem
  return f'{card.stem}_{folder}'


def workdir(card: pathlib.Path, config: ml_collections.ConfigDict) -> str:
  """Returns the default run folder, runs/NAME with the name of `name`.

  The default of earlier versions, runs/CARD, is kept if it holds a run with the
  same data.root.

  Args:
    card: path of the recipe card.
    config: the config of the recipe card.
  """
  earlier = f'runs/{card.stem}'
  if _root_of(pathlib.Path(earlier)) == paths.absolute(config.data.root):
    return earlier
  return f'runs/{name(card, config)}'


def _root_of(folder):
  """Returns the absolute data.root of the run in a folder; None if no run."""
  try:
    content = flatten(json.loads((folder / 'config.json').read_text()))
    return paths.absolute(content['data.root'])
  except (OSError, ValueError, KeyError, AttributeError):
    return None
