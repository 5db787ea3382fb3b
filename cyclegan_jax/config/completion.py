"""Completes the words of `cyclegan-jax` in a shell, by argcomplete.

The shell asks with the environment variable _ARGCOMPLETE, once

    eval "$(register-python-argcomplete cyclegan-jax)"

has run in it. Flags, options and choices are read from a program's --help.
"""

import argparse
import contextlib
import io
import re
from typing import NamedTuple

import argcomplete
from argcomplete.completers import DirectoriesCompleter, FilesCompleter

from cyclegan_jax.config import cards

_FLAG = re.compile(r'^  (--[\w.-]+)(?:=(\S+))? +(.*)', re.MULTILINE)
# The choices that a meaning begins with: 'transpose (the paper) | resize'.
_CHOICE = r'[a-z]\w*(?: \([^)]*\))?'
_CHOICES = re.compile(rf'{_CHOICE}(?: \| {_CHOICE})+')


class Flag(NamedTuple):
  """A flag or option of a program.

  Attributes:
    kind: placeholder of its value, such as FILE; '' for a switch.
    meaning: the text behind it in --help.
  """

  kind: str
  meaning: str


def answer(programs, load):
  """Writes the completions that the shell asks for, and ends the process.

  Args:
    programs: {program: meaning}.
    load: function of a program's name that returns its module.
  """
  # With another prefix of flags, those of the programs are plain words.
  parser = argparse.ArgumentParser(prefix_chars='\0', add_help=False)
  words = parser.add_argument('words', nargs='*')
  words.completer = lambda prefix, parsed_args, **_: complete(
    programs, load, parsed_args.words or [], prefix
  )
  argcomplete.autocomplete(parser)


def complete(programs, load, words, prefix):
  """Returns {word: meaning} of words that may stand where a prefix is.

  Words that begin otherwise may be among them; argcomplete drops these.

  Args:
    programs, load: as for `answer`.
    words: the words between `cyclegan-jax` and the prefix.
    prefix: the word that has begun, perhaps empty.
  """
  if not words:
    return programs | {'--help': '', '--version': ''}
  program = words[0].replace('_', '-')
  if program not in programs:
    return {}
  name, equals, value = prefix.partition('=')
  if not equals:  # --flag value, perhaps
    name, value = words[-1], prefix
  if name == '--config':  # at once, without the program's imports
    return _joined(name, equals, _cards(value))
  module = load(program)
  flags = flags_of(module)
  if equals or (name in flags and flags[name].kind):
    found = _values(flags.get(name, Flag('', '')), value)
    return _joined(name, equals, found)
  commands = getattr(module, 'COMMANDS', {})
  if prefix.startswith('-') or not commands:
    return _names(flags, prefix)
  chosen = set(words) & set(commands)
  return dict.fromkeys(FilesCompleter()(prefix) if chosen else commands, '')


def flags_of(module):
  """{flag: Flag} of the flags and options that a program's --help lists."""
  from cyclegan_jax.defaults import OPTIONS, PATHS  # imports JAX

  text = io.StringIO()
  with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
    module.main([module.__name__, '--help'])
  kinds = {f'--config.{x}': 'VALUE' for x in OPTIONS}
  kinds |= {f'--config.{x}': 'PATH' for x in PATHS}
  return {
    name: Flag(kinds.get(name, kind), meaning)
    for name, kind, meaning in _FLAG.findall(text.getvalue())
  }


def _names(flags, prefix):
  """Names of flags; of options too where the prefix is one's beginning."""
  names = {
    f'{name}=' if flag.kind else name: flag.meaning
    for name, flag in flags.items()
  }
  if prefix.startswith('--config.'):
    return names
  own = {k: v for k, v in names.items() if not k.startswith('--config.')}
  return own if own == names else own | {'--config.': 'options'}


def _values(flag, begun):
  """The values of a flag that are known."""
  if flag.kind in ('DIR', 'FOLDER'):
    return DirectoriesCompleter()(begun)
  if flag.kind in ('FILE', 'PATH'):
    return FilesCompleter()(begun)
  if '|' in flag.kind:
    return flag.kind.split('|')
  if flag.meaning.endswith(('(True)', '(False)')):
    return ['True', 'False']
  found = _CHOICES.match(flag.meaning)
  return re.sub(r' \(.*?\)', '', found[0]).split(' | ') if found else []


def _cards(begun):
  return [*cards.names(), *FilesCompleter('py')(begun)]


def _joined(name, equals, values):
  """{word: ''} of the words with these values."""
  return {f'{name}={x}' if equals else x: '' for x in values}
