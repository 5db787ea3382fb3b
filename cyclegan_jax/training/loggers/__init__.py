"""Loggers of numbers and pictures, by the names that log.to knows them by.

metrics.jsonl and samples/ are written by `training.log.Log` in any case.
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
    names: of `LOGGERS`.

  Raises:
    UserError: an unknown name, a package that is not installed, or a logger
      that the user has to prepare.
  """
  for name in names:
    logger = lookup(LOGGERS, name, 'log.to')
    for package in logger.packages:
      if not importlib.util.find_spec(package):
        extra = f'cyclegan_jax[{logger.extra}]' if logger.extra else package
        raise UserError(
          f"log.to={name} needs {package}: pip install '{extra}', or leave "
          f'{name} out of log.to'
        )
    logger.check()
