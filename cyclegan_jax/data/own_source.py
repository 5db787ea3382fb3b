"""Sources of pictures that users define: functions of their recipe cards."""

import functools
import inspect
import os
import traceback
import types
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.data.fetched import Fetched
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.source import Source

# (data.root, data.name, data.paired, and the options it names) -> Source
Function = Callable[..., Source]

# The functions of the cards that this process ran, by their `text_of`.
FUNCTIONS: dict[str, Function] = {}


def is_function(value: object) -> TypeGuard[Function]:
  """Returns True for a function, which a recipe card may set data.source to."""
  return isinstance(value, types.FunctionType | functools.partial)


def text_of(function: Function) -> str:
  """Returns CARD.py:NAME, which stands for a function in a config.

  The function is kept under this text for `pictures`.
  """
  code = _code(function)
  text = f'{os.path.abspath(code.co_filename)}:{code.co_qualname}'
  FUNCTIONS[text] = function
  return text


def _code(function):
  while isinstance(function, functools.partial):
    function = function.func
  return inspect.unwrap(function).__code__


def is_text(source: str) -> bool:
  """Returns True for a data.source that stands for a function."""
  return '.py:' in source


def pictures(
  sources: Mapping[str, Function],
  name: str,
  root: str,
  set_name: str,
  paired: str,
  options: Mapping[str, Any],
) -> Source:
  """The pictures of the source that data.source names.

  Nothing is loaded: a config that was saved runs no code.

  Args:
    sources: the functions of this project, by their names.
    name: the option data.source.
    root: data.root.
    set_name: data.name.
    paired: data.paired.
    options: all options data.NAME, of which a source takes those it names.

  Raises:
    UserError: there is no such source, its recipe card was not given, a user's
      function fails or returns no such pictures, or as the source.
  """
  function = _find(sources, name)
  keywords = {x: options[x] for x in options_of(function) if x in options}
  if name not in FUNCTIONS:
    return function(root, set_name, paired, **keywords)
  try:
    found = function(root, set_name, paired, **keywords)
  except UserError:
    raise
  except Exception as e:  # whatever the user's own code raises
    lines = str(e).strip().splitlines() or ['no reason given']
    where = _line_of(e, _code(function).co_filename)
    raise UserError(
      f'{name} (data.source) fails{where}: {type(e).__name__}: {lines[0]}'
    ) from e
  return _Checked(name).source(found)


def _find(sources, name):
  if is_text(name) and name not in FUNCTIONS:
    card = name.rpartition(':')[0]
    raise UserError(
      f'data.source={name} is a function of a recipe card, and only --config '
      f'runs a card: give --config={card}, or another data.source'
    )
  if name in FUNCTIONS:
    return FUNCTIONS[name]
  return lookup(sources, name, 'data.source')


def options_of(function: Function) -> list[str]:
  """Names of a source's keyword-only parameters: its options data.NAME."""
  return [
    name
    for name, parameter in inspect.signature(function).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
  ]


def _line_of(error, file):
  """The last line of a file that an error came through; '' for none."""
  frames = traceback.extract_tb(error.__traceback__)
  lines = [x.lineno for x in frames if x.filename == file]
  return f' in line {lines[-1]}' if lines else ''


class _Checked:
  """Looks at what a user's function returned before others rely on it."""

  def __init__(self, text):
    self._text = text

  def source(self, found: Any) -> Source:
    """The `Source`; training pictures stand in for test pictures not there."""
    if not isinstance(found, Source):
      raise self._wrong(
        f'{type(found).__name__}', 'return a cyclegan_jax.data.source.Source'
      )
    train = self._domains('train', found.train)
    missing = dict(found.stands_in)
    if not isinstance(found.test, Mapping):
      raise self._wrong(f'test={found.test!r}', "give {'a': ..., 'b': ...}")
    test = {d: found.test.get(d) or train[d] for d in train}
    for d in train:
      if not found.test.get(d):
        missing[d] = f'test pictures of {d.upper()}'
    test = self._domains('test', test)
    pairs = found.train_pairs
    if pairs is not None:
      pairs = self._domains('train_pairs', pairs)
      self._check_equal('train_pairs', pairs['a'], pairs['b'])
    if found.paired and not missing:
      self._check_equal('paired, but test', test['a'], test['b'])
    if found.labels:
      self._check_equal('labels and test', test['a'], found.labels.pictures)
    return found._replace(
      train=train,
      test=test,
      paired=found.paired and not missing,
      train_pairs=pairs,
      stands_in=missing,
    )

  def _domains(self, part, domains):
    if not isinstance(domains, Mapping) or not {'a', 'b'} <= set(domains):
      raise self._wrong(
        f'{part} without lists of A and B', "give {'a': [...], 'b': [...]}"
      )
    return {d: self._pictures(f'{part}[{d!r}]', domains[d]) for d in 'ab'}

  def _pictures(self, what, pictures):
    try:
      pictures = list(pictures)
    except TypeError:
      raise self._wrong(f'{what}={pictures!r}', 'give a list') from None
    if not pictures:
      raise self._wrong(f'no pictures in {what}', 'give one or more')
    for i, picture in enumerate(pictures):
      if not isinstance(picture, Picture):
        raise self._wrong(
          f'{type(picture).__name__} in {what}[{i}]',
          'give cyclegan_jax.data.picture.Picture(name, data)',
        )
      if not isinstance(picture.data, bytes | os.PathLike | Fetched):
        raise self._wrong(
          f'{type(picture.data).__name__} in {what}[{i}].data',
          'give a pathlib.Path, bytes, or cyclegan_jax.data.fetched.Fetched',
        )
    return pictures

  def _check_equal(self, what, first, second):
    if len(first) != len(second):
      raise self._wrong(
        f'{what} of {len(first)} and {len(second)} pictures', 'give equal lists'
      )

  def _wrong(self, what, advice):
    return UserError(f'{self._text} (data.source) returned {what}: {advice}')
