"""Recipe cards that come with the package: their folder, names and paths."""

import pathlib

from cyclegan_jax.common.errors import UserError

_PACKAGE = pathlib.Path(__file__).parents[1]


def folder() -> pathlib.Path:
  """Returns the folder `configs` of the recipe cards.

  The folder is inside an installed package, and next to the package in a
  checkout of the repository.
  """
  installed = _PACKAGE / 'configs'
  return installed if installed.is_dir() else _PACKAGE.parent / 'configs'


def names() -> list[str]:
  """Sorted names of all recipe cards: `satellite2map` for satellite2map.py."""
  return sorted(path.stem for path in folder().glob('*.py'))


def find(given: str) -> pathlib.Path:
  """Returns the path of the recipe card given by --config.

  Args:
    given: the path of a Python file, or a recipe card of the package as NAME,
      NAME.py or configs/NAME.py (which also works outside the repository).

  Raises:
    UserError: no such file exists, and no recipe card has this name.
  """
  path = pathlib.Path(given)
  is_name = path.suffix != '.py' and len(path.parts) == 1
  if path.is_file() and not (is_name and given in names()):
    return path
  if path.parent in (pathlib.Path(), pathlib.Path('configs')):
    card = folder() / f'{path.name.removesuffix(".py")}.py'
    if card.is_file():
      return card
  files = [] if is_name else sorted(map(str, path.parent.glob('*.py')))
  what = 'recipe card' if is_name else 'file'
  raise UserError(
    f'no {what} {given} (--config): choose from {", ".join(files or names())}'
  )
