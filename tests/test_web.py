"""Tests of the page that translates in a browser: pixels and messages.

The tests need Chromium and the package of ONNX Runtime Web, in the root of the
repository or at the path in ONNXRUNTIME_WEB.
"""

import re

import numpy as np
import pytest
from browser import needs_browser, opened
from PIL import Image
from web_pages import (
  check_pixels,
  made_of,
  model_folder,
  package,
  picture,
  put,
  run,
  saved_pixels,
  select,
  translated,
)

from cyclegan_jax.data import decode
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.exporters import web
from cyclegan_jax.inference import saved

pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')

from cyclegan_jax.exporters.web.page import write

# A camera that shows one colour, or whose use is denied.
CAMERA = """
  const camera = async () => {
    if (window.denied) throw new DOMException('', 'NotAllowedError');
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width: 40, height: 30 });
    canvas.getContext('2d').fillRect(0, 0, 40, 30);
    return canvas.captureStream(10);
  };
  Object.defineProperty(navigator, 'mediaDevices',
    { value: { getUserMedia: camera } });
"""
# A runtime without the memory for more than 256x256 pixels.
LITTLE_MEMORY = """
  const Whole = Worker;
  Worker = class extends Whole {
    postMessage(data) {
      const [, height, width] = data.shape || [0, 0, 0];
      const large = height * width > 65536;
      if (!large) return super.postMessage(data);
      this.onmessage({ data: { id: data.id, failed: 'std::bad_alloc' } });
    }
  };
"""
# Name of a page -> (type of its weights, script that runs before it).
PAGES = {
  'float32': ('float32', ''),
  'float16': ('float16', CAMERA),
  'little memory': ('float16', LITTLE_MEMORY),
  'no DecompressionStream': ('float16', 'delete window.DecompressionStream'),
  'no SIMD': ('float16', 'WebAssembly.validate = () => false'),
}


def on(*names):
  """Parametrises a test with pages of `PAGES`."""
  return pytest.mark.parametrize('page', names, indirect=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return model_folder(tmp_path_factory.mktemp('models'))


@pytest.fixture(scope='module')
def model(folder):
  return saved.load(folder)


@pytest.fixture(scope='module')
def files(model, tmp_path_factory):
  """Returns {type of weights: path of a page}."""
  root = tmp_path_factory.mktemp('pages')
  paths = {name: root / f'{name}.html' for name in web.WEIGHTS}
  for name, path in paths.items():
    write(path, model, model.directions, name, made_of('wasm'))
  return paths


@pytest.fixture(scope='module')
def page(files, request):
  """Page of `PAGES` in a browser, ready or showing its problem."""
  weights, script = PAGES[request.param]
  with opened(files[weights], scripts=[script]) as page:
    page.wait_for_selector('html[data-ready], #problem:not([hidden])')
    yield page


def before(page):
  """Returns the pixels that the page has read, as RGB."""
  pixels = page.evaluate("Array.from(pixelsOf(byId('before'), 3))")
  box = page.evaluate("[byId('before').height, byId('before').width, 3]")
  return np.array(pixels, int).reshape(box)


SIZES = pytest.mark.parametrize('size', [(64, 64), (255, 193)])


@needs_browser
@on('float32')
@SIZES
def test_pixels_equal_those_of_translate(page, model, size, tmp_path):
  check_pixels(page, model, size, tmp_path, 2)


@needs_browser
@on('float16')
@SIZES
def test_pixels_with_float16_weights_are_close_to_translate(
  page, model, size, tmp_path
):
  check_pixels(page, model, size, tmp_path, 8)


@needs_browser
@on('float16')
def test_pictures_are_read_as_by_translate(page, tmp_path):
  clear = picture(tmp_path / 'clear.png', 40, 30, 'RGBA')
  turned = tmp_path / 'turned.jpg'
  exif = Image.Exif()
  exif[0x0112] = 6
  with Image.open(picture(tmp_path / 'x.png', 40, 30)) as image:
    image.save(turned, exif=exif, quality=100, subsampling=0)
  profiled = tmp_path / 'profiled.png'
  with Image.open(picture(profiled, 40, 30)) as image:
    image.save(profiled, icc_profile=_wide_gamut())
  for path, shape in ((clear, (30, 40)), (turned, (40, 30)), (profiled, 0)):
    put(page, path)
    expected = decode.load(Picture(path.name, path), 3).astype(int)
    assert not shape or expected.shape[:2] == shape
    assert np.abs(before(page) - expected).max() <= 1


def _wide_gamut():
  """Returns an ICC profile of gamma 1, with which a browser changes colours."""
  from PIL import ImageCms

  profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
  assert profile.count(b'para') >= 1
  at = profile.index(b'para')
  kind = (0).to_bytes(2, 'big') + bytes(2) + (1 << 16).to_bytes(4, 'big')
  return profile[: at + 8] + kind + profile[at + 8 + len(kind) :]


@needs_browser
@on('float16')
def test_a_photo_of_20_megapixels_is_scaled(page, tmp_path):
  path = picture(tmp_path / 'photo.jpg', 5472, 3648)
  select(page, '#limit', '512')
  status = put(page, path)
  assert re.fullmatch(
    r'Translated 512 x 341 px in [\d.]+ s\. The picture of 5472 x 3648 px was '
    r'scaled to 512 x 341 px\.',
    status,
  )
  for limit, size in (('2048', '2048 x 1365'), ('256', '256 x 171')):
    select(page, '#limit', limit)
    assert f'was scaled to {size} px' in page.inner_text('#status')


@needs_browser
@on('float16')
def test_a_broken_picture_is_named(page, tmp_path):
  path = tmp_path / 'broken.png'
  path.write_bytes(picture(tmp_path / 'x.png', 20, 20).read_bytes()[:60])
  page.set_input_files('#file', path)
  page.wait_for_selector('#problem:has-text("broken.png cannot be read")')
  put(page, picture(tmp_path / 'thin.png', 40, 30))
  assert page.is_hidden('#problem')
  page.set_input_files('#file', picture(tmp_path / 'thin.png', 40, 3))
  page.wait_for_selector('#problem:has-text("40 x 3 px")')


@needs_browser
@on('float16')
@pytest.mark.parametrize('kind', ['drop', 'paste'])
def test_pictures_can_be_dropped_and_pasted(page, kind, tmp_path):
  data = list(picture(tmp_path / 'x.png', 24, 20).read_bytes())
  send = """([kind, data]) => {
    const moved = new DataTransfer();
    if (data) moved.items.add(new File([Uint8Array.from(data)], kind + '.png'));
    document.body.dispatchEvent(kind === 'drop'
      ? new DragEvent(kind, { dataTransfer: moved, bubbles: true })
      : new ClipboardEvent(kind, { clipboardData: moved, bubbles: true }));
  }"""
  translated(page, lambda: page.evaluate(send, [kind, data]))
  assert page.inner_text('#caption') == f'{kind}.png, horse to zebra'
  page.evaluate(send, [kind, None])
  assert 'This is not a file' in page.inner_text('#problem')


@needs_browser
@on('float16')
def test_keys_and_slider_work(page, tmp_path):
  path = picture(tmp_path / 'keys.png', 100, 80)
  page.on(
    'filechooser', lambda chooser: None
  )  # keeps file choosers intercepted
  page.focus('#drop')
  for key in ('Enter', 'Space', 'o'):
    with page.expect_file_chooser() as chooser:
      page.keyboard.press(key)
  translated(page, lambda: chooser.value.set_files(path))
  page.evaluate('setSplit(50)')
  page.keyboard.press('ArrowRight')
  assert page.input_value('#split') == '55'
  page.keyboard.press('ArrowLeft')
  page.keyboard.press('ArrowLeft')
  assert page.input_value('#split') == '45'
  box = page.locator('#stack').bounding_box()
  page.mouse.move(box['x'] + box['width'] / 2, box['y'] + 5)
  page.mouse.down()
  page.mouse.move(box['x'] + box['width'] / 4, box['y'] + 5)
  page.mouse.up()
  assert page.input_value('#split') == '25'
  clip = "getComputedStyle(byId('after')).clipPath"
  assert page.evaluate(clip) == 'inset(0px 0px 0px 25%)'
  page.keyboard.press('+')
  assert page.locator('#stack').bounding_box()['width'] == 100
  page.keyboard.press('-')
  assert page.locator('#stack').bounding_box()['width'] == box['width']
  translated(page, lambda: page.keyboard.press('d'))
  assert page.inner_text('#caption') == 'keys.png, zebra to horse'
  translated(page, lambda: page.keyboard.press('d'))
  name, pixels = saved_pixels(page, lambda: page.keyboard.press('s'))
  assert name == 'keys_a2b.png' and pixels.shape[:2] == (80, 100)
  for key in ('O', 'C', 'D', 'S'):
    assert key in page.locator('.keys kbd').all_inner_texts()


@needs_browser
@on('float16')
def test_the_camera_works(page):
  page.evaluate('window.denied = true')
  page.keyboard.press('c')
  page.wait_for_selector('#problem:has-text("no permission to use the camera")')
  page.evaluate('window.denied = false')
  page.keyboard.press('c')
  page.wait_for_selector('#viewfinder[open]')
  page.wait_for_timeout(300)
  translated(page, lambda: page.click('#shoot'))
  assert page.inner_text('#caption').startswith('camera.png')
  assert page.evaluate("byId('video').srcObject") is None
  assert np.all(before(page) == 0) and before(page).shape == (30, 40, 3)


@needs_browser
@on('little memory')
def test_without_memory_a_picture_is_scaled_further(page, tmp_path):
  select(page, '#limit', '512')
  status = put(page, picture(tmp_path / 'x.png', 600, 300))
  assert 'was scaled to 256 x 128 px' in status
  message = page.inner_text('#problem')
  assert message == (
    'There is not enough memory for 512 x 256 px: trying 256 px.'
  )


@needs_browser
@on('no DecompressionStream', 'no SIMD')
def test_a_message_names_the_features_that_an_old_browser_lacks(page, request):
  lack = request.node.callspec.params['page'].partition(' ')[2]
  message = page.inner_text('#problem')
  assert lack in message and 'use a newer browser' in message


def test_the_page_names_its_model(files, folder):
  for weights, path in files.items():
    text = path.read_text('ascii')
    assert 'horse to zebra' in text and 'zebra to horse' in text
    assert f'MB, {weights}' in text
    assert 'MIT License. Copyright (c) Microsoft Corporation' in text
    policy = re.search(r'content="(default-src[^"]*)"', text)[1]
    assert 'http' not in policy and "'unsafe-" not in policy
  sizes = {name: path.stat().st_size for name, path in files.items()}
  assert 4e6 < sizes['float16'] < sizes['float32'] < 8e6


def test_a_page_of_one_direction_is_exported(folder, tmp_path, capsys):
  path = tmp_path / 'page.html'
  assert run(folder, path, f'--runtime={package()}', '--direction=b2a') == 0
  text = path.read_text('ascii')
  assert f'MB, {web.WEIGHTS[0]}' in text
  assert 'id="model-b2a"' in text and 'id="model-a2b"' not in text
  out = capsys.readouterr().out
  assert 'b2a: differs from the model by at most' in out and 'a2b' not in out
