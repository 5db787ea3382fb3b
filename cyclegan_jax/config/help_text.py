"""The texts of --help."""

import contextlib

from cyclegan_jax.common import terminal
from cyclegan_jax.config import cards
from cyclegan_jax.defaults import OPTIONS


def show(text):
  """Prints a text of which the reader takes what it likes, as `| head`."""
  with terminal.patient():
    print(text)
  with contextlib.suppress(terminal.Closed):
    terminal.check()


def of_config(doc, extra):
  """The text of --help of a program that takes a config.

  Args:
    doc: the program's docstring.
    extra: {flag: (placeholder, default, meaning)}.
  """
  width = max(map(len, OPTIONS)) + 10
  lines = [
    doc.strip(),
    '',
    'Flags:',
    f'  {"--config=FILE":<{width}} recipe card: a file, or one of '
    f'{", ".join(cards.names())}',
  ]
  lines += _flag_lines(extra, width)
  lines += [
    '',
    'Options of the recipe card, changed by --config.KEY=VALUE (defaults):',
  ]
  for key, (default, meaning, _) in OPTIONS.items():
    lines.append(f'  {"--config." + key:<{width}} {meaning} ({default!r})')
  return '\n'.join(lines)


def plain(doc, extra):
  """The text of --help of a program that takes no config."""
  return '\n'.join([doc.strip(), '', 'Flags:', *_flag_lines(extra, 28)])


def _flag_lines(extra, width):
  lines = []
  for name, (placeholder, default, meaning) in extra.items():
    known = f' ({default!r})' if default not in ('', False, 0, -1) else ''
    flag = f'--{name}={placeholder}' if placeholder else f'--{name}'
    lines.append(f'  {flag:<{width}} {meaning}{known}')
  return [*lines, f'  {"--help":<{width}} this text']
