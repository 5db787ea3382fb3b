"""Imports point down, the core is small and knows no program or method."""

import ast
import pathlib

import cyclegan_jax

ROOT = pathlib.Path(cyclegan_jax.__file__).parent
# From the top down; a file may import from its own layer and those below.
LAYERS = [
  [
    'main',
    'aot',
    'check_data',
    'translate',
    'torch_weights',
    'export',
    'report',
    'evaluate',
    'experiments',
    'segmenter',
  ],
  ['translating', 'video', 'exporting', 'report_page', 'experimenting'],
  ['model'],
  ['build', 'cli', 'record', 'data_report'],
  ['defaults', 'train'],
  ['loop'],
  [
    'cluster',
    'dispatch',
    'profiling',
    'stopping',
    'monitors',
    'train_step',
    'train_state',
    'compiled',
    'hlo',
    'traffic',
    'checkpoint',
    'log',
    'evaluation',
    'samples',
    'optim',
    'tiled',
  ],
  ['parallel', 'methods', 'picture_files'],
  ['nets', 'losses', 'image_pool', 'metrics', 'data', 'images', 'pth'],
  ['files', 'builtin', 'winograd', 'kernel_gradients', 'chips'],
  ['errors'],
]
PROGRAMS = set(LAYERS[0]) | {
  'build',
  'cli',
  'record',
  'cluster',  # how the processes of a program meet
  'compiled',  # what aot reports
  'hlo',
  'traffic',
  'chips',
  'data_report',  # what check_data reports
  'defaults',
  'model',
  'translating',  # what translate does
  'video',
  'picture_files',
  'tiled',
  'exporting',  # what export does
  'experimenting',  # what experiments does
  'report_page',  # what report shows
  'pth',  # files of another project
}
# What stands beside the core: pictures that are made once, a convolution's
# arithmetic, which changes its speed alone, and where files are.
BESIDE = {'builtin', 'files', 'winograd', 'kernel_gradients'}
# They look at what comes out, and nothing comes of them but VGG-16's features.
OBSERVERS = {
  'evaluation',
  'images',
  'log',
  'metrics',
  'monitors',
  'profiling',
  'samples',
}
LEVEL = {name: i for i, layer in enumerate(LAYERS) for name in layer}


def modules():
  """(name of the module or package, file) of all of the package."""
  for path in sorted(ROOT.rglob('*.py')):
    relative = path.relative_to(ROOT)
    if relative.name != '__init__.py' or len(relative.parts) > 1:
      yield relative.parts[0].removesuffix('.py'), path


def imported(path):
  """Modules that a file imports, such as 'cyclegan_jax.nets.layers'."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield node.module
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def test_every_module_has_a_layer():
  assert {name for name, _ in modules()} == set(LEVEL)


def test_imports_point_down():
  for name, path in modules():
    for target in imported(path):
      parts = target.split('.')
      if parts[0] == 'cyclegan_jax' and len(parts) > 1 and parts[1] in LEVEL:
        assert LEVEL[parts[1]] >= LEVEL[name], f'{path} imports {target}'


def test_below_the_programs_nobody_sees_a_config():
  for name, path in modules():
    if name not in PROGRAMS:
      assert 'ml_collections' not in path.read_text(), path


def test_one_file_imports_orbax():
  users = [p.name for _, p in modules() if 'import orbax' in p.read_text()]
  assert users == ['checkpoint.py']


def test_the_engine_names_no_method():
  from cyclegan_jax.methods import METHODS

  for name, path in modules():
    if name not in PROGRAMS | {'methods'}:
      strings = [
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
      ]
      assert not set(strings) & set(METHODS), path


def code_lines(path):
  """Lines that hold code: no blank lines, comments or docstrings."""
  tree = ast.parse(path.read_text())
  documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
  docstrings = set()
  for node in ast.walk(tree):
    if isinstance(node, documented) and ast.get_docstring(node) is not None:
      first = node.body[0]
      docstrings |= set(range(first.lineno, first.end_lineno + 1))
  return [
    line
    for number, line in enumerate(path.read_text().splitlines(), 1)
    if number not in docstrings and line.strip() and line.strip()[0] != '#'
  ]


def test_the_core_stays_within_2500_lines():
  """Engine, methods, networks, losses, pool, data and loop."""
  core = [
    path
    for name, path in modules()
    if name not in PROGRAMS | OBSERVERS | BESIDE
  ]
  assert sum(len(code_lines(path)) for path in core) <= 2500
