"""The entry of a logger in the table of loggers."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cyclegan_jax.training.workdir import Workdir


def _ready():
  """Raises nothing: the logger needs no preparation by the user."""


class Logger(NamedTuple):
  """A further place for the numbers and pictures of a run.

  `open` returns an object with four methods, all called in the main thread, in
  the order of steps, and by the first process alone:

  - numbers(step, metrics, speed): two dicts {name: float}. A step can have
    several calls, each with other names.
  - picture(step, picture): a sample grid, uint8 [height, width, 3].
  - flush(): brings all of it to where a killed process does not lose it; a
    checkpoint is saved after this.
  - close(code): the same at the end of this process, whose exit code it is.

  A run that was killed is trained again from its newest checkpoint, with the
  same bits. The logger then gets the steps behind `start_step` once more, and
  keeps each once.

  Attributes:
    open: (workdir, start_step, options, say) -> the object. `workdir` is a
      `Workdir`; `start_step` the step that the run continues from, 0 for a new
      one; `options` {'section.key': value} of the run; `say` prints a line to
      the user.
    packages: modules that it imports.
    extra: the extra of this package that installs them.
    check: () -> None, raises a `UserError` if the logger cannot be used yet.
  """

  open: Callable[[Workdir, int, Mapping[str, Any], Callable[[str], None]], Any]
  packages: tuple[str, ...] = ()
  extra: str = ''
  check: Callable[[], None] = _ready
