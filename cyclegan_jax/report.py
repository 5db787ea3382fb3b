"""Writes a report of a run, one HTML page to look at and to pass on:

    python -m cyclegan_jax.report --workdir=DIR [--output=FILE] [--pictures=N]

The page shows the config, curves, sample grids of the training, test pictures
with their translations, and test results. All of this is inside the file, so
the page opens in any browser, without a server or a network. Exit codes: 0:
done. 2: invalid input; a one-line message says why.
"""

import datetime
import json
import sys

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program

PICTURES = 24
FLAGS = {
  'workdir': ('DIR', '', 'run folder'),
  'output': (
    'FILE',
    '',
    'page to write; by default report/index.html in the run folder',
  ),
  'pictures': (
    'N',
    PICTURES,
    'test pictures per direction, in addition to the best and worst; 0: none',
  ),
}
_STAMP = '%Y-%m-%d %H:%M UTC'
_COLUMNS = (
  ' From left to right: a picture of A, its translation, its reconstruction, '
  'and the identity image if A and B have equal channels; then the same for B.'
)
_SCRIPTS = ('curves.js', 'pictures.js', 'page.js')
_DEVICES = 8  # devices that are named; further ones are only counted


def main(argv):
  rest, values = flags.parse_plain(argv, __doc__, FLAGS)
  if rest:
    raise UserError(f'{rest[0]!r} is not a flag: see --help')
  flags.require(values, 'workdir')
  program.quiet()
  path = write(values['workdir'], values['output'], values['pictures'])
  print(f'report: {path} ({len(path.read_bytes()) / 1e6:.1f} MB)')


def write(workdir, output=None, pictures=PICTURES):
  """Writes the report of a run, finished or not.

  Args:
    workdir: the run folder.
    output: the file to write; by default workdir/report/index.html.
    pictures: number of test pictures per direction, spread evenly over the test
      set, in addition to the best and worst; 0 translates none.

  Returns:
    The path of the page.

  Raises:
    UserError: the folder is not a run, one of its files cannot be read, or the
      page cannot be written.
  """
  from cyclegan_jax.common import files
  from cyclegan_jax.pages.render import render
  from cyclegan_jax.report_page import curves, gallery, grids, scores
  from cyclegan_jax.training.workdir import Workdir

  if pictures < 0:
    raise UserError(f'--pictures={pictures} must be 0 or more')
  work, workdir = Workdir(workdir), files.place(workdir)
  path = files.place(output) if output else work.report
  config = _config(workdir)
  lines = curves.read(work.metrics)
  shown = gallery.gallery(workdir, pictures)
  samples = grids.grids(work.samples)
  names = [direction['name'] for direction in shown['directions']]
  if not samples['titled'] and names == ['a2b', 'b2a']:
    samples['note'] += _COLUMNS
  page = render(
    'cyclegan_jax.report_page',
    _SCRIPTS,
    f'{work.path.name}: report',
    {
      'name': work.path.name,
      'facts': _facts(work, config, lines, shown['step']),
      'config': _options(config),
      'curves': curves.curves(lines),
      'samples': samples,
      'gallery': shown,
      'tests': scores.scores(work, lines),
    },
  )
  with files.writing(path, '--output'):
    files.write(path, page)
  return path


def _config(workdir):
  """Returns {'section.key': value} of a run's config.json."""
  from cyclegan_jax.config.options import flatten
  from cyclegan_jax.training.workdir import Workdir

  path = Workdir(workdir).config
  if not workdir.is_dir():
    raise UserError(f'no folder {workdir} (--workdir): give a run folder')
  if not path.is_file():
    raise UserError(
      f'{workdir} (--workdir) is not a run, it has no config.json: give the '
      '--workdir of a run'
    )
  try:
    content = json.loads(path.read_text())
    return flatten(content)
  except (OSError, ValueError, AttributeError) as e:
    raise UserError(f'{path} cannot be read as a config ({e})') from e


def _options(config):
  """Returns the tables of options that differ from their defaults, or do not.

  Returns:
    {'changed', 'same'}: each [[option, value, default, meaning]], all texts.
  """
  from cyclegan_jax.defaults import OPTIONS, Option

  rows = {'changed': [], 'same': []}
  for key in [*OPTIONS, *(key for key in config if key not in OPTIONS)]:
    default, meaning, _ = OPTIONS.get(
      key, Option(None, 'not an option of this version')
    )
    value = config.get(key, default)
    which = 'same' if key in OPTIONS and value == default else 'changed'
    rows[which].append([key, _text(value), _text(default), meaning])
  return rows


def _text(value):
  return value if isinstance(value, str) else json.dumps(value)


def _facts(work, config, lines, translated):
  """Returns [[name, value]] for the head of the page, unknown values left out.

  Args:
    work: the `Workdir` of the run.
    config: {'section.key': value}.
    lines: the result of `curves.read`.
    translated: step of the checkpoint of the test pictures, or None.
  """
  environment = _content(work.environment, dict) or {}
  step = max([line['step'] for line in lines] + [translated or 0])
  last = _last_step(config, _content(work.run, dict))
  state = f'{step:,}'
  if last:
    done = 'finished' if step >= last else 'not finished'
    state = f'{step:,} of {last:,}, {done}'
    if step > last:
      state = f'{step:,}, finished (more than the {last:,} steps of the config)'
  packages = environment.get('packages', {})
  versions = {
    'JAX': packages.get('jax'),
    'Flax': packages.get('flax'),
    'Python': environment.get('python'),
  }
  devices = environment.get('devices', [])
  more = len(devices) - _DEVICES
  facts = {
    'Step': state,
    'Method': _text(config.get('method', '')),
    'Last written': _written(work),
    'Version': environment.get('version'),
    'Git commit': environment.get('git_commit'),
    'Devices': ', '.join(map(str, devices[:_DEVICES]))
    + (f' and {more} more' if more > 0 else ''),
    'Versions': ', '.join(f'{what} {x}' for what, x in versions.items() if x),
    'Platform': environment.get('platform'),
    'Report made': datetime.datetime.now(datetime.UTC).strftime(_STAMP),
  }
  return [[what, str(value)] for what, value in facts.items() if value]


def _written(work):
  """Returns the latest time at which the run wrote to its files, as text."""
  paths = work.config, work.metrics, work.test_json
  latest = max(_time(path.stat()) for path in paths if path.exists())
  return datetime.datetime.fromtimestamp(latest, datetime.UTC).strftime(_STAMP)


def _time(stat):
  """Returns the modification time, of a local file or of one in a bucket."""
  return stat.st_mtime if hasattr(stat, 'st_mtime') else stat.mtime


def _last_step(config, run):
  """Returns the number of the run's last step; None if it is not known."""
  try:
    units = config['schedule.constant'] + config['schedule.decay']
    if config['schedule.unit'] == 'steps':
      return units
    # The same count of steps as data.pipeline.steps_per_epoch.
    size = max(domain['count'] for domain in run['pictures'].values())
    return units * -(-size // config['train.batch_size'])
  except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError):
    return None


def _content(path, kind):
  """Returns the content of a JSON file; None if it is not of the given type."""
  try:
    content = json.loads(path.read_text())
  except (OSError, ValueError):
    return None
  return content if isinstance(content, kind) else None


if __name__ == '__main__':
  sys.exit(program.run(main))
