"""The settings of a run as plain values, and the result of a training.

A field that holds the value of an option has the name of that option.
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
  """The options `log.*`: intervals in steps (0 = never), and limits.

  Everything enabled also happens at the last step. The last state is always
  saved.

  Attributes:
    every: steps between logged metrics.
    sample_every: steps between sample grids.
    checkpoint_every: steps between checkpoints.
    keep: number of newest checkpoints to keep.
    keep_every: checkpoints of steps divisible by this number are never removed;
      0 for none.
    samples: number of test pictures of each domain in a sample grid.
    stuck_after: seconds without a step after which the stack traces of all
      threads are written to standard error; 0 = never.
    to: names of the loggers, of `loggers.LOGGERS`.
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
  """All settings of a run, as plain values.

  Attributes:
    method: the `Method` to train.
    optimizers: {'gen', 'disc', 'heads'}, the optax transformation of each group
      of networks.
    schedule: the `optim.Schedule`, which also holds the number of steps.
    data: the `Dataset` to train on.
    lr: learning rate of the generators before the schedule. It is only logged:
      `optimizers` hold the rates that are used.
    lr_discriminator: learning rate of the discriminators, only logged too.
    lr_heads: learning rate of the projection heads, only logged too; None for
      methods without heads.
    batch_size: pictures of each domain in a batch, over all devices.
    accumulate: number of parts of a device's batch that are processed one after
      the other to save memory. Their gradients are averaged.
    steps_per_call: number of steps in one call of the compiled program.
    seed: seed of parameters, data order, augmentation, dropout and image pools.
    pool_size: number of images in each image pool; 0 for no pool.
    ema_decay: decay of the moving average of the generators' weights; 0 for no
      average.
    on_nonfinite: 'stop' or 'skip', the reaction to NaN or infinity in a loss or
      a gradient.
    remat: a name of `nets.generators.REMATS`. With any name but 'none', a CPU
      also runs operations in sequence, which takes less memory and more time.
    devices: number of devices to use; 0 for all.
    map: a name of `parallel.MAPS`.
    log: the `Logging`.
    init_from: () -> {'gen': {name: params}, 'disc': {name: params}}, the
      initial parameters of some or all networks; None for random parameters.
    evaluate: (step, translate, {'gen': params}) -> {name: number}, measures the
      test set, where `translate` is (images, direction) -> images; None for no
      evaluation during training.
    evaluate_every: steps between calls of `evaluate`; 0 = never.
    profile: the `profiling.Profile` to write, or None.
    options: {'section.key': value} of the user's config, for loggers.
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
  """The result of a call of `trainer.train`.

  Attributes:
    step: number of steps done.
    state: the `TrainState` after these steps.
    signal: number of the signal that stopped the run before its last step, or
      None.
    rows: the rows of `evaluation.final_table`; None if the run stopped before
      its last step or the test pictures are not true pairs.
  """

  step: int
  state: TrainState
  signal: int | None = None
  rows: list[dict[str, Any]] | None = None
