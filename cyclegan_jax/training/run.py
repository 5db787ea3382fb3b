"""A run in plain values, and how it ended.

Fields that are options have the option's name.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import optax

from cyclegan_jax.common.types import Params, Translate
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.methods.base import Method
from cyclegan_jax.training.optim import Schedule
from cyclegan_jax.training.profiling import Profile
from cyclegan_jax.training.state import TrainState


class Logging(NamedTuple):
  """Intervals in steps (0: never), and what is kept: the options log.*.

  Everything enabled also happens at the last step, and the last state is saved
  in any case.

  Attributes:
    every: between logged numbers.
    sample_every: between sample grids.
    checkpoint_every: between checkpoints.
    keep: newest checkpoints that are kept.
    keep_every: between checkpoints that are kept for good.
    samples: test pictures in a sample grid.
    stuck_after: seconds without a step after which the stacks of all threads
      are written to standard error; 0: never.
    to: names of `loggers.LOGGERS`.
  """

  every: int = 100
  sample_every: int = 1000
  checkpoint_every: int = 1000
  keep: int = 3
  keep_every: int = 0
  samples: int = 4
  stuck_after: int = 0
  to: tuple[str, ...] = ('tensorboard',)


class Run(NamedTuple):
  """All that decides a run, in plain values.

  Attributes:
    method: a `Method`.
    optimizers: {'gen', 'disc', 'heads'}, optax transformations.
    schedule: an `optim.Schedule`.
    data: a `Dataset`.
    lr: learning rate of the generators, for the log; `schedule` scales it.
    lr_discriminator: the same of the discriminators.
    lr_heads: the same of the projection heads; None where there are none.
    batch_size: pictures of each domain in a batch, over all devices.
    accumulate: parts of a device's batch whose gradients add up, to save
      memory.
    steps_per_call: steps in one call to the device.
    seed: decides parameters, data order, augmentation, dropout and pool.
    pool_size: size of the image pools.
    ema_decay: decay of the generators' moving average; 0 keeps none.
    on_nonfinite: 'stop' or 'skip': the effect of a step with NaN or infinity
      in a loss or a gradient.
    remat: a name of `nets.generators.REMATS`; any but 'none' also lets a CPU
      take longer to use less memory.
    devices: number of devices to use; 0 for all.
    map: a name of `parallel.MAPS`.
    log: a `Logging`.
    init_from: () -> {'gen', 'disc'}, trained parameters to begin with, of some
      or all networks; None to begin with random ones.
    evaluate: (step, (images, direction) -> images, {'gen'}) -> {name: number},
      measures the test pictures; None for never.
    evaluate_every: steps between calls of `evaluate`; 0: never.
    profile: a `profiling.Profile`, or None.
    options: {'section.key': value}, what the user chose, for loggers.
  """

  method: Method
  optimizers: Mapping[str, optax.GradientTransformation]
  schedule: Schedule
  data: Dataset
  lr: float
  lr_discriminator: float
  lr_heads: float | None = None
  batch_size: int = 1
  accumulate: int = 1
  steps_per_call: int = 1
  seed: int = 0
  pool_size: int = 50
  ema_decay: float = 0.0
  on_nonfinite: str = 'stop'
  remat: str = 'none'
  devices: int = 0
  map: str = 'shard_map'
  log: Logging = Logging()
  init_from: Callable[[], Params] | None = None
  evaluate: Callable[[int, Translate, Params], dict[str, float]] | None = None
  evaluate_every: int = 0
  profile: Profile | None = None
  options: Mapping[str, Any] = MappingProxyType({})


class Result(NamedTuple):
  """The outcome of a call of `train`.

  Attributes:
    step: steps done.
    state: the state then.
    signal: the signal that stopped it before the last step, or None.
    rows: rows of `evaluation.final_table`, or None if it stopped or the test
      pictures are no pairs.
  """

  step: int
  state: TrainState
  signal: int | None = None
  rows: list[dict[str, Any]] | None = None
