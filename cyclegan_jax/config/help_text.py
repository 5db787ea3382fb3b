"""Texts that the programs print for --help."""

import contextlib

from cyclegan_jax.common import terminal
from cyclegan_jax.config import cards
from cyclegan_jax.defaults import OPTIONS


def show(text):
  """Prints a text; a reader that closes the pipe early (`| head`) is no error.

  Args:
    text: the text.
  """
  with terminal.patient():
    print(text)
  with contextlib.suppress(terminal.Closed):
    terminal.check()


def of_config(doc, extra):
  """Returns the --help text of a program that takes a config.

  The text lists the flags, then all options with meaning and default.

  Args:
    doc: the program's docstring, at the top of the text.
    extra: {flag: (placeholder, default, meaning)} of the program's own flags.
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
    'Options, set by the recipe card or by --config.KEY=VALUE (default):',
  ]
  for key, (default, meaning, _) in OPTIONS.items():
    lines.append(f'  {"--config." + key:<{width}} {meaning} ({default!r})')
  return '\n'.join(lines)


def plain(doc, extra):
  """Returns the --help text of a program that takes no config.

  Args:
    doc: the program's docstring, at the top of the text.
    extra: {flag: (placeholder, default, meaning)} of the program's flags.
  """
  return '\n'.join([doc.strip(), '', 'Flags:', *_flag_lines(extra, 28)])


def _flag_lines(extra, width):
  lines = []
  for name, (placeholder, default, meaning) in extra.items():
    known = f' ({default!r})' if default not in ('', False, 0, -1) else ''
    flag = f'--{name}={placeholder}' if placeholder else f'--{name}'
    lines.append(f'  {flag:<{width}} {meaning}{known}')
  return [*lines, f'  {"--help":<{width}} print this text']
