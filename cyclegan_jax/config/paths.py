"""Flags and options that are paths: expansion of `~`, checks, comparison."""

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import cards
from cyclegan_jax.config.options import flatten
from cyclegan_jax.defaults import PATHS
from cyclegan_jax.hub import address

# Placeholders of flags that are paths. A PATH may be a file or a folder.
KINDS = ('PATH', 'FILE', 'DIR', 'FOLDER')


def expand_flags(flags, values):
  """Returns {flag: value} with `~` expanded in the flags that are paths.

  Args:
    flags: {flag: (placeholder, default, meaning)}; a placeholder of `KINDS`
      marks a path.
    values: {flag: value}.

  Raises:
    UserError: `~USER` of an unknown user, a folder given for a FILE, or a file
      given for a DIR or FOLDER.
  """
  kinds = {name: kind for name, (kind, *_) in flags.items() if kind in KINDS}
  return values | {
    name: _checked(f'--{name}', kind, _expanded(f'--{name}', values[name]))
    for name, kind in kinds.items()
  }


def expand_options(config):
  """Expands `~`, in place, in the options of a ConfigDict that are paths.

  Raises:
    UserError: `~USER` of an unknown user.
  """
  for key in PATHS:
    section, name = _node(config, key)
    section[name] = _expanded(f'--config.{key}', section[name])


def recorded(config):
  """Returns a copy of a config with absolute paths, for config.json.

  Programs that are started in another folder can then read the paths.

  Args:
    config: nested dicts; options may be missing.
  """
  config = {k: dict(v) if isinstance(v, dict) else v for k, v in config.items()}
  for key in PATHS:
    if flatten(config).get(key):
      section, name = _node(config, key)
      section[name] = absolute(section[name])
  return config


def absolute(path):
  """Returns the absolute path of a text.

  An empty text, or an address such as gs:// or hf://, is returned unchanged.
  """
  if not path or '://' in path:
    return path
  return str(files.absolute(files.place(path)))


def same(old, new):
  """Returns True if two texts mean the same file, folder or address.

  Two hf:// addresses are compared by `address.same`: the recorded address has
  the hash of a commit, while the new one may have a branch, a tag or nothing.
  If the old path no longer exists, an equal last name is enough, because the
  folder above may have been moved.

  Args:
    old: the recorded path; earlier versions recorded it as given.
    new: the path given now.
  """
  if old == new or not old or not new:
    return old == new
  if address.is_address(old) and address.is_address(new):
    return address.same(old, new)
  if '://' in old + new:
    return False
  before, now = files.place(old).absolute(), files.place(new).absolute()
  if before.resolve() == now.resolve():
    return True
  return before.name == now.name and not before.exists()


def expand_card(argv):
  """Returns a command line whose --config is the path of the recipe card.

  The name of a recipe card of the package is replaced by its path, and `~` is
  expanded. A recipe card that does not exist is left as given.

  Args:
    argv: the command line, program first.
  """
  words, is_value = [], False
  for word in argv:
    flag, equals, value = word.partition('=')
    if is_value:
      word = _card(word)
    elif equals and flag in ('--config', '-config'):
      word = f'{flag}={_card(value)}'
    words.append(word)
    is_value = word in ('--config', '-config')
  return words


def _card(text):
  text = _expanded('--config', text)
  try:
    return str(cards.find(text))
  except UserError:  # `flags.config_path` raises it later
    return text


def _node(config, key):
  """Returns the section of an option, as a dict, and the key in it."""
  section, _, name = key.rpartition('.')
  return (config[section] if section else config), name


def _expanded(flag, text):
  """Returns a path with `~` expanded; errors begin with the flag."""
  try:
    return files.expanded(text)
  except UserError as e:
    raise UserError(f'{flag}={e}') from e


def _checked(flag, kind, text):
  """Returns the path; raises `UserError` if a file is a folder, or reverse."""
  if not text or '://' in text:
    return text
  path = files.place(text)
  if kind == 'FILE' and path.is_dir():
    raise UserError(f'{flag}={text} is a folder: give the name of a file')
  if kind in ('DIR', 'FOLDER') and path.is_file():
    raise UserError(f'{flag}={text} is a file: give a folder')
  return text
