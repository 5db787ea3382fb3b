"""Chromium, driven by Playwright, for the tests of pages."""

import contextlib
import functools
import http.server
import shutil
import threading

import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
needs_browser = pytest.mark.skipif(not BROWSER, reason='needs Chromium')
_TIMEOUT = 120e3  # milliseconds, of a busy machine


class _Quiet(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *args):
    pass


@contextlib.contextmanager
def served(path):
  """Yields the address of a file on a server of this machine."""
  handler = functools.partial(_Quiet, directory=path.parent)
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}/{path.name}'
    server.shutdown()
    thread.join()


@contextlib.contextmanager
def opened(
  path, width=1280, height=900, *, dark=False, scripts=(), args=(), address=''
):
  """Opens a file in Chromium, from the disk and without a network.

  Args:
    path: of an HTML file.
    width: of the window, in pixels.
    height: of the window, in pixels.
    dark: whether the system prefers dark colours.
    scripts: texts of scripts that run before those of the page.
    args: more arguments of Chromium.
    address: of the file, if it is `served`.

  Yields:
    Playwright's page. When the block ends, the page has loaded nothing from a
    network, and no script, picture or policy has reported an error (pages/
    dom.js notes the first as data-error of the html element).
  """
  from playwright.sync_api import sync_playwright

  with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
      executable_path=BROWSER, args=['--no-sandbox', *args]
    )
    context = browser.new_context(
      viewport={'width': width, 'height': height},
      color_scheme='dark' if dark else 'light',
      offline=not address,
      accept_downloads=True,
    )
    context.set_default_timeout(_TIMEOUT)
    for script in scripts:
      context.add_init_script(script)
    page = context.new_page()
    errors, requests = [], []
    page.on('pageerror', lambda e: errors.append(str(e)))
    page.on('request', lambda x: requests.append(x.url))
    page.goto(address or path.absolute().as_uri())
    yield page
    assert page.evaluate('document.documentElement.dataset.error') is None
    assert not errors
    loaded = [x for x in requests if x.startswith(('http:', 'https:'))]
    assert loaded == [address] * bool(address)
    browser.close()
