"""The command line: flags, --help, and the recipe card with its overrides."""

import difflib
import pathlib

from absl import flags
from ml_collections import config_flags

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.defaults import OPTIONS

_HELP = {'--help', '-h', '-help', '--helpfull'}
# Flags of the programs that read a model; `model.from_flags` takes them.
MODEL_FLAGS = {
  'model': ('PATH', '', 'run, folder of weights, or .pth file'),
  'direction': ('a2b|b2a', '', 'where to; may be left out where there is one'),
  'step': ('N', -1, 'checkpoint of a run to take; -1: the newest'),
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
  workdir = {'workdir': ('DIR', '', 'folder of the run; runs/<config name>')}
  config, values = parse_flags(argv, doc, workdir | extra)
  name = f'runs/{config_path(argv).stem}'
  return config, files.place(values['workdir'] or name), values


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
    print(_help(doc, extra))
    raise SystemExit(0)
  values = flags.FlagValues()
  config_flags.DEFINE_config_file(
    'config', None, 'recipe card', flag_values=values, sys_argv=argv
  )
  _define(values, extra)
  path = config_path(argv)
  try:
    rest = values(argv)
    config = values.config
    config.to_dict()  # raises what went wrong in the card, if anything did
  except flags.Error as e:
    raise UserError(' '.join(str(e).split())) from e
  except (AttributeError, KeyError, TypeError) as e:
    raise UserError(_wrong_key(argv) or _last_line(path, e)) from e
  except Exception as e:  # whatever the card's own code raises
    raise UserError(_last_line(path, e)) from e
  if len(rest) > 1:
    raise UserError(f'{rest[1]!r} is no flag: see --help')
  return config, {name: values[name].value for name in extra}


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
    print('\n'.join([doc.strip(), '', 'Flags:', *_flag_lines(extra, 28)]))
    raise SystemExit(0)
  values = flags.FlagValues()
  values.set_gnu_getopt(True)  # flags may come behind arguments
  _define(values, extra)
  try:
    rest = values(argv)
  except flags.Error as e:
    raise UserError(' '.join(str(e).split())) from e
  return rest[1:], {name: values[name].value for name in extra}


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
  """The recipe card named last, which must exist."""
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
  given = pathlib.Path(given)
  if not given.is_file():
    cards = sorted(str(p) for p in given.parent.glob('*.py'))
    hint = f'there are {", ".join(cards)}' if cards else 'see --help'
    raise UserError(f'no file {given} (--config): {hint}')
  return given


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


def _last_line(path, error):
  lines = [x.strip() for x in str(error).splitlines() if x.strip()]
  reason = lines[-1] if lines else 'no reason given'
  return f'{path} (--config) fails: {type(error).__name__}: {reason}'


def _help(doc, extra):
  width = max(map(len, OPTIONS)) + 10
  lines = [
    doc.strip(),
    '',
    'Flags:',
    f'  {"--config=FILE":<{width}} recipe card, one of configs/*.py',
  ]
  lines += _flag_lines(extra, width)
  lines += [
    '',
    'Options of the recipe card, changed by --config.KEY=VALUE (defaults):',
  ]
  for key, (default, meaning, _) in OPTIONS.items():
    lines.append(f'  {"--config." + key:<{width}} {meaning} ({default!r})')
  return '\n'.join(lines)


def _flag_lines(extra, width):
  lines = []
  for name, (placeholder, default, meaning) in extra.items():
    known = f' ({default!r})' if default not in ('', False, 0, -1) else ''
    flag = f'--{name}={placeholder}' if placeholder else f'--{name}'
    lines.append(f'  {flag:<{width}} {meaning}{known}')
  return [*lines, f'  {"--help":<{width}} this text']
