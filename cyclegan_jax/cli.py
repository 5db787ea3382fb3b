"""Flags, errors and exit codes, the same for every program."""

import contextlib
import logging
import os
import pathlib
import sys
import warnings

from absl import flags
from absl import logging as absl_logging
from ml_collections import config_flags

from cyclegan_jax.defaults import OPTIONS
from cyclegan_jax.errors import UserError

USER_ERROR = 2


def parse(argv, doc):
  """Reads --config, --workdir and --config.KEY=VALUE.

  Args:
    argv: the command line, program first.
    doc: the program's docstring, for --help.

  Returns:
    The locked config and the work folder.

  Raises:
    UserError: a flag, path, key or value that can't be.
    SystemExit: after --help.
  """
  if {'--help', '-h', '-help', '--helpfull'} & set(argv):
    print(_help(doc))
    raise SystemExit(0)
  values = flags.FlagValues()
  config_flags.DEFINE_config_file(
    'config', None, 'recipe card', flag_values=values, sys_argv=argv
  )
  flags.DEFINE_string('workdir', '', 'folder of the run', flag_values=values)
  _check_config_path(argv)
  try:
    rest = values(argv)
    config = values.config
  except (AttributeError, KeyError) as e:
    raise UserError(f'no such option: {_one_line(e)}') from e
  except (flags.Error, OSError, TypeError, ValueError) as e:
    raise UserError(_one_line(e)) from e
  if len(rest) > 1:
    raise UserError(f'{rest[1]!r} is no flag: see --help')
  path = pathlib.Path(config_flags.get_config_filename(values['config']))
  return config, pathlib.Path(values.workdir or f'runs/{path.stem}')


def _check_config_path(argv):
  given = [
    a.split('=', 1) for a in argv if a.lstrip('-').split('=')[0] == 'config'
  ]
  if not given:
    raise UserError(
      'no --config: give a recipe card, such as '
      '--config=configs/summer2winter.py (see --help)'
    )
  if len(given[-1]) == 2 and not pathlib.Path(given[-1][1]).is_file():
    path = pathlib.Path(given[-1][1])
    cards = sorted(str(p) for p in path.parent.glob('*.py'))
    hint = f'there are {", ".join(cards)}' if cards else 'see --help'
    raise UserError(f'no file {path} (--config): {hint}')


def _one_line(error):
  lines = [x.strip() for x in str(error).strip('\'"').splitlines()]
  return ' '.join(x for x in lines if x) or type(error).__name__


def _help(doc):
  width = max(map(len, OPTIONS)) + 10
  lines = [
    doc.strip(),
    '',
    'Flags:',
    f'  {"--config=FILE":<{width}} recipe card, one of configs/*.py',
    f'  {"--workdir=DIR":<{width}} folder of the run; runs/<config name>',
    f'  {"--help":<{width}} this text',
    '',
    'Options of the recipe card, changed by --config.KEY=VALUE (defaults):',
  ]
  for key, (default, meaning) in OPTIONS.items():
    lines.append(f'  {"--config." + key:<{width}} {meaning} ({default!r})')
  return '\n'.join(lines)


def quiet():
  """Keeps the libraries' chatter from the terminal, and TF off the GPU."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  absl_logging.set_verbosity(absl_logging.ERROR)
  for name in ('jax', 'urllib3'):
    logging.getLogger(name).setLevel(logging.ERROR)
  warnings.filterwarnings('ignore', module='tensorflow')
  with _silent_stderr():
    import tensorflow as tf

    tf.config.set_visible_devices([], 'GPU')  # JAX needs all of its memory
    tf.constant(0)  # starts TF's runtime, which has its say here


@contextlib.contextmanager
def _silent_stderr():
  """Drops what native code prints before its logging can be configured."""
  sys.stderr.flush()
  kept = os.dup(2)
  with open(os.devnull, 'w') as nothing:
    os.dup2(nothing.fileno(), 2)
  try:
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)


def run(main, argv=None):
  """Runs a program; returns its exit code.

  A `UserError` becomes one line on standard error and exit code 2.
  """
  try:
    return main(sys.argv if argv is None else argv) or 0
  except UserError as e:
    print(f'error: {e}', file=sys.stderr)
    return USER_ERROR
