"""Answers to flags and values of the official train.py and test.py."""

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
  """Raises `UserError` with the names here of official flags among the words.

  Args:
    argv: the command line, program first.
    flags: names of the program's own flags.
    options: the options that it takes, by --config.KEY=VALUE.
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
  """Raises `UserError` with the name here of an official flag's value."""
  for name, value in _words(argv):
    here = VALUES.get(name, {}).get(value)
    if here:
      raise UserError(f'--{name}={value}: the name here is --{name}={here}')
    if name == 'model' and value in MODELS and not pathlib.Path(value).exists():
      raise UserError(
        f'--model={value}: here it is the folder of a run or a .pth file, and '
        'the method is chosen in training, by --config.method'
      )


def _words(argv):
  """(flag, value) of each word that begins with -; the value may be ''."""
  for word, following in zip(argv[1:], [*argv[2:], '']):
    if word == '--':
      return
    if word.startswith('-'):
      name, equals, value = word.lstrip('-').partition('=')
      separate = '' if equals or following.startswith('--') else following
      yield name, value or separate


def _given(argv, flags):
  """{official flag: value} of those that are no flags of the program."""
  return {
    name: '' if name in SWITCHES else value
    for name, value in _words(argv)
    if name in ANSWERS and name not in flags
  }


def _answer(name, given, flags, options):
  for answer in ANSWERS[name]:
    text = _text(answer, given[name], given)
    if all(_has(x, flags, options) for x in _FLAG.findall(text)):
      return text
  text = _text(ANSWERS[name][0], given[name], given)
  where = 'main' if '--config.' in text or '--workdir' in text else 'translate'
  return f'{text} of cyclegan_jax.{where}'


def _text(answer, value, given):
  if callable(answer):
    return answer(value, given)
  return re.sub(
    r'\{(\w+)\}',
    lambda match: shlex.quote(value) if value else match[1],
    answer,
  )


def _has(flag, flags, options):
  """Returns True if a program has a flag, or takes it as an option."""
  return flag in flags or flag.removeprefix('config.') in options
