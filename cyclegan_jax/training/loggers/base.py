"""The interface of a logger, an entry of `LOGGERS`."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cyclegan_jax.training.workdir import Workdir


def _ready():
  """Does nothing, for a logger that the user need not prepare."""


class Logger(NamedTuple):
  """A further destination of the metrics and sample grids of a run.

  `open` returns an object with four methods. They are called in the main thread
  of the first process, in the order of steps:

  - numbers(step, metrics, speed): logs two dicts {name: float}. There can be
    several calls per step, each with other names.
  - picture(step, picture): logs a sample grid, uint8 [height, width, 3].
  - flush(): writes everything logged so far to where it is safe if the process
    is killed. A checkpoint is saved afterwards.
  - close(code): flushes and closes the logger. `code` is the exit code of this
    process.

  A run that was killed is resumed from its newest checkpoint, and the repeated
  steps are bit-identical. The logger then receives the steps after `start_step`
  again and must keep each step only once.

  Attributes:
    open: (workdir, start_step, options, say) -> the object. `workdir` is a
      `Workdir`; `start_step` is the step from which the run is resumed, 0 for a
      new run; `options` is {'section.key': value} of the run; `say` prints a
      line to the user.
    packages: names of the modules that the logger imports.
    extra: name of the extra of this package that installs these modules; '' for
      none.
    check: () -> None, raises a `UserError` if the user must prepare the logger
      first.
  """

  open: Callable[[Workdir, int, Mapping[str, Any], Callable[[str], None]], Any]
  packages: tuple[str, ...] = ()
  extra: str = ''
  check: Callable[[], None] = _ready
