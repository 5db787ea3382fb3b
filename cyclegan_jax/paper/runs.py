"""The commands of a suite: training, evaluation and pictures of its runs."""

import pathlib
import sys
from typing import NamedTuple

from cyclegan_jax.defaults import MAY_CHANGE
from cyclegan_jax.paper import jobs, suites
from cyclegan_jax.training.workdir import Workdir

# metric -> what a data set has to have for it
_NEEDS = {
  'l1': 'pairs',
  'psnr': 'pairs',
  'ssim': 'pairs',
  'dice': 'pairs',
  'lpips': 'pairs',
  'lpips_vgg': 'pairs',
  'fcn': 'labels',
  'palette': 'labels',
}
# Options whose change leaves a finished run as it is.
_NO_MATTER = tuple(
  key
  for key in MAY_CHANGE
  if not key.startswith(
    ('schedule.', 'data.root', 'data.paired', 'data.on_bad_image')
  )
)
# They change what is measured of it, though.
_SHOWN = ('data.show_a', 'data.show_b')
# metric -> the domains whose colours it reads
_COLOURS = {'fcn': 'ab', 'palette': 'b'}
_PRETRAINED = ('lpips', 'lpips_vgg', 'kd_vgg', 'fd_vgg', 'kd_alex', 'fd_alex')
_NO_SEGMENTER = (
  'but its pixel accuracy of label maps, as there is no --segmenter, nor label '
  'maps of training pictures to train one'
)
DEFAULT_METRICS = 'l1,psnr,ssim,lpips,kd_vgg,fcn'


class Experiment(NamedTuple):
  """All that decides what a call of the program runs.

  Attributes:
    options: {option: value} of the config, with the user's overrides.
    given: the user's --config and --config.KEY=VALUE, as they were given.
    facts: options -> `suites.Facts` of their data.
    pretrained: whether there are pretrained weights to measure with.
    workdir: the folder of all of it.
    seeds: how many of each run, from the config's seed on.
    metrics: names with commas between them.
    segmenter: where it is; '' for one that is trained here if it can be.
    palette: whose colours tell the classes of B's test pictures, or ''.
    inception: where its weights are, or ''.
    python: what a command begins with, up to the name of the program.
  """

  options: dict
  given: list
  facts: object
  pretrained: bool
  workdir: pathlib.Path
  seeds: int = 3
  metrics: str = DEFAULT_METRICS
  segmenter: str = ''
  palette: str = ''
  inception: str = ''
  python: tuple = (sys.executable, '-m')

  @property
  def best(self):
    """The config's evaluate.best, 'lpips b2a' say; '' for last weights only."""
    return self.options['evaluate.best']

  def program(self, name, *flags):
    """The words that start a program of this project with the config."""
    return [*self.python, f'cyclegan_jax.{name}', *self.given, *flags]

  def folder(self, row, seed):
    """The folder of a run."""
    return self.workdir / 'runs' / row.run / f'seed{seed}'

  def names(self):
    """The names of the metrics."""
    return list(dict.fromkeys(self.metrics.replace(',', ' ').split()))

  def seed_numbers(self):
    """The seeds of a row's runs."""
    first = self.options['seed']
    return range(first, first + self.seeds)

  def changed(self, row, test=False):
    """{option: value} a row is trained or tested with, defaults left out."""
    changed = suites.overrides(row, self.options)
    return changed | (dict(row.test) if test else {})


def all_jobs(experiment, rows):
  """The jobs of some rows, each run once.

  Args:
    experiment: an `Experiment`.
    rows: `Row`s; those of one run share its training.

  Returns:
    [`jobs.Job`], one a run and seed, the seeds of a run together.
  """
  by_run = {}
  for row in rows:
    by_run.setdefault(row.run, {})[row.evaluation] = row
  return [
    _job(experiment, list(tests.values()), seed)
    for tests in by_run.values()
    for seed in experiment.seed_numbers()
  ]


def _job(experiment, rows, seed):
  row, folder = rows[0], experiment.folder(rows[0], seed)
  changed = experiment.changed(row) | {'seed': seed, 'log.report': False}
  settings = {
    key: value
    for key, value in (experiment.options | changed).items()
    if not key.startswith(_NO_MATTER)
  } | {jobs.TRAINING: experiment.facts(experiment.options | changed).training}
  train = jobs.Step(
    'training',
    experiment.program('main', *_flags(changed), f'--workdir={folder}'),
    settings,
    Workdir(folder).checkpoints,
  )
  # In an order that does not depend on the suites asked for.
  rows = sorted(rows, key=lambda row: row.evaluation)
  steps = [_evaluation(experiment, row, folder, settings) for row in rows]
  if seed == experiment.seed_numbers()[0]:
    steps += [_pictures(experiment, row, folder, settings) for row in rows]
  job = jobs.Job(f'{row.run} seed {seed}', folder, [train])
  if experiment.best and (job.left() or has_best(experiment, folder)):
    steps += [
      _evaluation(experiment, row, folder, settings, best=True) for row in rows
    ]
  return job._replace(steps=[train, *steps])


def has_best(experiment, folder):
  """Returns True if a run kept best weights by the config's metric."""
  from cyclegan_jax.training.evaluation import best_so_far  # it loads JAX

  kept = best_so_far(Workdir(folder).best)
  return bool(kept) and kept.get('best') == experiment.best


def without_best(experiment, rows):
  """Names of the trained runs that kept no best weights by that metric."""
  if not experiment.best:
    return []
  tests = {row.best_evaluation for row in rows}
  return [
    job.name
    for job in all_jobs(experiment, rows)
    if tests.isdisjoint(step.what for step in job.steps)
  ]


def _evaluation(experiment, row, folder, trained, best=False):
  changed = experiment.changed(row, test=True)
  name = row.best_evaluation if best else row.evaluation
  model = Workdir(folder).best if best else folder
  chosen = {'evaluate.best': experiment.best} if best else {}
  output = folder / f'{name}.json'
  flags = {'metrics': metrics(experiment, row)[0]}
  if 'fcn' in flags['metrics'].split(',') and (
    segmenter := _segmenter(experiment)
  ):
    flags['segmenter'] = segmenter
  for flag in ('palette', 'inception'):
    if value := getattr(experiment, flag):
      flags[flag] = value
  return jobs.Step(
    name,
    experiment.program(
      'evaluate',
      *_flags(changed),
      f'--model={model}',
      *(f'--{flag}={value}' for flag, value in flags.items()),
      f'--output={output}',
    ),
    trained | row.test | flags | _tests(experiment, changed) | chosen,
    output,
  )


def _segmenter(experiment):
  """Where the segmenter is; '' if there is none."""
  trained = str(experiment.workdir / 'segmenter')
  return experiment.segmenter or (segmenter_job(experiment) and trained) or ''


def _pictures(experiment, row, folder, trained):
  changed = experiment.changed(row, test=True)
  return jobs.Step(
    row.pictures,
    experiment.program(
      'paper.pictures',
      *_flags(changed),
      f'--model={folder}',
      f'--output={folder / row.pictures}',
    ),
    trained | row.test | _tests(experiment, changed),
    folder / row.pictures,
  )


def _tests(experiment, changed):
  options = experiment.options | changed
  shown = {key: options[key] for key in _SHOWN if options[key] != 'auto'}
  return {jobs.TESTS: experiment.facts(options).tests} | shown


def _flags(changed):
  return [f'--config.{key}={value}' for key, value in changed.items()]


def metrics(experiment, row):
  """The metrics that go with a row's data, and lines on those left out."""
  options = experiment.options | experiment.changed(row, test=True)
  facts = experiment.facts(options)
  kept, lines = [], []
  for name in experiment.names():
    reason = _reason(experiment, name, options, facts)
    if reason:
      lines.append(f'{name}, {reason}')
    else:
      kept.append(name)
    if reason == _NO_SEGMENTER:
      kept.append('palette')
  return ','.join(dict.fromkeys(kept)), lines


def _reason(experiment, name, options, facts):
  """Why a metric can't be; None if it can."""
  need = _NEEDS.get(name)
  labels = facts.labels or bool(experiment.palette)
  if need == 'labels' and not labels:
    return 'as the test pictures have no label maps'
  for domain in _COLOURS.get(name, ''):
    if options[f'data.channels_{domain}'] not in (1, 3):
      return f'as the pictures of {domain.upper()} are neither gray nor RGB'
  if need == 'pairs' and not facts.pairs:
    return 'as the test pictures have no true pairs'
  if name in _PRETRAINED and not experiment.pretrained:
    return "as it needs pip install 'cyclegan_jax[metrics]'"
  if name == 'fcn' and facts.pairs and not _segmenter(experiment):
    return _NO_SEGMENTER
  return None


def segmenter_job(experiment):
  """The job that trains a segmenter; None where it can't be or is given."""
  facts = experiment.facts(experiment.options)
  channels = [experiment.options[f'data.channels_{d}'] for d in 'ab']
  wanted = 'fcn' in experiment.names() and facts.labels
  wanted = wanted and set(channels) <= {1, 3}
  if experiment.segmenter or not wanted or not facts.train_labels:
    return None
  folder = experiment.workdir / 'segmenter'
  step = jobs.Step(
    'training',
    experiment.program('segmenter', f'--workdir={folder}'),
    {k: v for k, v in experiment.options.items() if k.startswith('data.')}
    | {jobs.TRAINING: facts.training},
    folder,
  )
  return jobs.Job('segmenter', folder, [step])
