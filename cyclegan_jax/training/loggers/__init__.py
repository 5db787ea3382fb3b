"""Loggers of metrics and sample grids, by their names in the option log.to.

`training.log.Log` always writes metrics.jsonl and samples/, with any loggers.
"""

import importlib.util

from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.training.loggers import tensorboard, wandb

LOGGERS = {
  'tensorboard': tensorboard.LOGGER,
  'wandb': wandb.LOGGER,
}


def check(names):
  """Checks that loggers can be opened.

  Args:
    names: names of the loggers, of `LOGGERS`.

  Raises:
    UserError: a name is unknown, a package is not installed, or the user must
      prepare a logger first, for example log in.
  """
  for name in names:
    logger = lookup(LOGGERS, name, 'log.to')
    for package in logger.packages:
      if not importlib.util.find_spec(package):
        extra = f'cyclegan_jax[{logger.extra}]' if logger.extra else package
        raise UserError(
          f"log.to={name} needs {package}: pip install '{extra}', or remove "
          f'{name} from log.to'
        )
    logger.check()
