"""Puts a page together: one HTML file that loads nothing from elsewhere."""

import base64
import hashlib
import html
import importlib.resources
import json
import math
import string

# The parts of every page. dom.js reports the errors of the scripts behind it.
_HEAD, _STYLE, _SCRIPT = 'head.html', 'base.css', 'dom.js'
_POLICY = {
  'default-src': "'none'",
  'img-src': 'data:',
  'base-uri': "'none'",
  'form-action': "'none'",
  'style-src': '',
  'script-src': '',
}


def render(package, scripts, title, content, allow=None, **texts):
  """Renders a page.

  Args:
    package: name of the package that holds the page's template.html, style.css
      and scripts. The template has the placeholders $head, $data and $script,
      in this order, and may have others.
    scripts: names of the scripts, in the order in which they run, behind
      pages/dom.js.
    title: title of the page.
    content: plain values, which the scripts read as JSON from the element
      `data`. NaN and infinity become null.
    allow: {directive: sources} that the Content-Security-Policy allows besides
      the page's own styles, scripts and data: pictures.
    **texts: values of the template's other placeholders, ASCII and HTML.

  Returns:
    The page as text, all of it ASCII.
  """
  style = _file(__package__, _STYLE) + _file(package, 'style.css')
  script = '\n'.join(
    [_file(__package__, _SCRIPT), *(_file(package, x) for x in scripts)]
  )
  # Inside of a script element, '</script>' and '<!--' would end the data.
  data = json.dumps(_plain(content), allow_nan=False).replace('<', '\\u003c')
  title = html.escape(_plain(title))
  own = {'style-src': _hash(style), 'script-src': _hash(script)}
  head = string.Template(_file(__package__, _HEAD)).substitute(
    title=title.encode('ascii', 'xmlcharrefreplace').decode(),
    policy=_policy(own, allow or {}),
    style=style,
  )
  return string.Template(_file(package, 'template.html')).substitute(
    head=head,
    script=script,
    data=data,
    **texts,
  )


def _policy(*more):
  names = dict.fromkeys(name for x in (_POLICY, *more) for name in x)
  return '; '.join(
    ' '.join([name, *(x[name] for x in (_POLICY, *more) if x.get(name))])
    for name in names
  )


def _file(package, name):
  return (importlib.resources.files(package) / name).read_text('ascii')


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
