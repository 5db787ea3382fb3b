"""The training loop, for any method."""

import collections
import contextlib
import json
import pathlib
import signal
import time
from typing import NamedTuple

import jax
import numpy as np
from clu import parameter_overview

from cyclegan_jax import (
  data,
  evaluation,
  optim,
  parallel,
  train_state,
  train_step,
)
from cyclegan_jax.checkpoint import Checkpoints
from cyclegan_jax.errors import UserError
from cyclegan_jax.log import Log, Progress
from cyclegan_jax.methods.method import Method
from cyclegan_jax.samples import Sampler


class Rhythm(NamedTuple):
  """How often, in steps, things happen, and at the last step; 0: never.

  The last state is saved in any case.
  """

  log: int = 100
  sample: int = 1000
  checkpoint: int = 1000


class Run(NamedTuple):
  """All that decides a run, in plain values.

  Attributes:
    method: a `Method`.
    optimizers: {'gen', 'disc'}, optax transformations.
    learning_rates: {'gen', 'disc'}, the rates that `schedule` scales.
    schedule: an `optim.Schedule`.
    data: a `data.Dataset`.
    batch_size: pictures of each domain in a batch, over all devices.
    parts: parts of a device's batch whose gradients add up, to save memory.
    steps_per_call: steps a call to the device does.
    seed: decides parameters, data order, augmentation, dropout and pool.
    pool_size: size of the image pools.
    ema_decay: of the generators' moving average; 0 keeps none.
    devices: devices to use; 0 for all.
    map: a name of `parallel.MAPS`.
    rhythm: a `Rhythm`.
    keep: checkpoints kept.
    samples: test pictures in a sample grid.
  """

  method: Method
  optimizers: dict
  learning_rates: dict
  schedule: optim.Schedule
  data: data.Dataset
  batch_size: int = 1
  parts: int = 1
  steps_per_call: int = 1
  seed: int = 0
  pool_size: int = 50
  ema_decay: float = 0.0
  devices: int = 0
  map: str = 'shard_map'
  rhythm: Rhythm = Rhythm()
  keep: int = 3
  samples: int = 4


class Result(NamedTuple):
  """How a call of `train` ended.

  Attributes:
    step: steps done.
    state: the state then.
    signal: the signal that stopped it before the last step, or None.
    rows: rows of `evaluation.paired_table`, or None if it stopped or the test
      pictures are no pairs.
  """

  step: int
  state: train_state.TrainState
  signal: int | None = None
  rows: list | None = None


class Workdir:
  """Names of what a run leaves in its folder."""

  def __init__(self, path):
    self.path = pathlib.Path(path).absolute()
    self.checkpoints = self.path / 'checkpoints'
    self.samples = self.path / 'samples'
    self.tensorboard = self.path / 'tensorboard'
    self.parameters = self.path / 'parameters.txt'
    self.test_json = self.path / 'test_metrics.json'
    self.test_markdown = self.path / 'test_metrics.md'

  def last_sample(self):
    """The newest sample grid, or None."""
    return max(self.samples.glob('*.png'), default=None)


def train(run, workdir, *, stop_at=None, say=print):
  """Trains from the newest checkpoint of `workdir`, or from the start.

  Args:
    run: a `Run`.
    workdir: folder of checkpoints, logs and samples, made if missing.
    stop_at: a step to stop at, as a signal would; None for none.
    say: prints a line to the user.

  Returns:
    A `Result`.

  Raises:
    UserError: batch and devices don't fit, a picture can't be used (what was
      trained before it is saved), `workdir` holds another kind of run.
  """
  work = Workdir(workdir)
  work.path.mkdir(parents=True, exist_ok=True)
  mesh = parallel.make_mesh(run.devices)
  local = parallel.local_batch_size(run.batch_size, mesh, run.parts)
  _check_rhythm(run)
  share = (jax.process_index() * local, local)
  state = _initial_state(run, mesh, work, say)
  sampler = Sampler(
    run.method, {d: run.data.test_images(d, run.samples) for d in 'ab'}
  )
  checkpoints = Checkpoints(work.checkpoints, run.keep)
  with contextlib.closing(checkpoints):
    if checkpoints.latest_step() is not None:
      state = checkpoints.restore(state)
      say(f'continuing {work.path} from step {int(state.step)}')
    with contextlib.closing(Log(work.path, int(state.step))) as log:
      state, number = _steps(
        run, state, mesh, share, sampler, log, checkpoints, stop_at, say
      )
  step = int(state.step)
  if step < run.schedule.steps:
    return Result(step, state, number)
  return Result(step, state, None, _test(run, state, sampler, work))


def _initial_state(run, mesh, work, say):
  state = train_state.create(
    run.method,
    run.optimizers,
    jax.random.PRNGKey(run.seed),
    run.data.example_batch(),
    pool_size=run.pool_size,
    ema=run.ema_decay > 0,
  )
  for group, nets in state.params.items():
    for name, params in nets.items():
      count = parameter_overview.count_parameters(params)
      say(f'{group}/{name}: {count:,} parameters')
  work.parameters.write_text(
    parameter_overview.get_parameter_overview(state.params) + '\n'
  )
  return parallel.replicate(state, mesh)


def _check_rhythm(run):
  """Calls of several steps have to end where something happens."""
  for what, steps in zip(
    ('every', 'sample_every', 'checkpoint_every'), run.rhythm
  ):
    if steps % run.steps_per_call:
      raise UserError(
        f'log.{what}={steps} is not a multiple of train.steps_per_call='
        f'{run.steps_per_call}: make it one'
      )


class _Device:
  """Calls the compiled step, at most two calls ahead of the device.

  So the device always has work, and what is logged as waiting for input is
  time that it lacked some.
  """

  def __init__(self, run, mesh, batches):
    step = train_step.make_step(
      run.method, run.optimizers, ema_decay=run.ema_decay, parts=run.parts
    )
    self._one = parallel.map_step(step, mesh, run.map)
    self._several = parallel.map_step(step, mesh, run.map, several=True)
    self._batches = batches
    self._running = collections.deque()
    self.waited = 0.0

  def __call__(self, state, count):
    """Starts `count` steps; the state and metrics they will give."""
    while len(self._running) >= 2:
      jax.block_until_ready(self._running.popleft())
    start = time.monotonic()
    batches = [next(self._batches) for _ in range(count)]
    self.waited += time.monotonic() - start
    if count == 1:
      state, metrics = self._one(state, batches[0])
    else:
      stacked = jax.tree.map(lambda *x: np.stack(x), *batches)
      state, metrics = self._several(state, stacked)
    self._running.append(metrics)
    return state, metrics


def _steps(run, state, mesh, share, sampler, log, checkpoints, stop_at, say):
  """Steps up to the last one, or until something stops it."""
  last = run.schedule.steps
  step = int(state.step)
  batches = run.data.batches(run.seed, run.batch_size, step, share)
  device = _Device(run, mesh, batches)
  progress = Progress(step, last, run.batch_size)
  later = []  # what waits for results, done while the next step runs

  def every(rhythm):
    return bool(rhythm) and (step % rhythm == 0 or step == last)

  def finish():
    while later:
      work, *args = later.pop(0)
      work(*args)

  def numbers(step, metrics, speed):
    metrics = jax.device_get(metrics)
    rates = {
      f'lr_{name}': rate * run.schedule.factor(step - 1)
      for name, rate in run.learning_rates.items()
    }
    log.numbers(step, metrics | rates, speed)
    say(progress.line(step, metrics, speed))

  def sample(step, pictures):
    log.sample(step, sampler.grid(pictures))

  with _StopSignals() as stop:
    while step < last and not stop.number and step != stop_at:
      # The steps that fill no call at the end come singly.
      count = run.steps_per_call if step + run.steps_per_call <= last else 1
      try:
        state, metrics = device(state, count)
      except UserError:
        finish()
        checkpoints.save(step, state)
        raise
      step += count
      finish()
      if every(run.rhythm.log):
        speed = progress.speed(step, device.waited)
        later.append((numbers, step, metrics, speed))
      if every(run.rhythm.sample):
        later.append((sample, step, sampler.start(state)))
      if every(run.rhythm.checkpoint):
        later.append((checkpoints.save, step, checkpoints.copy(state)))
    finish()
    checkpoints.save(step, state)
  return state, stop.number


class _StopSignals:
  """Takes note of the first SIGINT or SIGTERM; the second acts as usual."""

  def __enter__(self):
    self.number = None
    self._before = {}
    with contextlib.suppress(ValueError):  # not in the main thread: no signals
      for number in (signal.SIGINT, signal.SIGTERM):
        self._before[number] = signal.signal(number, self._note)
    return self

  def _note(self, number, frame):
    del frame
    self.number = number
    self._restore()

  def _restore(self):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def __exit__(self, *error):
    self._restore()


def _test(run, state, sampler, work):
  """Measures the test pictures, if they are pairs, and writes the table."""
  if not run.data.source.paired:
    return None
  if work.test_json.exists():
    return json.loads(work.test_json.read_text())
  params = state.translation_params()
  rows = evaluation.paired_table(
    lambda image, direction: np.asarray(
      sampler.translate(params, image, direction)
    ),
    {d: run.data.test_images(d) for d in ('a', 'b')},
    run.method.directions,
    run.data.source.labels,
  )
  work.test_markdown.write_text(evaluation.markdown(rows))
  work.test_json.write_text(json.dumps(rows, indent=2) + '\n')
  return rows
