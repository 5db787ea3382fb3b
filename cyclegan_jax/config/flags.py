"""Command line of the programs: flags, --help, recipe card and options."""

import contextlib
import difflib

from absl import flags
from ml_collections import config_flags

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import cards, official, paths, run_name
from cyclegan_jax.config import help_text as texts
from cyclegan_jax.config.options import flatten
from cyclegan_jax.defaults import OPTIONS, get_config

_HELP = {'--help', '-h', '-help', '--helpfull'}
# Flags of the programs that read a model; `saved.from_flags` reads the values.
MODEL_FLAGS = {
  'model': (
    'PATH',
    '',
    'run folder, model folder, official .pth file or folder of .pth files, or '
    'hf://USER/NAME',
  ),
  'direction': (
    'a2b|b2a',
    '',
    'direction of the translation; may be left out if the model has only one',
  ),
  'step': (
    'N',
    -1,
    'step of a checkpoint of the run, or epoch of the official files; by '
    'default the newest',
  ),
  'batch-norm': (
    'NAME',
    'picture',
    'picture | average: batch norm uses the statistics of each picture, or the '
    'running averages of an official file (test.py --eval)',
  ),
}

# Flags of the programs that run on several processes; `processes.join` reads
# the values.
PROCESS_FLAGS = {
  'distributed': (
    'auto',
    '',
    'auto: run as one of several processes, as set by Cloud TPU, GKE, Slurm or '
    'Open MPI',
  ),
  'coordinator': (
    'HOST:PORT',
    '',
    'address of process 0, to set up several processes by hand',
  ),
  'num-processes': ('N', -1, 'number of processes; with --coordinator'),
  'process-id': (
    'I',
    -1,
    'number of this process, from 0; with --coordinator',
  ),
  'start-timeout': (
    'SECONDS',
    300,
    'longest time to wait for the other processes at the start',
  ),
  'heartbeat-timeout': (
    'SECONDS',
    100,
    'time without a sign of life from a process after which all others exit',
  ),
}


def parse(argv, doc):
  """Reads --config, --workdir and --config.KEY=VALUE.

  Args:
    argv: the command line, program first.
    doc: the program's docstring, for --help.

  Returns:
    The locked config, and the run folder (a path that may be in a bucket).

  Raises:
    UserError: an unknown flag or option, an invalid value or path, or a recipe
      card that fails.
    SystemExit: after --help.
  """
  return parse_run(argv, doc, {})[:2]


def parse_run(argv, doc, extra):
  """Reads --config, --workdir, --config.KEY=VALUE and a program's own flags.

  Args:
    argv: the command line, program first.
    doc: the program's docstring, for --help.
    extra: {flag: (placeholder, default, meaning)}. The type of the default
      (str, int, float or bool) is the type of the flag.

  Returns:
    The locked config, the run folder, and {flag: value} with --workdir as
    given.

  Raises:
    UserError: an unknown flag or option, an invalid value or path, or a recipe
      card that fails.
    SystemExit: after --help.
  """
  meaning = (
    'run folder; by default runs/CARD, or runs/CARD_FOLDER for own pictures in '
    'a folder'
  )
  workdir = {'workdir': ('DIR', '', meaning)}
  config, values = parse_flags(argv, doc, workdir | extra)
  name = values['workdir'] or run_name.workdir(config_path(argv), config)
  return config, files.place(name), values


def parse_flags(argv, doc, extra):
  """Reads --config, --config.KEY=VALUE and a program's own flags.

  Args:
    argv: the command line, program first.
    doc: the program's docstring, for --help.
    extra: {flag: (placeholder, default, meaning)}. The type of the default
      (str, int, float or bool) is the type of the flag.

  Returns:
    The locked config, and {flag: value} of the flags in `extra`.

  Raises:
    UserError: an unknown flag or option, an invalid value or path, or a recipe
      card that fails.
    SystemExit: after --help.
  """
  if _HELP & set(argv):
    texts.show(texts.of_config(doc, extra))
    raise SystemExit(0)
  official.check(argv, extra, OPTIONS)
  argv = paths.expand_card(argv)
  values = flags.FlagValues()
  config_flags.DEFINE_config_file(
    'config', None, 'recipe card', flag_values=values, sys_argv=argv
  )
  _define(values, extra)
  with _explained(argv, f'{config_path(argv)} (--config)'):
    _read(values, argv)
    config = values.config
    config.to_dict()  # raises any error hidden in a lazy value
  paths.expand_options(config)
  return config, _values(values, extra)


def parse_changes(argv, extra, options):
  """Reads --config.KEY=VALUE without a recipe card, and a program's own flags.

  Args:
    argv: the command line, program first, without --config and --help.
    extra: {flag: (placeholder, default, meaning)}. The type of the default
      (str, int, float or bool) is the type of the flag.
    options: names of the options that the program lets the user change.

  Returns:
    {option: value} of the options given, and {flag: value} of the flags in
    `extra`.

  Raises:
    UserError: an unknown flag or option, or an invalid value or path. Options
      that are not in `options` raise no error here, but later in
      `changes.check`.
  """
  official.check(argv, extra, options)
  values = flags.FlagValues()
  with _explained(argv, '--config.KEY=VALUE'):
    config_flags.DEFINE_config_dict(
      'config', get_config(), flag_values=values, sys_argv=argv
    )
    _define(values, extra)
    _read(values, argv)
    config = values.config
  paths.expand_options(config)
  given = config_flags.get_override_values(values['config'])
  chosen = flatten(config.to_dict())
  return {key: chosen[key] for key in given}, _values(values, extra)


def _read(values, argv):
  rest = values(argv)
  if len(rest) > 1:
    raise UserError(f'{rest[1]!r} is not a flag: see --help')


def _values(values, extra):
  """Returns {flag: value} of a program's own flags, `~` expanded in paths."""
  return paths.expand_flags(extra, {x: values[x].value for x in extra})


@contextlib.contextmanager
def _explained(argv, what):
  """Turns errors of the body into a `UserError` of one line.

  Args:
    argv: the command line, searched for an option that does not exist.
    what: name of the config that is read, for the message.
  """
  try:
    yield
  except UserError:
    raise
  except flags.Error as e:
    raise UserError(' '.join(str(e).split())) from e
  except (AttributeError, KeyError, TypeError) as e:
    raise UserError(_wrong_key(argv) or _last_line(what, e)) from e
  except Exception as e:  # the code of a recipe card may raise any exception
    raise UserError(_last_line(what, e)) from e


def parse_plain(argv, doc, extra):
  """Reads the flags of a program that takes no config.

  Args:
    argv: the command line, program first.
    doc: the program's docstring, for --help.
    extra: {flag: (placeholder, default, meaning)}. The type of the default
      (str, int, float or bool) is the type of the flag.

  Returns:
    The list of arguments that are not flags, and {flag: value}.

  Raises:
    UserError: an unknown flag, or an invalid value or path.
    SystemExit: after --help.
  """
  if _HELP & set(argv):
    texts.show(texts.plain(doc, extra))
    raise SystemExit(0)
  official.check(argv, extra)
  values = flags.FlagValues()
  values.set_gnu_getopt(True)  # flags may come after arguments
  _define(values, extra)
  try:
    rest = values(argv)
  except flags.Error as e:
    raise UserError(' '.join(str(e).split())) from e
  return rest[1:], _values(values, extra)


def require(values, *names):
  """Raises `UserError` for the first flag of `names` without a value.

  Args:
    values: {flag: value}.
    *names: flags that the program needs.
  """
  for name in names:
    if values[name] in ('', None):
      raise UserError(f'no --{name}: this flag is required (see --help)')


def _define(values, extra):
  define = {
    bool: flags.DEFINE_boolean,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
  }
  for name, (_, default, meaning) in extra.items():
    define[type(default)](name, default, meaning, flag_values=values)


def config_path(argv):
  """Returns the path of the recipe card in the last --config of `argv`.

  Raises:
    UserError: no --config is given, or the recipe card does not exist or is in
      a bucket.
  """
  given = None
  for flag, following in zip(argv, [*argv[1:], '']):
    name, equals, value = flag.lstrip('-').partition('=')
    if flag.startswith('-') and name == 'config':
      given = value if equals else following
  if not given:
    raise UserError(
      'no --config: give a recipe card, such as '
      '--config=configs/summer2winter.py (see --help)'
    )
  if files.remote(given):  # Python runs the recipe card, from a local file
    raise UserError(f'{given} (--config): copy the recipe card to a local path')
  return cards.find(files.expanded(given))


def _wrong_key(argv):
  """Returns a message on the first --config.KEY that is no option, or None."""
  for flag in argv:
    key = flag.lstrip('-').removeprefix('no').partition('=')[0]
    section, dot, key = key.partition('.')
    if section == 'config' and dot and key not in OPTIONS:
      close = difflib.get_close_matches(key, OPTIONS, n=1)
      hint = f'did you mean --config.{close[0]}? ' if close else ''
      return f'no option --config.{key}: {hint}see --help'
  return None


def _last_line(what, error):
  lines = [x.strip() for x in str(error).splitlines() if x.strip()]
  reason = lines[-1] if lines else 'no reason given'
  return f'{what} fails: {type(error).__name__}: {reason}'
