"""A run in plain values, and how it ended."""

from collections.abc import Callable
from typing import NamedTuple

from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.methods.base import Method
from cyclegan_jax.training import optim
from cyclegan_jax.training import state as train_state
from cyclegan_jax.training.profiling import Profile


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
