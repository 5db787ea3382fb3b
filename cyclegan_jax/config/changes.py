"""Changes by --config.KEY=VALUE to the config of a trained model."""

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import own_source
from cyclegan_jax.defaults import OPTIONS

_BUILT_IN = ('builtin', 'mni152')  # values of data.source that need no name
_VALUES = ('data.channels_', 'data.range_')
# Only the options that choose the pictures may change. All others, channels and
# ranges of values included, must be those that the model was trained with.
CHANGEABLE = [
  key
  for key in OPTIONS
  if key.startswith('data.') and not key.startswith(_VALUES)
]


def check(changes, flags):
  """Raises `UserError` if a changed option must keep the model's value.

  Only the options of `CHANGEABLE` may change. For an option of `evaluate.` that
  the program has as a flag, the error names the flag.

  Args:
    changes: {option: value} given by --config.KEY=VALUE.
    flags: names of the program's own flags.
  """
  for key in changes:
    flag = key.rpartition('.')[-1].replace('_', '-')
    if key.startswith('evaluate.') and flag in flags:
      raise UserError(f'--config.{key}: use --{flag} in this program')
    if key not in CHANGEABLE:
      raise UserError(
        f'--config.{key}: a trained model keeps its {key}: leave this option '
        'out (only the pictures may change, by --config.data.KEY=VALUE)'
      )


def with_values(config, trained):
  """Returns a copy of a config with the channels and ranges of a model.

  Args:
    config: a ConfigDict that says which pictures to use; not modified.
    trained: the config of the model, whose data.channels_a, data.channels_b,
      data.range_a and data.range_b are copied.
  """
  config = config.copy_and_resolve_references()
  for key in OPTIONS:
    if key.startswith(_VALUES):
      section, _, name = key.partition('.')
      config[section][name] = trained[section][name]
  return config


def changed(config, changes, model):
  """Returns a copy of a model's config with some options changed.

  Args:
    config: the ConfigDict of the model; not modified.
    changes: {option: value} of options that may change, as `check` allows them.
    model: the value of --model, for messages.

  Raises:
    UserError: the changed config does not say which pictures to use, or its
      data.root does not fit its data.source.
  """
  config = config.copy_and_resolve_references()
  config.data.load_size_in_decay = 0  # used only in training
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
      f'{model} (--model) does not say which pictures to use: give '
      '--config.data.source=folder --config.data.root=FOLDER, or '
      '--config=configs/NAME.py'
    )
  return config
