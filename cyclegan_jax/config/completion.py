"""Shell completion of `cyclegan-jax`, by the package argcomplete.

A shell asks for completions after it has run

    eval "$(register-python-argcomplete cyclegan-jax)"

It then starts `cyclegan-jax` with the environment variable _ARGCOMPLETE set.
Flags, options and their choices are read from the --help of a program.
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
# The choices at the beginning of a meaning: 'transpose (the paper) | resize'.
_CHOICE = r'[a-z]\w*(?: \([^)]*\))?'
_CHOICES = re.compile(rf'{_CHOICE}(?: \| {_CHOICE})+')


class Flag(NamedTuple):
  """Flag or option of a program, read from --help.

  Attributes:
    kind: placeholder of the value, such as FILE; '' for a flag without value.
    meaning: the text after the flag in --help.
  """

  kind: str
  meaning: str


def answer(programs, load):
  """Writes the completions that the shell asks for, and ends the process.

  Args:
    programs: {program: meaning}, the programs of `cyclegan-jax`.
    load: program -> its imported module.
  """
  # With this prefix character, argparse takes --flags for plain words.
  parser = argparse.ArgumentParser(prefix_chars='\0', add_help=False)
  words = parser.add_argument('words', nargs='*')
  words.completer = lambda prefix, parsed_args, **_: complete(
    programs, load, parsed_args.words or [], prefix
  )
  argcomplete.autocomplete(parser)


def complete(programs, load, words, prefix):
  """Returns {word: meaning} of the words that may complete a prefix.

  The words need not begin with the prefix: argcomplete drops those that do not.

  Args:
    programs: {program: meaning}, the programs of `cyclegan-jax`.
    load: program -> its imported module.
    words: the complete words after `cyclegan-jax`, before the prefix.
    prefix: the beginning of the word to complete; may be empty.
  """
  if not words:
    return programs | {'--help': '', '--version': ''}
  program = words[0].replace('_', '-')
  if program not in programs:
    return {}
  name, equals, value = prefix.partition('=')
  if not equals:  # may be `--flag value`, in two words
    name, value = words[-1], prefix
  if name == '--config':  # answered without the slow imports of the program
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
  """Returns {name: `Flag`} of all flags and options in a program's --help.

  Args:
    module: the module of the program.
  """
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
  """Returns {flag name, with '=' if it takes a value: meaning}.

  All options are included only if the prefix begins with --config. and a dot;
  otherwise the single word `--config.` stands for the options.
  """
  names = {
    f'{name}=' if flag.kind else name: flag.meaning
    for name, flag in flags.items()
  }
  if prefix.startswith('--config.'):
    return names
  own = {k: v for k, v in names.items() if not k.startswith('--config.')}
  return own if own == names else own | {'--config.': 'options'}


def _values(flag, begun):
  """Returns possible values of a flag: files, folders, choices or booleans.

  Args:
    flag: a `Flag`.
    begun: the beginning of the value.
  """
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
  """Returns the names of the recipe cards, and Python files that may match."""
  return [*cards.names(), *FilesCompleter('py')(begun)]


def _joined(name, equals, values):
  """Returns {word: ''} with one word per value: NAME=VALUE, or only VALUE."""
  return {f'{name}={x}' if equals else x: '' for x in values}
