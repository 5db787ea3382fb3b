"""Flags and options that are paths: `~` expanded, and absolute in a record."""

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import cards
from cyclegan_jax.config.options import flatten
from cyclegan_jax.defaults import PATHS
from cyclegan_jax.hub import address

# Placeholders of flags that are paths; a FILE is no folder, a DIR no file.
KINDS = ('PATH', 'FILE', 'DIR', 'FOLDER')


def expand_flags(flags, values):
  """{flag: value} with `~` expanded in those that are paths.

  Args:
    flags: {flag: (placeholder, default, meaning)}.
    values: {flag: value}.

  Raises:
    UserError: an unknown user, a folder given for a FILE, or a file for a DIR
      or FOLDER.
  """
  kinds = {name: kind for name, (kind, *_) in flags.items() if kind in KINDS}
  return values | {
    name: _checked(f'--{name}', kind, _expanded(f'--{name}', values[name]))
    for name, kind in kinds.items()
  }


def expand_options(config):
  """Expands `~` in the options of a ConfigDict that are paths.

  Raises:
    UserError: an unknown user.
  """
  for key in PATHS:
    section, name = _node(config, key)
    section[name] = _expanded(f'--config.{key}', section[name])


def recorded(config):
  """A config, nested dicts, with its paths absolute: others read it elsewhere.

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
  """The text of a path from the root; of an address the same."""
  if not path or '://' in path:
    return path
  return str(files.absolute(files.place(path)))


def same(old, new):
  """Returns True for two texts of one place.

  An address on the Hugging Face Hub was recorded with the hash of its commit,
  and one without, or with a branch or tag, can mean the same.
  A place that is no longer there is known by its name: the folder above it may
  have moved. Earlier versions recorded paths as they were given.
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
  """The command line with the path of the card, `~` expanded, in --config."""
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
  except UserError:  # `flags.config_path` says it
    return text


def _node(config, key):
  """The section of an option, a dict, and its name there."""
  section, _, name = key.rpartition('.')
  return (config[section] if section else config), name


def _expanded(flag, text):
  try:
    return files.expanded(text)
  except UserError as e:
    raise UserError(f'{flag}={e}') from e


def _checked(flag, kind, text):
  if not text or '://' in text:
    return text
  path = files.place(text)
  if kind == 'FILE' and path.is_dir():
    raise UserError(f'{flag}={text} is a folder: give the name of a file')
  if kind in ('DIR', 'FOLDER') and path.is_file():
    raise UserError(f'{flag}={text} is a file: give a folder')
  return text
