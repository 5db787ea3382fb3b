"""Settings of the documentation site, which `make docs` builds with Sphinx."""

import cyclegan_jax
from cyclegan_jax.defaults import OPTIONS

project = 'cyclegan_jax'
release = version = cyclegan_jax.__version__
copyright = 'the authors of cyclegan_jax; Apache-2.0'  # noqa: A001

extensions = [
  'myst_parser',
  'sphinx.ext.autodoc',
  'sphinx.ext.mathjax',
  'sphinx.ext.napoleon',
  'sphinx_copybutton',
]
exclude_patterns = ['_build']
suppress_warnings = ['config.cache']
nitpicky = False

myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 3

# Docstrings are read as they stand: types from signatures, names in backticks.
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
default_role = 'code'

html_theme = 'sphinx_book_theme'
html_title = 'cyclegan_jax'
html_static_path = []
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {'show_toc_level': 2, 'use_download_button': False}


def options_by_section():
  """Returns every option of `defaults.py` as Markdown, section by section."""
  lines, section = [], None
  for name, option in OPTIONS.items():
    first, dot, _ = name.partition('.')
    if (dot and first) != section:
      section = dot and first
      lines += [f'## `{section or "general"}`', '']
    default = repr(option.default) if option.default != '' else 'empty'
    allowed = f' Must be {option.range.text}.' if option.range else ''
    meaning = option.meaning.replace('|', r'\|').replace('*', r'\*')
    lines += [f'`{name}` (default: {default})', f': {meaning}.{allowed}', '']
  return '\n'.join(lines)


def fill_in_options(app, name, source):
  """Puts the list of options into options.md, in place of its marker."""
  if name == 'options':
    source[0] = source[0].replace('% OPTIONS', options_by_section())


def skip(app, kind, name, member, skipped, options):
  """Returns True for the fields of a NamedTuple, which its docstring lists."""
  is_field = (getattr(member, '__doc__', '') or '').startswith(
    'Alias for field'
  )
  return skipped or is_field


def setup(app):
  """Connects the functions of this file to Sphinx."""
  app.connect('source-read', fill_in_options)
  app.connect('autodoc-skip-member', skip)
