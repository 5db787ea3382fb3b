"""Changes to the config of a trained model, by --config.KEY=VALUE."""

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import own_source
from cyclegan_jax.defaults import OPTIONS

_BUILT_IN = ('builtin', 'mni152')  # values of data.source that need no name
_VALUES = ('data.channels_', 'data.range_')
# What may change: the pictures. All else is as the model was trained.
CHANGEABLE = [
  key
  for key in OPTIONS
  if key.startswith('data.') and not key.startswith(_VALUES)
]


def check(changes, flags):
  """Raises `UserError` for an option that may not change.

  Args:
    changes: {option: value}.
    flags: names of the program's flags, some of which are named after options.
  """
  for key in changes:
    flag = key.rpartition('.')[-1].replace('_', '-')
    if key.startswith('evaluate.') and flag in flags:
      raise UserError(f'--config.{key} is --{flag} in this program')
    if key not in CHANGEABLE:
      raise UserError(
        f'--config.{key}: a trained model keeps its {key}, and only its '
        'pictures may change, by --config.data.KEY=VALUE: leave it out'
      )


def with_values(config, trained):
  """A config of pictures with the channels and ranges of a model.

  Args:
    config: a ConfigDict, which is left as it is.
    trained: the config of the model.
  """
  config = config.copy_and_resolve_references()
  for key in OPTIONS:
    if key.startswith(_VALUES):
      section, _, name = key.partition('.')
      config[section][name] = trained[section][name]
  return config


def changed(config, changes, model):
  """The config of a model with some options changed.

  Args:
    config: a ConfigDict, which is left as it is.
    changes: {option: value}.
    model: what the user gave for --model.

  Raises:
    UserError: the result does not tell what pictures to use.
  """
  config = config.copy_and_resolve_references()
  config.data.load_size_in_decay = 0  # of training alone
  for key, value in changes.items():
    section, _, name = key.partition('.')
    config[section][name] = value
  c = config.data
  root = changes.get('data.root') if c.source in (*_BUILT_IN, 'tfds') else ''
  if root and (files.place(root) / 'testA').is_dir():
    raise UserError(
      f'{root} (--config.data.root) is a folder of pictures, but the model has '
      f'data.source={c.source}: add --config.data.source=folder'
    )
  finds_itself = c.source in _BUILT_IN or own_source.is_text(c.source)
  nameless = not finds_itself and not c.name
  if nameless and (not c.root or c.source == 'tfds'):
    raise UserError(
      f'{model} (--model) does not tell what pictures it is for: give '
      '--config.data.source=folder --config.data.root=FOLDER, or '
      '--config=configs/NAME.py'
    )
  return config
