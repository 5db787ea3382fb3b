"""Builders of the Run of a config: data, optimizers, schedule, evaluation."""

from cyclegan_jax.common import hosts
from cyclegan_jax.common.errors import UserError, choose
from cyclegan_jax.common.images import show_channels
from cyclegan_jax.config import ranges
from cyclegan_jax.config.method import build_method
from cyclegan_jax.config.options import flatten
from cyclegan_jax.config.unused import check_used
from cyclegan_jax.data import own_source, volumes
from cyclegan_jax.data.bad_pictures import ON_BAD_IMAGE
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.data.preprocess import check_in_decay, preprocess
from cyclegan_jax.data.sources import SOURCES
from cyclegan_jax.defaults import OPTIONS
from cyclegan_jax.methods import METHODS
from cyclegan_jax.metrics import registry, test_set
from cyclegan_jax.metrics.base import Needs
from cyclegan_jax.training import evaluation, loggers, optim
from cyclegan_jax.training.run import Logging, Run
from cyclegan_jax.training.workdir import Workdir

_ON_NONFINITE = ('stop', 'skip')


def build_run(config, workdir=None):
  """Returns the `Run` that a config describes.

  Looks at the pictures: the header of every file is read, and ranges of pixel
  values are measured where needed.

  Args:
    config: a ConfigDict, modified: measured ranges are recorded in it.
    workdir: the run folder, or None. A resumed run keeps the ranges that are
      recorded there.

  Raises:
    UserError: an invalid value, an option that is set but not used, or missing
      or unusable pictures.
  """
  check_values(config)
  check_used(config)
  method = build_method(config)
  data = build_data(config)._replace(paired=method.paired).checked(trains=True)
  data = ranges.fix(config, data, workdir)
  epoch = data.steps_per_epoch(config.train.batch_size)
  schedule = optim.schedule(steps_per_epoch=epoch, **config.schedule)
  has_heads = 'optim.lr_heads' in METHODS[config.method].options
  return Run(
    method=method,
    optimizers=build_optimizers(config, schedule),
    schedule=schedule,
    data=data._replace(decay_from=_decay_from(config.schedule, epoch)),
    lr=config.optim.lr,
    lr_discriminator=config.optim.lr_discriminator,
    lr_heads=config.optim.lr_heads if has_heads else None,
    batch_size=config.train.batch_size,
    accumulate=config.train.accumulate,
    steps_per_call=config.train.steps_per_call,
    seed=config.seed,
    pool_size=config.pool_size,
    ema_decay=config.train.ema_decay,
    on_nonfinite=choose(
      _ON_NONFINITE, config.train.on_nonfinite, 'train.on_nonfinite'
    ),
    remat=config.generator.remat,
    devices=config.parallel.devices,
    map=config.parallel.map,
    log=_logging(config.log),
    evaluate_every=config.evaluate.every * epoch,
    options=flatten(config.to_dict()),
  )


def _logging(options):
  """Returns the `Logging` of the section `log`.

  Raises:
    UserError: an unknown logger, or one that cannot be used here.
  """
  log = {**options, 'to': tuple(registry.names(options.to))}
  del log['report']  # the command writes the report, after the run
  if hosts.writes():  # other processes open no loggers
    loggers.check(log['to'])
  return Logging(**log)


def _decay_from(schedule, steps_per_epoch):
  """Returns the first step of the decay: the number of steps before it."""
  constant = {**schedule, 'decay': 0}
  return optim.schedule(steps_per_epoch=steps_per_epoch, **constant).steps


def build_evaluation(config, run, workdir, save):
  """Returns the `Tracker` that measures the test set during training.

  Args:
    config: the config.
    run: the `Run` of the config.
    workdir: the run folder; the best weights are written to best/ in it.
    save: (folder, params) -> None, writes a model folder.

  Returns:
    The `Tracker`, or None if evaluate.every is 0.

  Raises:
    UserError: a metric that cannot be computed, an evaluate.best that is not
      one of the metrics, or no test pictures without
      evaluate.on_training_pictures.
  """
  c = config.evaluate
  if not c.every:
    if c.best:
      raise UserError(f'evaluate.best={c.best!r} needs evaluate.every=EPOCHS')
    return None
  tests = test_set.truth(run.data, c.on_training_pictures)
  directions = run.method.directions
  needs = Needs(
    tests.paired,
    directions,
    tests.colours,
    c.segmenter,
    inception=c.inception,
    prefix='evaluate.',
  )
  chosen = registry.make(registry.names(c.metrics), needs)
  best = evaluation.ranking(c.best, chosen, directions)
  test_set.check(tests, directions, chosen)
  return evaluation.Tracker(
    tests, directions, chosen, best, Workdir(workdir).best, save
  )


def build_optimizers(config, schedule):
  """Returns the optimizers of a config.

  Args:
    config: a ConfigDict.
    schedule: the `optim.Schedule`: the factor of the learning rates at each
      step.

  Returns:
    {'gen', 'disc', 'heads'}: optax transformations for the generators, the
    discriminators and the projection heads.
  """
  c = config.optim
  rates = {
    'gen': (c.lr, c.beta1),
    'disc': (c.lr_discriminator, c.beta1),
    'heads': (c.lr_heads, c.beta1_heads),
  }
  return {
    group: optim.optimizer(c.name, rate, beta1, c.beta2, schedule.factor)
    for group, (rate, beta1) in rates.items()
  }


def build_data(config):
  """Returns the `Dataset` of a config; finds pictures without opening them.

  Raises:
    UserError: an invalid value of an option, or a dataset that is not found.
  """
  c = config.data
  prepare = preprocess(c.preprocess, c.load_size, c.crop_size, c.flip)
  check_in_decay(prepare, c.load_size_in_decay)
  source = own_source.pictures(
    SOURCES, c.source, c.root, c.name, c.paired, dict(c)
  )
  source = volumes.expanded(source, c.axis, c.slices, c.pages)
  return Dataset(
    source,
    prepare,
    {'a': c.channels_a, 'b': c.channels_b},
    c.cache_gb,
    c.threads,
    choose(ON_BAD_IMAGE, c.on_bad_image, 'data.on_bad_image'),
    load_size_in_decay=c.load_size_in_decay,
    values=ranges.of_config(config),
    show={
      'a': show_channels(c.show_a, c.channels_a, 'data.show_a'),
      'b': show_channels(c.show_b, c.channels_b, 'data.show_b'),
    },
  )


def check_values(config):
  """Raises `UserError` for a number outside its range, or a run of 0 steps."""
  for key, value in flatten(config.to_dict()).items():
    allowed = OPTIONS[key].range
    if allowed and not allowed.holds(value):
      raise UserError(f'{key}={value} must be {allowed.text}')
  if config.schedule.constant + config.schedule.decay < 1:
    raise UserError('schedule.constant + schedule.decay must be at least 1')
