"""Lists the messages of the package: errors, warnings, printed lines.

  python tests/messages.py    # writes tests/messages.txt anew

`tests/test_english.py` compares the list with the code, so that a new or
changed message is read once more, beside all others, when its line changes.
"""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
FILE = ROOT / 'tests' / 'messages.txt'
CALLS = {'UserError', 'Temporary', 'print', 'say', 'warn', 'warning', 'exit'}


def messages(path):
  """Returns the messages of a Python file, sorted.

  An expression inside a message stands in braces, as in an f-string.
  """
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Call) and _name(node.func) in CALLS and node.args:
      found |= {_text(x) for x in _texts(node.args[0])}
  return sorted(x for x in found if ' ' in x)


def _name(function):
  return getattr(function, 'attr', getattr(function, 'id', ''))


def _texts(node):
  """Yields the outermost string expressions of an expression."""
  if isinstance(node, ast.JoinedStr) or (
    isinstance(node, ast.Constant) and isinstance(node.value, str)
  ):
    yield node
    return
  for child in ast.iter_child_nodes(node):
    yield from _texts(child)


def _text(node):
  if isinstance(node, ast.Constant):
    return node.value
  return ''.join(
    x.value if isinstance(x, ast.Constant) else '{' + ast.unparse(x.value) + '}'
    for x in node.values
  )


def listing():
  """Returns the text of tests/messages.txt: each file with its messages."""
  lines = []
  for path in sorted((ROOT / 'cyclegan_jax').rglob('*.py')):
    if found := messages(path):
      lines += [path.relative_to(ROOT).as_posix()]
      lines += ['  ' + x.replace('\n', '\\n') for x in found]
  return '\n'.join(lines) + '\n'


if __name__ == '__main__':
  FILE.write_text(listing())
