"""Tests that loading a downloaded file cannot run code."""

import ast
import pathlib

import cyclegan_jax

ROOT = pathlib.Path(cyclegan_jax.__file__).parent
# Modules and calls that can execute code when they load a file.
MODULES = {'pickle', 'marshal', 'shelve', 'dill', 'cloudpickle', 'joblib'}
CALLS = {'eval', 'exec', 'compile_command', '__import__', 'import_module'}
LOADERS = {'np.load', 'numpy.load', 'yaml.load', 'torch.load'}


def names(tree):
  """Yields the names of imported modules and called functions."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name.split('.')[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield (node.module or '').split('.')[0]
    elif isinstance(node, ast.Call):
      yield ast.unparse(node.func)


def test_no_loader_that_can_execute_code_is_used():
  forbidden = MODULES | CALLS | LOADERS
  for path in ROOT.rglob('*.py'):
    used = set(names(ast.parse(path.read_text()))) & forbidden
    assert not used, f'{path} uses {used}'


def test_the_search_finds_forbidden_loaders():
  code = 'import pickle\nfrom dill import load\neval("1")\nnp.load(x)'
  assert set(names(ast.parse(code))) >= {'pickle', 'dill', 'eval', 'np.load'}
