"""Help for users who give flags or values of the official train.py or test.py.

The error messages name the flag or option of this package that corresponds.
"""

import pathlib
import re
import shlex

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config.official_flags import (
  ANSWERS,
  MODELS,
  SWITCHES,
  VALUES,
)
from cyclegan_jax.defaults import OPTIONS

_FLAG = re.compile(r'--([\w.-]*\w)')


def check(argv, flags, options=()):
  """Raises `UserError` if a command line has flags of the official code.

  The message translates each of them to this package's flags and options. A
  value under its official name, as in --direction=AtoB, raises too.

  Args:
    argv: the command line, program first.
    flags: names of the program's own flags, which are never refused.
    options: names of the options that the program accepts by
      --config.KEY=VALUE.
  """
  given = _given(argv, flags)
  if not given:
    _check_values(argv)
    return
  answers = [
    f'--{name}{value and "=" + value} ' + _answer(name, given, flags, options)
    for name, value in given.items()
  ]
  card = ''
  if set(options) == set(OPTIONS) and not any(
    x == 'config' for x, _ in _words(argv)
  ):
    card = ' (and give a recipe card, such as --config=configs/folder.py)'
  raise UserError(f'flags of the official code: {"; ".join(answers)}{card}')


def _check_values(argv):
  """Raises `UserError` for a value that has another name in this package."""
  for name, value in _words(argv):
    here = VALUES.get(name, {}).get(value)
    if here:
      raise UserError(
        f'--{name}={value} of the official code is --{name}={here} here'
      )
    if name == 'model' and value in MODELS and not pathlib.Path(value).exists():
      raise UserError(
        f'--model={value}: --model is a run folder or a .pth file here; the '
        'method is chosen for training, by --config.method'
      )


def _words(argv):
  """Yields (flag, value) of each word that begins with -; '' for no value."""
  for word, following in zip(argv[1:], [*argv[2:], '']):
    if word == '--':
      return
    if word.startswith('-'):
      name, equals, value = word.lstrip('-').partition('=')
      separate = '' if equals or following.startswith('--') else following
      yield name, value or separate


def _given(argv, flags):
  """Returns {flag: value} of official flags that the program does not have."""
  return {
    name: '' if name in SWITCHES else value
    for name, value in _words(argv)
    if name in ANSWERS and name not in flags
  }


def _answer(name, given, flags, options):
  """Returns the counterpart of an official flag, in words.

  Of the possible answers, returns the first one whose flags the program has. If
  there is none, returns the first of all, with the program that has its flags.
  """
  for answer in ANSWERS[name]:
    text = _text(answer, given[name], given)
    if all(_has(x, flags, options) for x in _FLAG.findall(text)):
      return text
  text = _text(ANSWERS[name][0], given[name], given)
  where = 'main' if '--config.' in text or '--workdir' in text else 'translate'
  return f'{text} of cyclegan_jax.{where}'


def _text(answer, value, given):
  """Returns an answer of `ANSWERS` with the given value filled in."""
  if callable(answer):
    return answer(value, given)
  return re.sub(
    r'\{(\w+)\}',
    lambda match: shlex.quote(value) if value else match[1],
    answer,
  )


def _has(flag, flags, options):
  """Returns True if a program accepts --flag, as a flag or as an option."""
  return flag in flags or flag.removeprefix('config.') in options
