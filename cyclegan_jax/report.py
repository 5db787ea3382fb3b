"""Makes one page of a run, to look at it and to hand it on:

    python -m cyclegan_jax.report --workdir=DIR [--output=FILE] [--pictures=N]

The page holds all it shows: config, curves, sample grids through time, test
pictures with their translations, and the test figures. It opens in any browser,
without a server or a network. Exit codes: 0 done, 2 something given doesn't
fit.
"""

import datetime
import json
import sys

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program

PICTURES = 24
FLAGS = {
  'workdir': ('DIR', '', "the run's folder"),
  'output': ('FILE', '', 'page it writes; DIR/report/index.html'),
  'pictures': (
    'N',
    PICTURES,
    'test pictures a direction, besides the best and worst; 0: none',
  ),
}
_STAMP = '%Y-%m-%d %H:%M UTC'
_COLUMNS = (
  ' From left: a picture of A, its translation, that translated back, where '
  'channels agree the identity picture; then the same from B.'
)
_SCRIPTS = ('curves.js', 'pictures.js', 'page.js')
_DEVICES = 8  # named; of more the number is told


def main(argv):
  rest, values = flags.parse_plain(argv, __doc__, FLAGS)
  if rest:
    raise UserError(f'{rest[0]!r} is no flag: see --help')
  flags.require(values, 'workdir')
  program.quiet()
  path = write(values['workdir'], values['output'], values['pictures'])
  print(f'report: {path} ({len(path.read_bytes()) / 1e6:.1f} MB)')


def write(workdir, output=None, pictures=PICTURES):
  """Writes the page of a run, finished or not.

  Args:
    workdir: the run's folder.
    output: the file to write; workdir/report/index.html if empty.
    pictures: test pictures a direction, spread evenly, besides the best and
      worst; 0 translates none.

  Returns:
    The path of the page.

  Raises:
    UserError: no run, a file of it that can't be read, or a page that can't be
      written.
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
  """{'section.key': value} of a run's config.json."""
  from cyclegan_jax.config.options import flatten
  from cyclegan_jax.training.workdir import Workdir

  path = Workdir(workdir).config
  if not workdir.is_dir():
    raise UserError(f"no folder {workdir} (--workdir): give a run's folder")
  if not path.is_file():
    raise UserError(
      f'{workdir} (--workdir) is no run, it has no config.json: give the '
      '--workdir of a training'
    )
  try:
    content = json.loads(path.read_text())
    return flatten(content)
  except (OSError, ValueError, AttributeError) as e:
    raise UserError(f'{path} cannot be read as a config ({e})') from e


def _options(config):
  """{'changed', 'same'}: [[option, value, default, meaning]] as texts."""
  from cyclegan_jax.defaults import OPTIONS, Option

  rows = {'changed': [], 'same': []}
  for key in [*OPTIONS, *(key for key in config if key not in OPTIONS)]:
    default, meaning, _ = OPTIONS.get(
      key, Option(None, 'no option of this version')
    )
    value = config.get(key, default)
    which = 'same' if key in OPTIONS and value == default else 'changed'
    rows[which].append([key, _text(value), _text(default), meaning])
  return rows


def _text(value):
  return value if isinstance(value, str) else json.dumps(value)


def _facts(work, config, lines, translated):
  """[[what, value]] of the page's head; what is not known is left out."""
  environment = _content(work.environment, dict) or {}
  step = max([line['step'] for line in lines] + [translated or 0])
  last = _last_step(config, _content(work.run, dict))
  state = f'{step:,}'
  if last:
    done = 'finished' if step >= last else 'not finished'
    state = f'{step:,} of {last:,}, {done}'
    if step > last:
      state = f'{step:,}, finished (beyond the {last:,} steps asked for)'
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
  """When the run wrote last, as text."""
  paths = work.config, work.metrics, work.test_json
  latest = max(_time(path.stat()) for path in paths if path.exists())
  return datetime.datetime.fromtimestamp(latest, datetime.UTC).strftime(_STAMP)


def _time(stat):
  return stat.st_mtime if hasattr(stat, 'st_mtime') else stat.mtime


def _last_step(config, run):
  """The run's last step; None if its files do not tell."""
  try:
    units = config['schedule.constant'] + config['schedule.decay']
    if config['schedule.unit'] == 'steps':
      return units
    # An epoch as data.pipeline.steps_per_epoch counts it.
    size = max(domain['count'] for domain in run['pictures'].values())
    return units * -(-size // config['train.batch_size'])
  except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError):
    return None


def _content(path, kind):
  """The content of a JSON file; None if there is none of that kind."""
  try:
    content = json.loads(path.read_text())
  except (OSError, ValueError):
    return None
  return content if isinstance(content, kind) else None


if __name__ == '__main__':
  sys.exit(program.run(main))
