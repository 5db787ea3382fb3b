"""Texts of the project: docstrings, messages, and the words of the glossary."""

import ast
import re

import messages
import pytest
from messages import ROOT

SOURCES = sorted(
  path
  for folder in ('cyclegan_jax', 'configs', 'benchmarks', 'tests')
  for path in (ROOT / folder).rglob('*.py')
)
TEXTS = sorted(
  path
  for folder in ('cyclegan_jax', 'configs', 'benchmarks', 'docs', 'launch')
  for path in (ROOT / folder).rglob('*')
  if path.is_file()
  and path.suffix in ('.py', '.md', '.sh', '.html', '.js')
  and '_build' not in path.parts
)
TEXTS += [ROOT / x for x in ('README.md', 'CHANGELOG.md', 'CONTRIBUTING.md')]
# A docstring says what is returned or done; it is no clause that begins so.
OPENINGS = ['As', 'How', 'What', 'When', 'Where', 'Whether', 'Which', 'Why']
# Words that were used for a thing that docs/glossary.md names, or in a sense
# that a stranger does not know, with the words to use.
RETIRED = {
  r'data sets?\b': 'dataset',
  r'\bby tiles\b': 'in tiles',
  r"\brun's folder\b": 'run folder',
  r'\bway back\b': 'reconstruction',
  r'\b(an?|the|this|each|every) cards?\b': 'recipe card',
  r'\b(once|one|twice|ms|us|GB|MB|bytes) an? (picture|epoch|step|chip|process|'
  r'file|folder|domain|row|method|image|pair|layer|device|host)\b': 'per',
  r'\b(runs?|training|trainings|command) goes on\b': 'resumes, continues',
  r'\bsame bits\b.{0,20}\bas never\b': 'bit-identical',
  r'\banew\b': 'again',
  r'\bgoes by\b': 'depends on, uses',
  r'\bwhat (there is|is none)\b': 'the subject, a noun',
}


def lines_of(pattern, text):
  """Returns the numbers and words of the matches of a pattern in a text."""
  return [
    (text.count('\n', 0, match.start()) + 1, match[0])
    for match in re.finditer(pattern, text, re.IGNORECASE)
  ]


def docstrings(path):
  """Yields (name, docstring) of a module and all that it defines."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
      text = ast.get_docstring(node)
      if text:
        yield getattr(node, 'name', 'the module'), text


@pytest.mark.parametrize('words', RETIRED)
def test_retired_words_are_not_used(words):
  found = {
    path.relative_to(ROOT).as_posix(): lines
    for path in TEXTS
    if (lines := lines_of(words, path.read_text()))
  }
  assert not found, f'write: {RETIRED[words]}'


@pytest.mark.parametrize(
  'words', ['one a picture', 'Data sets', "a run's folder"]
)
def test_a_retired_word_is_found(words):
  assert any(lines_of(pattern, words) for pattern in RETIRED)


def test_a_docstring_opens_with_what_is_returned_or_done():
  bad = [
    f'{path.relative_to(ROOT)}: {name}: {text.splitlines()[0]}'
    for path in SOURCES
    for name, text in docstrings(path)
    if re.match(r'\w+', text) and re.match(r'\w+', text)[0] in OPENINGS
  ]
  assert not bad, '\n'.join(bad)


def test_every_message_is_in_the_list():
  """A message that changed: read it in its list, then write the list anew."""
  assert messages.FILE.read_text() == messages.listing(), (
    'run: python tests/messages.py'
  )
