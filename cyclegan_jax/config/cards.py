"""The recipe cards that come with the package, by their names."""

import pathlib

from cyclegan_jax.common.errors import UserError

_PACKAGE = pathlib.Path(__file__).parents[1]


def folder() -> pathlib.Path:
  """The folder of the cards: within an installed package, else beside it."""
  installed = _PACKAGE / 'configs'
  return installed if installed.is_dir() else _PACKAGE.parent / 'configs'


def names() -> list[str]:
  """Names of the cards, sorted: `satellite2map` for satellite2map.py."""
  return sorted(path.stem for path in folder().glob('*.py'))


def find(given: str) -> pathlib.Path:
  """Path of the recipe card that a text names.

  Args:
    given: the path of a file; or a card of the package as NAME, NAME.py or, for
      commands outside the repository, configs/NAME.py.

  Raises:
    UserError: there is no such file and no such card.
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
    f'no {what} {given} (--config): there are {", ".join(files or names())}'
  )
