"""Commands that train and evaluate the runs of a suite and write pictures."""

import pathlib
import sys
from typing import NamedTuple

from cyclegan_jax.defaults import MAY_CHANGE
from cyclegan_jax.paper import jobs, suites
from cyclegan_jax.training.workdir import Workdir

# metric -> what the dataset must have
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
# Options that do not change the result of a finished run.
_NO_MATTER = tuple(
  key
  for key in MAY_CHANGE
  if not key.startswith(
    ('schedule.', 'data.root', 'data.paired', 'data.on_bad_image')
  )
)
# Options that change the evaluation, though not the training.
_SHOWN = ('data.show_a', 'data.show_b')
# metric -> domains whose colours the metric reads
_COLOURS = {'fcn': 'ab', 'palette': 'b'}
_PRETRAINED = ('lpips', 'lpips_vgg', 'kd_vgg', 'fd_vgg', 'kd_alex', 'fd_alex')
_NO_SEGMENTER = (
  'because there is no --segmenter and no label maps of training pictures to '
  'train one; the pixel accuracy of label maps is still measured'
)
DEFAULT_METRICS = 'l1,psnr,ssim,lpips,kd_vgg,fcn'


class Experiment(NamedTuple):
  """Settings of a call of `cyclegan_jax.experiments`.

  The methods return commands, folders and options of its runs.

  Attributes:
    options: {option: value} of the whole config, overrides included.
    given: arguments --config and --config.KEY=VALUE of the command line.
    facts: function ({option: value}) -> `suites.Facts` (pairs, label maps and
      digests) of the data of these options.
    pretrained: True if the pretrained weights of the metrics are installed.
    workdir: folder of the runs, tables and figures.
    seeds: number of runs per row; their seeds count up from the config's seed.
    metrics: names of metrics, separated by commas.
    segmenter: path of the segmenter for the metric fcn. With '', a segmenter
      is trained if the training pictures have label maps.
    palette: name of the palette by which label maps are read from the colours
      of B's test pictures, or ''.
    inception: path of the weights of Inception, or ''.
    python: first arguments of every command, up to the name of the module.
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
    """The option evaluate.best, such as 'lpips b2a'.

    Training keeps the best weights by this metric and direction. With '' only
    the last weights are kept and tested.
    """
    return self.options['evaluate.best']

  def program(self, name, *flags):
    """Returns the argument list that runs a program of the package.

    Args:
      name: module below cyclegan_jax, such as 'main' or 'paper.pictures'.
      *flags: further arguments, which follow those of the config.
    """
    return [*self.python, f'cyclegan_jax.{name}', *self.given, *flags]

  def folder(self, row, seed):
    """Returns the run folder of a row and a seed: WORKDIR/runs/RUN/seedN.

    Args:
      row: a `suites.Row`.
      seed: the seed, a number.
    """
    return self.workdir / 'runs' / row.run / f'seed{seed}'

  def names(self):
    """Returns the list of names in `metrics`, without repetitions."""
    return list(dict.fromkeys(self.metrics.replace(',', ' ').split()))

  def seed_numbers(self):
    """Returns the range of the seeds of each row."""
    first = self.options['seed']
    return range(first, first + self.seeds)

  def changed(self, row, test=False):
    """Returns {option: value} that a row changes in the config.

    Args:
      row: a `suites.Row`.
      test: if True, the row's options of the test alone are added.
    """
    changed = suites.overrides(row, self.options)
    return changed | (dict(row.test) if test else {})


def all_jobs(experiment, rows):
  """Returns the jobs of some rows: training, evaluation and pictures.

  Args:
    experiment: an `Experiment`.
    rows: list of `suites.Row`. Rows with the same `run` share one training.

  Returns:
    List of `jobs.Job`, one per run and seed; the seeds of a run follow each
    other.
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
  # Sorted: the order must not depend on which suites are run.
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
  """Returns True if a run kept best weights by the metric evaluate.best.

  Args:
    experiment: an `Experiment`.
    folder: the run folder.
  """
  from cyclegan_jax.training.evaluation import best_so_far  # imports JAX

  kept = best_so_far(Workdir(folder).best)
  return bool(kept) and kept.get('best') == experiment.best


def without_best(experiment, rows):
  """Returns the trained runs that kept no best weights by evaluate.best.

  Args:
    experiment: an `Experiment`.
    rows: list of `suites.Row`.

  Returns:
    Names of the jobs; [] if the config does not set evaluate.best.
  """
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
  """Returns the path of the segmenter, or '' if none is given or trainable."""
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
  """Chooses the metrics that can be computed on the test pictures of a row.

  If the metric fcn is left out because there is no segmenter, the metric
  palette (pixel accuracy of label maps) takes its place.

  Args:
    experiment: an `Experiment`.
    row: a `suites.Row`.

  Returns:
    (names, lines): the names of the metrics, separated by commas, and a list of
    lines 'METRIC, REASON', one for each metric that is left out.
  """
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
  """Returns the reason why a metric cannot be computed, or None if it can."""
  need = _NEEDS.get(name)
  labels = facts.labels or bool(experiment.palette)
  if need == 'labels' and not labels:
    return 'because the test pictures have no label maps'
  for domain in _COLOURS.get(name, ''):
    if options[f'data.channels_{domain}'] not in (1, 3):
      return (
        f'because the pictures of {domain.upper()} are neither gray nor RGB'
      )
  if need == 'pairs' and not facts.pairs:
    return 'because the test pictures have no true pairs'
  if name in _PRETRAINED and not experiment.pretrained:
    return "because it needs pip install 'cyclegan_jax[metrics]'"
  if name == 'fcn' and facts.pairs and not _segmenter(experiment):
    return _NO_SEGMENTER
  return None


def segmenter_job(experiment):
  """Returns the job that trains a segmenter for the metric fcn.

  Args:
    experiment: an `Experiment`.

  Returns:
    A `jobs.Job`, or None if no segmenter is needed (fcn is not measured, or
    --segmenter is given), or if the data cannot train one (no label maps of
    training and test pictures, or pictures that are neither gray nor RGB).
  """
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
