"""Tests that public functions of the files checked by mypy have types."""

import ast
import pathlib
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / 'pyproject.toml').read_text())
FILES = SETTINGS['tool']['mypy']['files']
# These types need parameters.
GENERIC = {'Callable', 'Mapping', 'Sequence', 'dict', 'list', 'tuple'}


def bare(body, inside=''):
  """Yields names without a type in the body of a module or public class."""
  for node in body:
    if isinstance(node, ast.AnnAssign) and inside:
      types = {node.target.id: node.annotation}
    elif isinstance(node, ast.FunctionDef) and is_public(node):
      types = signature(node, is_method=bool(inside))
    else:
      types = {}
    for name, annotation in types.items():
      if annotation is None or unfinished(annotation):
        yield inside + getattr(node, 'name', 'field') + f': {name}'
    if isinstance(node, ast.ClassDef) and is_public(node):
      yield from bare(node.body, f'{node.name}.')


def is_public(node):
  return node.name == '__init__' or not node.name.startswith('_')


def signature(function, is_method):
  """Returns {parameter or 'return': annotation or None}, without `self`."""
  given = function.args
  positional = [*given.posonlyargs, *given.args][is_method:]
  stars = [x for x in (given.vararg, given.kwarg) if x]
  arguments = [*positional, *given.kwonlyargs, *stars]
  return {x.arg: x.annotation for x in arguments} | {'return': function.returns}


def unfinished(annotation):
  """Returns True for generic types without parameters, such as `dict`."""
  nodes = list(ast.walk(annotation))
  said = [x.value for x in nodes if isinstance(x, ast.Subscript)]
  return any(
    isinstance(x, ast.Name) and x.id in GENERIC and x not in said for x in nodes
  )


@pytest.mark.parametrize('file', FILES)
def test_public_functions_have_types(file):
  assert not list(bare(ast.parse((ROOT / file).read_text()).body))


def test_missing_types_are_found():
  tree = ast.parse("""
class A(NamedTuple):
  x: int
  y: Callable
  z: dict[str, Callable[[], int]] | None = None

  def f(self, x, *y: int, z=1) -> int: ...
  def _g(self, x): ...

def f(x: int, y: list | None): ...
def _g(x): ...
""")
  assert list(bare(tree.body)) == [
    'A.field: y',
    'A.f: x',
    'A.f: z',
    'f: y',
    'f: return',
  ]
