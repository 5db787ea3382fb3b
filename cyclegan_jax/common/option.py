"""Options of the config: a default, a help text and the allowed values."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple


class Range(NamedTuple):
  """Range of values that a numeric option may have.

  Attributes:
    text: the range in words, to complete 'must be ...' in a message.
    holds: number -> True if the number is in the range.
  """

  text: str
  holds: Callable


class Option(NamedTuple):
  """Option of the config.

  Attributes:
    default: the default value; its type is the type of the option.
    meaning: help text for --help; begins with the values to choose from, if
      any.
    range: the allowed `Range`; None for text, and for numbers that are checked
      elsewhere.
  """

  default: object
  meaning: str
  range: Range | None = None


def option(default: Any, meaning: str, range: Range | None = None) -> Any:
  """Returns a dataclass field that is also an option of a config section.

  A network class declares by it the options that only this kind of network has.
  `options_of` lists the options of a dataclass.

  Args:
    default: default value of the field and the option.
    meaning: help text for --help; begins with the values to choose from, if
      any.
    range: the allowed `Range` of a number; None for text, and for numbers that
      are checked elsewhere.
  """
  line = Option(default, meaning, range)
  return dataclasses.field(default=default, metadata={'option': line})


def options_of(kind: type) -> dict[str, Option]:
  """Returns {field name: `Option`} of a dataclass's fields made by `option`.

  Args:
    kind: the dataclass, such as a network class.
  """
  return {
    field.name: field.metadata['option']
    for field in dataclasses.fields(kind)
    if 'option' in field.metadata
  }
