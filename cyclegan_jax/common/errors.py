"""Errors for invalid input, shown to the user as one line."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

_Value = TypeVar('_Value')


class UserError(ValueError):
  """Error for invalid input, with a one-line message.

  The message names the file or option. The programs print the message without a
  stack trace and exit with the code of the error, here 2.
  """

  code = 2


class Temporary(UserError):
  """Error that may go away by itself, so the program may be started again.

  The programs exit with code 1.
  """

  code = 1


def choose(names: Iterable[str], name: str, what: str) -> str:
  """Returns `name` after checking that it is one of the known names.

  Args:
    names: the known names.
    name: the name that the user gave.
    what: the option or flag that the name was given for, as the user spells it,
      for the message.

  Raises:
    UserError: `name` is not a known name; the message lists them.
  """
  lookup(dict.fromkeys(names), name, what)
  return name


def lookup(table: Mapping[str, _Value], name: str, what: str) -> _Value:
  """Returns `table[name]`.

  Args:
    table: the known names and the value of each.
    name: the name that the user gave.
    what: the option or flag that the name was given for, as the user spells it,
      for the message.

  Raises:
    UserError: `name` is not in the table; the message lists the known names.
  """
  if name in table:
    return table[name]
  close = difflib.get_close_matches(str(name), table, n=1)
  hint = f'did you mean {close[0]!r}? ' if close else ''
  raise UserError(
    f'{what}={name!r} is unknown: {hint}choose from {", ".join(sorted(table))}'
  )
