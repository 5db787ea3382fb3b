"""Tests of the order of the package's folders and of their imports."""

import ast
import itertools
import pathlib
import re

import pytest

import cyclegan_jax

ROOT = pathlib.Path(cyclegan_jax.__file__).parent
# Folders from low to high: each imports only from itself and lower folders.
ORDER = [
  'common',
  'pages',
  'hub',
  'nets',
  'pth',
  'pretrained',
  'data',
  'methods',
  'metrics',
  'training',
  'config',
  'inference',
  'exporters',
  'report_page',
  'perceptual_study',
  'paper',
  'tpu',
]


def modules(folder='.'):
  """Returns the paths of the modules below a folder of the package."""
  return sorted((ROOT / folder).rglob('*.py'))


def imported(path):
  """Yields modules that a file imports, such as 'cyclegan_jax.nets.layers'.

  Imports inside functions are included.
  """
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def test_every_folder_has_a_place_in_the_order():
  folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
  assert folders - {'__pycache__'} == set(ORDER)


def test_a_file_at_the_root_is_a_command():
  for path in ROOT.glob('*.py'):
    if path.stem not in ('__init__', '__main__', 'defaults'):
      assert "if __name__ == '__main__':" in path.read_text(), path


def listed(document):
  """Returns the folders in a document's table of folders, or []."""
  lines = (ROOT.parent / document).read_text().splitlines()
  behind = itertools.dropwhile(lambda x: not x.startswith('| folder |'), lines)
  rows = itertools.takewhile(lambda x: x.startswith('|'), behind)
  return re.findall(r'^\| `(\w+)/`', '\n'.join(rows), re.MULTILINE)


def test_contributing_lists_the_folders_in_order():
  assert listed('CONTRIBUTING.md') == ORDER


@pytest.mark.parametrize('document', ['README.md', 'docs/reading.md'])
def test_other_lists_of_folders_are_complete(document):
  folders = listed(document)
  assert sorted(folders) == (sorted(ORDER) if folders else [])


def test_folders_import_only_lower_folders():
  for rank, folder in enumerate(ORDER):
    for path in modules(folder):
      for target in imported(path):
        _, _, rest = target.partition('cyclegan_jax.')
        name = rest.partition('.')[0]
        if name in ORDER:
          assert ORDER.index(name) <= rank, f'{path} imports {target}'
        else:
          assert name in ('', 'defaults'), f'{path} imports {target}'


def test_folders_below_config_import_no_config():
  for folder in ORDER[: ORDER.index('config')]:
    for path in modules(folder):
      for target in imported(path):
        assert not target.startswith(
          ('ml_collections', 'cyclegan_jax.defaults')
        ), f'{path} imports {target}'


def test_the_engine_names_no_method():
  from cyclegan_jax.methods import METHODS

  below = [
    x for folder in ORDER[: ORDER.index('config')] for x in modules(folder)
  ]
  for path in below:
    if path.parent.name != 'methods':
      strings = [
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
      ]
      assert not set(strings) & set(METHODS), path
