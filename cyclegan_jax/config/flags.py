"""The command line: flags, --help, and the recipe card with its overrides."""

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
# Flags of the programs that read a model; `model.from_flags` takes them.
MODEL_FLAGS = {
  'model': ('PATH', '', 'run, folder of weights, .pth file, or hf://USER/NAME'),
  'direction': ('a2b|b2a', '', 'where to; may be left out where there is one'),
  'step': (
    'N',
    -1,
    'checkpoint of a run, or epoch of official files, to take; -1: the newest',
  ),
  'batch-norm': (
    'NAME',
    'picture',
    "picture | average: statistics of each picture, or an official file's "
    'running averages (test.py --eval)',
  ),
}

# Flags of the programs that run on several processes; `processes.join` takes
# them.
PROCESS_FLAGS = {
  'distributed': (
    'auto',
    '',
    'several processes, found by Cloud TPU, GKE, Slurm or Open MPI',
  ),
  'coordinator': ('HOST:PORT', '', 'the same said by hand: of process 0,'),
  'num-processes': ('N', -1, 'how many there are,'),
  'process-id': ('I', -1, 'and which this one is, from 0'),
  'start-timeout': ('SECONDS', 300, 'to wait for the others at the start'),
  'heartbeat-timeout': (
    'SECONDS',
    100,
    'without a sign of life from one of them, after which all end',
  ),
}


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
  return parse_run(argv, doc, {})[:2]


def parse_run(argv, doc, extra):
  """The same, with a program's own flags as `parse_flags` takes them.

  Returns:
    The locked config, the work folder and {flag: value}.
  """
  meaning = 'folder of the run; runs/<config name>_<folder of own pictures>'
  workdir = {'workdir': ('DIR', '', meaning)}
  config, values = parse_flags(argv, doc, workdir | extra)
  name = values['workdir'] or run_name.workdir(config_path(argv), config)
  return config, files.place(name), values


def parse_flags(argv, doc, extra):
  """Reads --config, --config.KEY=VALUE and a program's own flags.

  Args:
    argv: the command line, program first.
    doc: the program's docstring, for --help.
    extra: {flag: (placeholder, default, meaning)}; the default, a text, a
      number or a boolean, decides what the flag takes.

  Returns:
    The locked config and {flag: value}.

  Raises:
    UserError: a flag, path, key or value that can't be.
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
    config.to_dict()  # raises what went wrong in the card, if anything did
  paths.expand_options(config)
  return config, _values(values, extra)


def parse_changes(argv, extra, options):
  """Reads --config.KEY=VALUE, with no recipe card, and a program's own flags.

  Args:
    argv: the command line, program first, without --config and --help.
    extra: as for `parse_flags`.
    options: the options that may change.

  Returns:
    {option: value} of the options given, and {flag: value}.

  Raises:
    UserError: a flag, path, key or value that can't be.
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
    raise UserError(f'{rest[1]!r} is no flag: see --help')


def _values(values, extra):
  """{flag: value} of a program's own flags, `~` expanded."""
  return paths.expand_flags(extra, {x: values[x].value for x in extra})


@contextlib.contextmanager
def _explained(argv, what):
  """Turns what goes wrong with `what`, a config, into a `UserError`."""
  try:
    yield
  except UserError:
    raise
  except flags.Error as e:
    raise UserError(' '.join(str(e).split())) from e
  except (AttributeError, KeyError, TypeError) as e:
    raise UserError(_wrong_key(argv) or _last_line(what, e)) from e
  except Exception as e:  # whatever a card's own code raises
    raise UserError(_last_line(what, e)) from e


def parse_plain(argv, doc, extra):
  """Reads the flags of a program that takes no config.

  Args:
    argv: the command line, program first.
    doc: the program's docstring, for --help.
    extra: as for `parse_flags`.

  Returns:
    The arguments that are no flags, and {flag: value}.

  Raises:
    UserError: a flag that is none, or a value of another kind.
    SystemExit: after --help.
  """
  if _HELP & set(argv):
    texts.show(texts.plain(doc, extra))
    raise SystemExit(0)
  official.check(argv, extra)
  values = flags.FlagValues()
  values.set_gnu_getopt(True)  # flags may come behind arguments
  _define(values, extra)
  try:
    rest = values(argv)
  except flags.Error as e:
    raise UserError(' '.join(str(e).split())) from e
  return rest[1:], _values(values, extra)


def require(values, *names):
  """Raises `UserError` for the first flag of `names` that was not given."""
  for name in names:
    if values[name] in ('', None):
      raise UserError(f'no --{name}: it has to be given (see --help)')


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
  """Path of the recipe card named last."""
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
  if files.remote(given):  # it is a program, and Python runs it
    raise UserError(f'{given} (--config): copy the recipe card to a disk')
  return cards.find(files.expanded(given))


def _wrong_key(argv):
  """What to say of the first override that is no option; None if all are."""
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
