"""The page of a report: one HTML file that loads nothing."""

import base64
import hashlib
import html
import importlib.resources
import json
import math
import string

# In this order; the first one reports the errors of the others.
_SCRIPTS = ('dom.js', 'curves.js', 'pictures.js', 'page.js')


def render(content):
  """The page as text, all of it ASCII.

  Args:
    content: plain values: 'name', the run's name; 'facts', [[what, value]];
      'config', {'changed', 'same': [[option, value, default, meaning]]};
      'curves', of `curves.curves`; 'samples', of `grids.grids`; 'gallery', of
      `gallery.gallery`; 'tests', of `scores.scores`.
  """
  style = _file('style.css')
  script = '\n'.join(_file(name) for name in _SCRIPTS)
  # Inside of a script element, '</script>' and '<!--' would end the data.
  content = _plain(content)
  data = json.dumps(content, allow_nan=False).replace('<', '\\u003c')
  title = html.escape(f'{content["name"]}: report')
  return string.Template(_file('template.html')).substitute(
    title=title.encode('ascii', 'xmlcharrefreplace').decode(),
    policy=(
      "default-src 'none'; img-src data:; base-uri 'none'; "
      f"form-action 'none'; style-src {_hash(style)}; "
      f'script-src {_hash(script)}'
    ),
    style=style,
    script=script,
    data=data,
  )


def _file(name):
  return (importlib.resources.files(__package__) / name).read_text('ascii')


def _hash(text):
  """The name a Content-Security-Policy has for an inline text it allows."""
  digest = hashlib.sha256(text.encode()).digest()
  return f"'sha256-{base64.b64encode(digest).decode()}'"


def _plain(value):
  """The same without what a page can't hold.

  NaN and infinity become None, bytes of file names that are no text '?'.
  """
  if isinstance(value, dict):
    return {_plain(key): _plain(x) for key, x in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(x) for x in value]
  if isinstance(value, str):
    return value.encode(errors='replace').decode()
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value
