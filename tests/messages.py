"""Lists the texts that users read: errors, warnings, printed lines, help.

  python tests/messages.py    # writes tests/messages.txt again

`tests/test_english.py` compares the list with the code, so that a new or
changed text is read once more, beside all others, when its line changes.
"""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
FILE = ROOT / 'tests' / 'messages.txt'


def listing():
  """Returns the contents of messages.txt: each file's name and its texts."""
  lines = []
  for path in sorted((ROOT / 'cyclegan_jax').rglob('*.py')):
    if found := texts(ast.parse(path.read_text())):
      lines += [path.relative_to(ROOT).as_posix()]
      lines += ['  ' + x.replace('\n', '\\n') for x in found]
  return '\n'.join(lines) + '\n'


def texts(tree):
  """Returns the strings of three words or more, sorted, without docstrings.

  An expression inside a string stands in braces, as in an f-string.
  """
  documents = {
    id(node.value)
    for node in ast.walk(tree)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
  }
  found = {_text(x) for x in _strings(tree) if id(x) not in documents}
  return sorted(x for x in found if len(x.split()) >= 3)


def _strings(node):
  """Yields the string expressions, those inside f-strings included."""
  if isinstance(node, ast.Constant) and isinstance(node.value, str):
    yield node
  elif isinstance(node, ast.JoinedStr):
    yield node
    for part in node.values:
      if isinstance(part, ast.FormattedValue):
        yield from _strings(part.value)
  else:
    for child in ast.iter_child_nodes(node):
      yield from _strings(child)


def _text(node):
  if isinstance(node, ast.Constant):
    return node.value
  return ''.join(
    x.value if isinstance(x, ast.Constant) else f'{{{ast.unparse(x.value)}}}'
    for x in node.values
  )


if __name__ == '__main__':
  FILE.write_text(listing())
