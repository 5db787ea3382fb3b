"""The training loop, for any method."""

import contextlib
import json
from collections.abc import Callable
from typing import NamedTuple

import jax
from clu import parameter_overview

from cyclegan_jax import loop, optim, parallel, train_state
from cyclegan_jax.checkpoint import Checkpoints
from cyclegan_jax.common import files, hosts
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.log import Log, NoLog
from cyclegan_jax.methods.base import Method
from cyclegan_jax.metrics.table import markdown
from cyclegan_jax.profiling import Profile
from cyclegan_jax.samples import Sampler
from cyclegan_jax.training import evaluation


class Rhythm(NamedTuple):
  """How often, in steps, things happen, and at the last step; 0: never.

  The last state is saved in any case.
  """

  log: int = 100
  sample: int = 1000
  checkpoint: int = 1000
  evaluate: int = 0


class Keep(NamedTuple):
  """Which checkpoints stay: the newest, and every so many steps; 0: no more."""

  newest: int = 3
  every: int = 0


class Run(NamedTuple):
  """All that decides a run, in plain values.

  Attributes:
    method: a `Method`.
    optimizers: {'gen', 'disc'}, optax transformations.
    learning_rates: {'gen', 'disc'}, the rates that `schedule` scales.
    schedule: an `optim.Schedule`.
    data: a `Dataset`.
    batch_size: pictures of each domain in a batch, over all devices.
    parts: parts of a device's batch whose gradients add up, to save memory.
    steps_per_call: steps a call to the device does.
    seed: decides parameters, data order, augmentation, dropout and pool.
    pool_size: size of the image pools.
    ema_decay: of the generators' moving average; 0 keeps none.
    devices: devices to use; 0 for all.
    map: a name of `parallel.MAPS`.
    rhythm: a `Rhythm`.
    keep: a `Keep`.
    samples: test pictures in a sample grid.
    save_memory: whether the device may take longer to use less memory.
    skip_nonfinite: whether to pass over steps with NaN or infinity in a loss or
      a gradient; else they stop the run.
    initial: () -> {'gen', 'disc'}, trained parameters to begin with, of some
      or all networks; None to begin with random ones.
    profile: a `profiling.Profile`, or None.
    stuck_after: seconds without a step after which the stacks of all threads
      are written to standard error; 0 for never.
    evaluate: (step, (images, direction) -> images, {'gen'}) -> {name: number},
      called in the rhythm to measure the test pictures; None for never.
  """

  method: Method
  optimizers: dict
  learning_rates: dict
  schedule: optim.Schedule
  data: Dataset
  batch_size: int = 1
  parts: int = 1
  steps_per_call: int = 1
  seed: int = 0
  pool_size: int = 50
  ema_decay: float = 0.0
  devices: int = 0
  map: str = 'shard_map'
  rhythm: Rhythm = Rhythm()
  keep: Keep = Keep()
  samples: int = 4
  save_memory: bool = False
  skip_nonfinite: bool = False
  initial: Callable | None = None
  evaluate: Callable | None = None
  profile: Profile | None = None
  stuck_after: int = 0


class Result(NamedTuple):
  """How a call of `train` ended.

  Attributes:
    step: steps done.
    state: the state then.
    signal: the signal that stopped it before the last step, or None.
    rows: rows of `evaluation.final_table`, or None if it stopped or the test
      pictures are no pairs.
  """

  step: int
  state: train_state.TrainState
  signal: int | None = None
  rows: list | None = None


class Workdir:
  """Names of what a run leaves in its folder."""

  def __init__(self, path):
    self.path = files.absolute(files.place(path))
    self.checkpoints = self.path / 'checkpoints'
    self.samples = self.path / 'samples'
    self.best = self.path / 'best'
    self.tensorboard = self.path / 'tensorboard'
    self.parameters = self.path / 'parameters.txt'
    self.test_json = self.path / 'test_metrics.json'
    self.test_markdown = self.path / 'test_metrics.md'

  def forget_test(self):
    """Removes the test figures, which will be measured anew."""
    for path in (self.test_json, self.test_markdown):
      path.unlink(missing_ok=True)

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
      trained before it is saved), a step gave NaN or infinity, `workdir` holds
      another kind of run, or it can't be written (what was saved stays).
  """
  if not hosts.writes():
    say = _silent
  work = Workdir(workdir)
  work.path.mkdir(parents=True, exist_ok=True)
  mesh = parallel.make_mesh(run.devices)
  local = parallel.local_batch_size(run.batch_size, mesh, run.parts)
  loop.check_rhythm(run)
  share = (jax.process_index() * local, local)
  state = _initial_state(run, mesh, work, say)
  sampler = Sampler(
    run.method, {d: run.data.test_images(d, run.samples) for d in 'ab'}
  )
  checkpoints = Checkpoints(work.checkpoints, *run.keep)
  with contextlib.closing(checkpoints):
    if checkpoints.latest_step() is not None:
      state = checkpoints.restore(state, say)
      say(f'continuing {work.path} from step {int(state.step)}')
    elif run.initial:
      state = parallel.replicate(
        train_state.with_params(state, run.initial()), mesh
      )
    if int(state.step) < run.schedule.steps and hosts.writes():
      work.forget_test()
    hosts.wait_for_all('start')
    log = Log(work.path, int(state.step)) if hosts.writes() else NoLog()
    with contextlib.closing(log):
      state, number = loop.steps(
        run, state, mesh, share, sampler, log, checkpoints, stop_at, say
      )
  step = int(state.step)
  if step < run.schedule.steps:
    return Result(step, state, number)
  return Result(step, state, None, _test(run, state, sampler, work))


def _silent(line):
  """Says nothing: the first process speaks for all."""


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
  if hosts.writes():
    overview = parameter_overview.get_parameter_overview(state.params)
    files.write(work.parameters, overview + '\n')
  return parallel.replicate(state, mesh)


def _test(run, state, sampler, work):
  """Measures the test pictures, if they are pairs, and writes the table."""
  if not run.data.source.paired:
    return None
  there = work.test_json.exists()
  hosts.wait_for_all('test')  # the first process is about to write it
  if there:
    return json.loads(work.test_json.read_text())
  translate = sampler.translation(state.translation_params())
  rows = evaluation.final_table(translate, run.data, run.method.directions)
  if hosts.writes():
    files.write(work.test_markdown, markdown(rows))
    files.write(work.test_json, json.dumps(rows, indent=2) + '\n')
  return rows
