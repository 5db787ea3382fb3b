"""From a config to a Run: data, optimizers, schedule and evaluation."""

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
  """The run a config asks for.

  Args:
    config: a ConfigDict; ranges of values that are measured are recorded in it.
    workdir: the run's folder, which may have measured them before; or None.

  Raises:
    UserError: a value that can't be or makes no difference, or data that isn't
      there.
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
  """The `Logging` of the section log, whose loggers can be opened."""
  log = {**options, 'to': tuple(registry.names(options.to))}
  del log['report']  # made by the command, when the run has ended
  if hosts.writes():  # other processes open no loggers
    loggers.check(log['to'])
  return Logging(**log)


def _decay_from(schedule, steps_per_epoch):
  """The first step of the decay, which is the length of all before it."""
  constant = {**schedule, 'decay': 0}
  return optim.schedule(steps_per_epoch=steps_per_epoch, **constant).steps


def build_evaluation(config, run, workdir, save):
  """Returns the `Tracker` of the test pictures during training, or None.

  Args:
    config: the config.
    run: the `Run` it asks for.
    workdir: the run's folder; the best weights go into `best` there.
    save: (folder, params) -> None, writes a model.

  Raises:
    UserError: a metric that can't be had, `evaluate.best` is none of them, or
      there are no test pictures and training pictures were not asked for.
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
  """{'gen', 'disc', 'heads'}, the optimizers a config asks for."""
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
  """The data a config asks for, no picture looked at yet."""
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
  """Raises `UserError` for a plain number out of its range."""
  for key, value in flatten(config.to_dict()).items():
    allowed = OPTIONS[key].range
    if allowed and not allowed.holds(value):
      raise UserError(f'{key}={value} must be {allowed.text}')
  if config.schedule.constant + config.schedule.decay < 1:
    raise UserError('schedule.constant + schedule.decay must be at least 1')
