"""Tests that paths, names and options in the documentation exist.

Covered are README.md, CONTRIBUTING.md, all pages of docs/ and launch/README.md:

- targets of Markdown links that are files;
- paths in backticks: relative to the document, the repository or the package;
- dotted names in backticks, of the package (`cyclegan_jax.main`, `nets.apply`)
  or of an option (`data.root`);
- anywhere, code blocks included: modules and options (cyclegan_jax.main,
  --config.data.root=DIR), and files below the folders named in `FILE`;
- in docs/reading.md, names in backticks: defined in the first file of an item.
"""

import ast
import re

import pytest
from test_structure import ROOT

from cyclegan_jax.defaults import OPTIONS

REPOSITORY = ROOT.parent
DOCUMENTS = [
  REPOSITORY / 'README.md',
  REPOSITORY / 'CONTRIBUTING.md',
  REPOSITORY / 'launch' / 'README.md',
  *sorted((REPOSITORY / 'docs').glob('**/*.md')),
]
# First folders of paths that commands write, and of words that are not paths.
WRITTEN = {
  'best',
  'checkpoints',
  'compiled',
  'cycle_gan',
  'damaged',
  'figures',
  'pictures',
  'report',
  'runs',
  'samples',
  'segmenter',
  'tensorboard',
}
OFFICIAL = {'test.py', 'train.py'}  # files of the official code
ENDINGS = (
  '.csv',
  '.html',
  '.json',
  '.jsonl',
  '.md',
  '.msgpack',
  '.onnx',
  '.png',
  '.pth',
  '.safetensors',
  '.tflite',
  '.txt',
)
LIBRARIES = ('glibc.', 'jax.')

FENCED = re.compile(r'^```.*?^```', re.DOTALL | re.MULTILINE)
LINK = re.compile(r'\]\(([^)\s#]+)')
INLINE = re.compile(r'`([^`]+)`')
PATH = re.compile(r'[\w.-]+(/[\w.-]*)+|\w+\.(py|sbatch|sh|yaml)')
DOTTED = re.compile(r'[a-z]\w*(\.\w+)+')
NAME = re.compile(r'\w*[A-Za-z_]\w*(\.\w+)*')
MODULE = re.compile(r'(?<![/\w])cyclegan_jax(?:\.\w+)+')
FILE = re.compile(
  r'\b(?:benchmarks|configs|cyclegan_jax|launch|tests)/[\w./-]*\w'
)
OPTION = re.compile(r'--config\.(\w+(?:\.\w+)*)')


def missing(text, folder):
  """Returns the paths and names in a Markdown text that do not exist.

  Args:
    text: the Markdown text.
    folder: folder of the document, to which links are relative.
  """
  prose = FENCED.sub('', text)
  found = [
    target
    for target in LINK.findall(prose)
    if '://' not in target and not (folder / target).exists()
  ]
  found += [x for x in FILE.findall(text) if not is_path(x, folder)]
  found += [x for x in MODULE.findall(text) if not is_name(x)]
  found += [x for x in OPTION.findall(text) if x not in OPTIONS]
  for words in INLINE.findall(prose):
    for word in words.split():
      word = word.removesuffix('()')
      if PATH.fullmatch(word):
        exists = is_path(word, folder)
      elif DOTTED.fullmatch(word) and not word.endswith(ENDINGS):
        exists = is_name(word) or word.startswith(LIBRARIES)
      else:
        continue
      if not exists:
        found.append(word)
  return found


def is_path(path, folder):
  """Returns True if a path exists or is written by a command."""
  return (
    path in OFFICIAL
    or path.split('/')[0] in WRITTEN
    or any((base / path).exists() for base in (folder, REPOSITORY, ROOT))
  )


def is_name(name):
  """Returns True for an option, or a module or attribute of the package."""
  if name in OPTIONS:
    return True
  place, parts = ROOT, name.removeprefix('cyclegan_jax.').split('.')
  while parts and (place / parts[0]).is_dir():
    place /= parts.pop(0)
  if parts and (place / f'{parts[0]}.py').is_file():
    place = place / f'{parts.pop(0)}.py'
  elif place != ROOT or name.startswith('cyclegan_jax.'):
    place /= '__init__.py'
  else:
    return False
  body = ast.parse(place.read_text()).body
  for part in parts:
    node = defined(body).get(part)
    if node is None:
      return False
    body = getattr(node, 'body', [])
  return True


def defined(body):
  """Returns {name: statement} of the definitions in a module or class."""
  names = {}
  for node in body:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
      names[node.name] = node
    elif isinstance(node, ast.Assign):
      for target in node.targets:
        names |= {
          x.id: node for x in ast.walk(target) if isinstance(x, ast.Name)
        }
    elif isinstance(node, ast.AnnAssign):
      names[node.target.id] = node
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
      names |= {x.asname or x.name: node for x in node.names}
  return names


def strangers(text):
  """Yields (file, name) of names in docs/reading.md that the file lacks."""
  for item in re.split(r'^\d+\. ', text, flags=re.MULTILINE)[1:]:
    file, *words = INLINE.findall(item.partition('\n\n')[0])
    there = set(re.findall(r'\w+', (ROOT / file).read_text()))
    for word in words:
      known = PATH.fullmatch(word) or word.endswith(ENDINGS) or is_name(word)
      if NAME.fullmatch(word) and not known and word not in there:
        yield file, word


@pytest.mark.parametrize(
  'path', DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix()
)
def test_paths_and_names_in_a_document_exist(path):
  assert not missing(path.read_text(), path.parent)


def test_names_in_the_reading_guide_are_in_its_files():
  assert not list(strangers((REPOSITORY / 'docs' / 'reading.md').read_text()))


TRUE = """
[the tests](tests/test_docs.py) [the paper](https://arxiv.org/abs/1703.10593)
`training/loop.py` `nets/` `cyclegan_jax/main.py` `runs/NAME` `metrics.jsonl`
`cyclegan_jax.load_model` `nets.GENERATORS` `data.root` `jax.jit`
`inference.model.Model.translate()` `METHOD`

    python -m cyclegan_jax.main --config=configs/folder.py \\
      --config.data.root=DIR && python benchmarks/input.py

```python
from nowhere.else import `anything.py`
```
"""
INVENTED = [
  '[the tests](tests/test_dogs.py)',
  '`training/lop.py`',
  '`lop.py`',
  '`experimenting/`',
  '`cyclegan_jax/record.py`',
  '`cyclegan_jax.lod_model`',
  '`losses.ADVERSARIAL_LOSSES`',
  '`nets.GENERATOR`',
  '`inference.model.Model.translat`',
  '`data.rot`',
  '    python -m cyclegan_jax.man',
  '    python benchmarks/output.py',
  '    --config=configs/folders.py',
  '    --config.data.rot=DIR',
]


def test_existing_names_are_accepted():
  assert missing(TRUE, REPOSITORY) == []


@pytest.mark.parametrize('text', INVENTED)
def test_an_invented_name_is_found(text):
  assert missing(TRUE + text, REPOSITORY)


def test_a_name_missing_from_its_file_is_found():
  text = '1. `training/loop.py`: `steps`, `_Later`.\n\nNow `translate`:\n\n'
  assert list(strangers(text)) == []
  text += '1. `training/loop.py`: `stepz`.\n'
  assert list(strangers(text)) == [('training/loop.py', 'stepz')]
