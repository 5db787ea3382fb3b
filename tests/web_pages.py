"""Makes and operates pages that translate in a browser, for tests."""

import functools
import os
import pathlib

import numpy as np
import pytest
import tiny
from PIL import Image

from cyclegan_jax import export
from cyclegan_jax.config import program
from cyclegan_jax.exporters.web import runtime

ROOT = pathlib.Path(__file__).parent.parent


def package():
  """Returns the path of the runtime's package; skips the test without one."""
  path = pathlib.Path(
    os.environ.get('ONNXRUNTIME_WEB') or ROOT / runtime.ARCHIVE
  )
  if not path.exists():
    pytest.skip(
      f'needs {runtime.NAME}: run `{runtime.COMMAND}` in the repository, or '
      'set ONNXRUNTIME_WEB to the package'
    )
  return path


@functools.cache
def made_of(build):
  """Returns a build of the runtime."""
  return runtime.read(package(), build)


def model_folder(root):
  """Saves a model of RGB (A) and gray (B) pictures; returns its folder."""
  return tiny.save_model(
    root / 'horse2zebra',
    data__channels_b=1,
    data__name='cycle_gan/horse2zebra',
    loss__identity_a=0.0,
    loss__identity_b=0.0,
  )


def run(folder, output, *flags):
  """Exports a page by the command and returns the exit code."""
  return program.run(
    export.main,
    [
      'export',
      '--format=web',
      f'--model={folder}',
      f'--output={output}',
      *flags,
    ],
  )


def done(page):
  """Returns the number of translations that the page has made."""
  return int(page.evaluate('document.documentElement.dataset.done || 0'))


def translated(page, act):
  """Calls `act`, which starts a translation, and waits for its end."""
  before = done(page)
  act()
  page.wait_for_selector(f'html[data-busy=false][data-done="{before + 1}"]')
  return page.inner_text('#status')


def select(page, box, value):
  """Chooses a value in a box, and waits for the translation that follows."""
  page.select_option(box, value)
  page.wait_for_selector('html:not([data-busy=true])')


def put(page, path):
  return translated(page, lambda: page.set_input_files('#file', path))


def saved_pixels(page, act):
  with page.expect_download() as download:
    act()
  return download.value.suggested_filename, tiny.pixels(download.value.path())


def picture(path, width, height, mode='RGB', seed=0):
  """Writes a smooth random picture; returns its path."""
  rng = np.random.default_rng(seed)
  array = rng.integers(0, 256, (9, 12, len(mode)), np.uint8)
  Image.fromarray(array, mode).resize((width, height)).save(path)
  return path


def check_pixels(page, model, size, folder, tolerance):
  """Compares the page with `Model.translate` in the directions of the page."""
  path = picture(folder / 'my.photo.png', *size)
  width, height = size
  options = page.locator('#direction option').all()
  for direction in [x.get_attribute('value') for x in options]:
    if len(options) > 1:  # otherwise the choices are hidden
      select(page, '#direction', direction)
    status = put(page, path)
    assert status.startswith(f'Translated {width} x {height} px in ')
    assert 'scaled' not in status
    name, fake = saved_pixels(page, lambda: page.click('#save'))
    assert name == f'my.photo_{direction}.png'
    mode = 'RGB' if direction == 'a2b' else 'L'
    pixels = np.asarray(Image.open(path).convert(mode))
    expected = model.translate(pixels.reshape(height, width, -1), direction)
    assert np.std(expected) > 20
    error = np.abs(fake[..., :3].astype(int) - expected)
    assert error.max() <= tolerance
  page.evaluate("byId('direction').selectedIndex = 0")
