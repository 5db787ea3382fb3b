"""Picture sources that users define as functions in their recipe cards."""

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

# (data.root, data.name, data.paired, **the options it declares) -> Source
Function = Callable[..., Source]

# Functions of the recipe cards that this process ran, by their `text_of`.
FUNCTIONS: dict[str, Function] = {}


def is_function(value: object) -> TypeGuard[Function]:
  """Returns True if `value`, of the option data.source, is a user's function.

  Functions and `functools.partial` objects count.
  """
  return isinstance(value, types.FunctionType | functools.partial)


def text_of(function: Function) -> str:
  """Returns the text CARD.py:NAME that stands for a function in a config.

  Also stores the function in `FUNCTIONS` under this text, where `pictures`
  finds it.

  Args:
    function: a user's picture source, from a recipe card.

  Returns:
    The absolute path of the file that defines the function, a colon and the
    qualified name of the function.
  """
  code = _code(function)
  text = f'{os.path.abspath(code.co_filename)}:{code.co_qualname}'
  FUNCTIONS[text] = function
  return text


def _code(function):
  """Returns the code object of a function below partials and decorators."""
  while isinstance(function, functools.partial):
    function = function.func
  return inspect.unwrap(function).__code__


def is_text(source: str) -> bool:
  """Returns True if a value of data.source is a text made by `text_of`."""
  return '.py:' in source


def pictures(
  sources: Mapping[str, Function],
  name: str,
  root: str,
  set_name: str,
  paired: str,
  options: Mapping[str, Any],
) -> Source:
  """Calls the picture source that data.source names, and checks its result.

  No recipe card is loaded here, so reading a saved config never runs code.

  Args:
    sources: {name: function}, the picture sources of this package.
    name: value of data.source: a key of `sources`, or a text of `text_of`.
    root: value of data.root.
    set_name: value of data.name.
    paired: value of data.paired.
    options: {NAME: value} of all options data.NAME. The function receives those
      that are its keyword-only parameters.

  Returns:
    The `Source` of the dataset. For a user's function the returned `Source` is
    checked, and training pictures stand in for missing test pictures.

  Raises:
    UserError: the source is unknown, the recipe card of a user's function was
      not given with --config, the user's function fails or returns something
      else than a valid `Source`, or the source itself raises a `UserError`.
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
  """Returns the picture source of a data.source value, as for `pictures`."""
  if is_text(name) and name not in FUNCTIONS:
    card = name.rpartition(':')[0]
    raise UserError(
      f'data.source={name} is a function of a recipe card that was not loaded: '
      f'give --config={card}, or choose another data.source'
    )
  if name in FUNCTIONS:
    return FUNCTIONS[name]
  return lookup(sources, name, 'data.source')


def options_of(function: Function) -> list[str]:
  """Returns the names of a picture source's own options data.NAME.

  These are the keyword-only parameters of the function.
  """
  return [
    name
    for name, parameter in inspect.signature(function).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
  ]


def _line_of(error, file):
  """Returns ' in line N', the last line of a file in an error's traceback.

  Returns '' if the traceback does not pass through the file.
  """
  frames = traceback.extract_tb(error.__traceback__)
  lines = [x.lineno for x in frames if x.filename == file]
  return f' in line {lines[-1]}' if lines else ''


class _Checked:
  """Checks the value that a user's function returned.

  Args:
    text: the text of the function (`text_of`), for messages.
  """

  def __init__(self, text):
    self._text = text

  def source(self, found: Any) -> Source:
    """Returns the checked and completed `Source`.

    Training pictures stand in for missing test pictures; `stands_in` then says
    so, and `paired` is False.

    Args:
      found: the value that the user's function returned.

    Raises:
      UserError: `found` is not a `Source`, its pictures are not lists of
        `Picture`, or lists that belong together differ in length.
    """
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
    """Returns {'a', 'b'}: [Picture] of a checked attribute of the `Source`."""
    if not isinstance(domains, Mapping) or not {'a', 'b'} <= set(domains):
      raise self._wrong(
        f'{part} without lists of A and B', "give {'a': [...], 'b': [...]}"
      )
    return {d: self._pictures(f'{part}[{d!r}]', domains[d]) for d in 'ab'}

  def _pictures(self, what, pictures):
    """Returns the checked pictures of one domain as a list."""
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
    """Raises `UserError` if two lists of pictures differ in length."""
    if len(first) != len(second):
      raise self._wrong(
        f'{what} of {len(first)} and {len(second)} pictures',
        'give lists of equal length',
      )

  def _wrong(self, what, advice):
    """Returns the `UserError` for a wrong return value."""
    return UserError(f'{self._text} (data.source) returned {what}: {advice}')
