"""Settings of the documentation site, which `make docs` builds with Sphinx."""

import ast
import inspect
import textwrap

from docutils import nodes
from docutils.utils.math import latex2mathml

import cyclegan_jax
from cyclegan_jax.defaults import OPTIONS

project = 'cyclegan_jax'
author = 'the authors of cyclegan_jax'
release = version = cyclegan_jax.__version__
copyright = f'{author}; Apache-2.0'  # noqa: A001

extensions = [
  'myst_parser',
  'sphinx.ext.autodoc',
  'sphinx.ext.napoleon',
  'sphinx_copybutton',
]
exclude_patterns = ['_build']
suppress_warnings = ['config.cache']

myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 3

# Docstrings are read as they stand: types from signatures, names in backticks.
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_preserve_defaults = True
napoleon_attr_annotations = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
default_role = 'code'

html_math_renderer = 'mathml'
html_theme = 'sphinx_book_theme'
html_title = 'cyclegan_jax'
html_static_path = ['_static']
html_css_files = ['style.css']
smartquotes = False
html_copy_source = False
html_use_index = False
html_show_sourcelink = False
html_theme_options = {'show_toc_level': 2, 'use_download_button': False}


def options_by_section():
  """Returns every option of `defaults.py` as Markdown, section by section."""
  sections = {}
  for name, option in OPTIONS.items():
    first, dot, _ = name.partition('.')
    default = repr(option.default) if option.default != '' else 'empty'
    allowed = f' Must be {option.range.text}.' if option.range else ''
    meaning = option.meaning.replace('*', r'\*')
    sections.setdefault(first if dot else 'general', []).append(
      f'`{name}` (default: {default})\n: {meaning}.{allowed}\n'
    )
  return '\n'.join(
    f'## {name}\n\n' + '\n'.join(lines) for name, lines in sections.items()
  )


def fill_in_options(app, name, source):
  """Puts the list of options into options.md, in place of its marker."""
  if name == 'options':
    source[0] = source[0].replace('% OPTIONS', options_by_section())


def keep_code(app, kind, name, member, options, lines):
  """Marks the indented blocks of a docstring as code."""
  for i in range(len(lines) - 1, 0, -1):
    before = next((x for x in reversed(lines[:i]) if x), '')
    if lines[i].startswith('    ') and not lines[i - 1] and before[:1] != ' ':
      lines[i:i] = ['::', '']


def as_written(app, kind, name, member, options, signature, returns):
  """Returns signature and result as the source has them, shapes and all."""
  if kind not in ('class', 'function', 'method'):
    return None
  try:
    node = ast.parse(textwrap.dedent(inspect.getsource(member))).body[0]
  except (OSError, TypeError, SyntaxError):
    return None
  if isinstance(node, ast.ClassDef):
    fields = [x.target.id for x in node.body if isinstance(x, ast.AnnAssign)]
    return (f'({", ".join(fields)})', None) if fields else None
  if kind == 'method' and node.args.args[:1]:
    del node.args.args[0]  # self
  result = ast.unparse(node.returns) if node.returns else None
  return f'({ast.unparse(node.args)})', result


def skip(app, kind, name, member, skipped, options):
  """Returns True for the fields of a NamedTuple, which its docstring lists."""
  is_field = (getattr(member, '__doc__', '') or '').startswith(
    'Alias for field'
  )
  return skipped or is_field


def write_equation(translator, node):
  """Writes an equation as MathML, which browsers draw without a script."""
  block = isinstance(node, nodes.math_block)
  math = latex2mathml.tex2mathml(node.astext(), as_block=block)
  translator.body.append(f'<div class="math">{math}</div>' if block else math)
  raise nodes.SkipNode


def setup(app):
  """Connects the functions of this file to Sphinx."""
  app.add_html_math_renderer(
    'mathml', (write_equation, None), (write_equation, None)
  )
  app.connect('source-read', fill_in_options)
  # Before napoleon, whose sections are indented, too.
  app.connect('autodoc-process-docstring', keep_code, priority=400)
  app.connect('autodoc-process-signature', as_written)
  app.connect('autodoc-skip-member', skip)
