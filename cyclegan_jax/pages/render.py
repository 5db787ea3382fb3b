"""Renders an HTML page as one file that loads nothing from other places."""

import base64
import hashlib
import html
import importlib.resources
import json
import math
import string

# Files used in every page. dom.js runs first, because it reports the errors of
# all later scripts.
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
  """Renders an HTML page from the template of a package.

  Args:
    package: name of the package that contains template.html, style.css and the
      scripts of the page. The template has the placeholders $head, $data and
      $script, in this order, and may have others.
    scripts: file names of the scripts, in the order in which they run. They run
      after pages/dom.js.
    title: title of the page, plain text.
    content: dicts, lists, strings, numbers, booleans and None, which the
      scripts read as JSON from the element with the id `data`. NaN and infinity
      become null.
    allow: {directive: sources}, additions to the Content-Security-Policy.
      Without them the page may use only its own styles and scripts, and images
      in `data:` URLs.
    **texts: values of the other placeholders of the template, ASCII HTML.

  Returns:
    The HTML page as text, ASCII only.
  """
  style = _file(__package__, _STYLE) + _file(package, 'style.css')
  script = '\n'.join(
    [_file(__package__, _SCRIPT), *(_file(package, x) for x in scripts)]
  )
  # In a script element, '</script>' and '<!--' would end or corrupt the data.
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
  """Returns the Content-Security-Policy of a page.

  Args:
    *more: dicts {directive: sources} that are added to `_POLICY`.
  """
  names = dict.fromkeys(name for x in (_POLICY, *more) for name in x)
  return '; '.join(
    ' '.join([name, *(x[name] for x in (_POLICY, *more) if x.get(name))])
    for name in names
  )


def _file(package, name):
  """Returns the text of an ASCII file in a package."""
  return (importlib.resources.files(package) / name).read_text('ascii')


def _hash(text):
  """Returns the source expression that allows an inline style or script."""
  digest = hashlib.sha256(text.encode()).digest()
  return f"'sha256-{base64.b64encode(digest).decode()}'"


def _plain(value):
  """Returns a copy of plain values that JSON and UTF-8 can represent.

  NaN and infinity become None. Bytes of file names that are not valid UTF-8
  become '?'.
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
