"""Opens pages in Chromium by Playwright, for tests."""

import contextlib
import functools
import http.server
import shutil
import threading

import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
needs_browser = pytest.mark.skipif(not BROWSER, reason='needs Chromium')
_TIMEOUT = 120e3  # milliseconds, enough for a busy machine


class _Quiet(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *args):
    pass


@contextlib.contextmanager
def served(path):
  """Serves a file on a local server and yields its address."""
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
    path: path of an HTML file.
    width: width of the window in pixels.
    height: height of the window in pixels.
    dark: if True, the system prefers dark colours.
    scripts: texts of scripts that run before the scripts of the page.
    args: additional arguments of Chromium.
    address: address of the file, if the file is `served`.

  Yields:
    Playwright's page. At the end of the block, the function checks that the
    page has loaded nothing from a network, and that no script, picture or
    policy has reported an error (pages/dom.js records the first error as
    data-error of the html element).
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
