"""What a user gets to read when something they gave does not fit."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

_Value = TypeVar('_Value')


class UserError(ValueError):
  """A mistake in the input: one line that names the file or option.

  The programs print it without a stack trace and exit with its code.
  """

  code = 2


class Temporary(UserError):
  """What may go away by itself, so that whoever starts a program may retry."""

  code = 1


def choose(names: Iterable[str], name: str, what: str) -> str:
  """Returns `name`, or raises a `UserError` if it is not among the names.

  Args:
    names: the names there are.
    name: the name asked for.
    what: the option it was given for, as the user spells it.
  """
  lookup(dict.fromkeys(names), name, what)
  return name


def lookup(table: Mapping[str, _Value], name: str, what: str) -> _Value:
  """`table[name]`, or a `UserError` that lists the names there are.

  Args:
    table: the names and what they stand for.
    name: the name asked for.
    what: the option it was given for, as the user spells it.
  """
  if name in table:
    return table[name]
  close = difflib.get_close_matches(str(name), table, n=1)
  hint = f'did you mean {close[0]!r}? ' if close else ''
  raise UserError(
    f'{what}={name!r} is unknown: {hint}choose from {", ".join(sorted(table))}'
  )
