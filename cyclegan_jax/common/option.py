"""Options: a default, a meaning and the values allowed."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple


class Range(NamedTuple):
  """Values that a number may have.

  Attributes:
    text: the range in words, behind 'must be'.
    holds: number -> whether it is in the range.
  """

  text: str
  holds: Callable


class Option(NamedTuple):
  """An option of the config.

  Attributes:
    default: the value where nobody changes it; its type is the option's.
    meaning: for --help; values to choose from stand first.
    range: a `Range`; None for texts, and numbers that are checked elsewhere.
  """

  default: object
  meaning: str
  range: Range | None = None


def option(default: Any, meaning: str, range: Range | None = None) -> Any:
  """A dataclass field that is an option of the config's section.

  For what one network alone can be told; `options_of` finds them.

  Args:
    default: as in `Option`.
    meaning: as in `Option`.
    range: as in `Option`.
  """
  line = Option(default, meaning, range)
  return dataclasses.field(default=default, metadata={'option': line})


def options_of(kind: type) -> dict[str, Option]:
  """{name: `Option`} of a dataclass's fields that `option` made."""
  return {
    field.name: field.metadata['option']
    for field in dataclasses.fields(kind)
    if 'option' in field.metadata
  }
