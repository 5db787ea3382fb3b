"""The page that translates in a browser: its pixels, and what it says.

Most tests need Chromium and the package of ONNX Runtime Web, which
ONNXRUNTIME_WEB names or the root of the repository has.
"""

import io
import os
import pathlib
import re
import tarfile

import numpy as np
import pytest
import tiny
from browser import needs_browser, opened
from PIL import Image

from cyclegan_jax import export
from cyclegan_jax.config import program
from cyclegan_jax.data import decode
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.exporters import asked, web
from cyclegan_jax.exporters.web import command, runtime
from cyclegan_jax.inference import saved

pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')

ROOT = pathlib.Path(__file__).parent.parent
# A camera that shows one colour, or that is not allowed.
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
  """Runs a test with these pages."""
  return pytest.mark.parametrize('page', names, indirect=True)


@pytest.fixture(scope='module')
def package():
  """The package of the runtime."""
  path = pathlib.Path(
    os.environ.get('ONNXRUNTIME_WEB') or ROOT / runtime.ARCHIVE
  )
  if not path.exists():
    pytest.skip(
      f'needs {runtime.NAME}: run `{runtime.COMMAND}` in the repository, or '
      'set ONNXRUNTIME_WEB to the package'
    )
  return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A model of RGB (A) and gray (B) pictures."""
  return tiny.save_model(
    tmp_path_factory.mktemp('models') / 'horse2zebra',
    data__channels_b=1,
    data__name='cycle_gan/horse2zebra',
    loss__identity_a=0.0,
    loss__identity_b=0.0,
  )


@pytest.fixture(scope='module')
def model(folder):
  return saved.load(folder)


def run(folder, output, *flags):
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


@pytest.fixture(scope='module')
def files(folder, package, tmp_path_factory):
  """{type of weights: page}."""
  root = tmp_path_factory.mktemp('pages')
  paths = {name: root / f'{name}.html' for name in web.WEIGHTS}
  for name, path in paths.items():
    flags = [f'--weights={name}'] if name != web.WEIGHTS[0] else []
    assert run(folder, path, f'--runtime={package}', *flags) == 0
  return paths


@pytest.fixture(scope='module')
def page(files, request):
  """A page of `PAGES` in a browser, ready or with its problem shown."""
  weights, script = PAGES[request.param]
  with opened(files[weights], scripts=[script]) as page:
    page.wait_for_selector('html[data-ready], #problem:not([hidden])')
    yield page


def done(page):
  """Number of translations that the page has made."""
  return int(page.evaluate('document.documentElement.dataset.done || 0'))


def translated(page, act):
  """Does something that starts a translation, and waits for its end."""
  before = done(page)
  act()
  page.wait_for_selector(f'html[data-busy=false][data-done="{before + 1}"]')
  return page.inner_text('#status')


def select(page, box, value):
  """Chooses a value, and waits for a translation that this starts."""
  page.select_option(box, value)
  page.wait_for_selector('html:not([data-busy=true])')


def put(page, path):
  return translated(page, lambda: page.set_input_files('#file', path))


def saved_pixels(page, act):
  with page.expect_download() as download:
    act()
  return download.value.suggested_filename, tiny.pixels(download.value.path())


def picture(path, width, height, mode='RGB', seed=0):
  """A file of a smooth random picture."""
  rng = np.random.default_rng(seed)
  array = rng.integers(0, 256, (9, 12, len(mode)), np.uint8)
  Image.fromarray(array, mode).resize((width, height)).save(path)
  return path


def before(page):
  """The pixels that the page has read, as RGB."""
  pixels = page.evaluate("Array.from(pixelsOf(byId('before'), 3))")
  box = page.evaluate("[byId('before').height, byId('before').width, 3]")
  return np.array(pixels, int).reshape(box)


def check_pixels(page, model, size, folder, tolerance):
  """Compares the page with `Model.translate` in both directions."""
  path = picture(folder / 'my.photo.png', *size)
  width, height = size
  for direction, mode in (('a2b', 'RGB'), ('b2a', 'L')):
    select(page, '#direction', direction)
    status = put(page, path)
    assert status.startswith(f'Translated {width} x {height} px in ')
    assert 'scaled' not in status
    name, fake = saved_pixels(page, lambda: page.click('#save'))
    assert name == f'my.photo_{direction}.png'
    pixels = np.asarray(Image.open(path).convert(mode))
    expected = model.translate(pixels.reshape(height, width, -1), direction)
    assert np.std(expected) > 20
    error = np.abs(fake[..., :3].astype(int) - expected)
    assert error.max() <= tolerance
  select(page, '#direction', 'a2b')


SIZES = pytest.mark.parametrize('size', [(64, 64), (255, 193)])


@needs_browser
@on('float32')
@SIZES
def test_pixels_are_those_of_translate(page, model, size, tmp_path):
  check_pixels(page, model, size, tmp_path, 2)


@needs_browser
@on('float16')
@SIZES
def test_pixels_with_weights_of_float16(page, model, size, tmp_path):
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
  """An ICC profile by which a browser would change colours: gamma 1."""
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
def test_drop_and_paste(page, kind, tmp_path):
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
  assert 'That is no file' in page.inner_text('#problem')


@needs_browser
@on('float16')
def test_keys_and_slider(page, tmp_path):
  path = picture(tmp_path / 'keys.png', 100, 80)
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
def test_the_camera(page):
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
def test_an_old_browser_is_told_what_it_lacks(page, request):
  lack = request.node.callspec.params['page'].partition(' ')[2]
  message = page.inner_text('#problem')
  assert lack in message and 'use a newer one' in message


def test_the_page_tells_its_model(files, folder):
  for weights, path in files.items():
    text = path.read_text('ascii')
    assert 'horse to zebra' in text and 'zebra to horse' in text
    assert f'MB, {weights}' in text
    assert 'MIT License. Copyright (c) Microsoft Corporation' in text
    policy = re.search(r'content="(default-src[^"]*)"', text)[1]
    assert 'http' not in policy and "'unsafe-" not in policy
  sizes = {name: path.stat().st_size for name, path in files.items()}
  assert 4e6 < sizes['float16'] < sizes['float32'] < 8e6


def test_one_direction(folder, package, tmp_path, capsys):
  path = tmp_path / 'page.html'
  assert run(folder, path, f'--runtime={package}', '--direction=b2a') == 0
  text = path.read_text()
  assert 'id="model-b2a"' in text and 'id="model-a2b"' not in text
  out = capsys.readouterr().out
  assert 'b2a: at most' in out and 'a2b' not in out


# What needs no browser and no package of the runtime.


@pytest.fixture
def fake(tmp_path):
  """A folder and an archive that look like the package and are not."""
  root = tmp_path / 'fake'
  for name in runtime.HASHES:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'something else')
  facts = f'{{"name": "{runtime.NAME}", "version": "{runtime.VERSION}"}}'
  (root / 'package.json').write_text(facts)
  archive(root, tmp_path / 'fake.tgz')
  return root


def archive(folder, path):
  with tarfile.open(path, 'w:gz') as tar:
    tar.add(folder, 'package')


def refused(folder, tmp_path, capsys, *flags):
  """The line by which an export is refused."""
  path = tmp_path / 'page.html'
  assert run(folder, path, *flags) == program.USER_ERROR
  (line,) = capsys.readouterr().err.splitlines()
  assert not path.exists()
  return line


@pytest.mark.parametrize('kind', ['fake', 'fake.tgz'])
def test_a_package_of_other_files(folder, fake, kind, tmp_path, capsys):
  def line():
    if kind == 'fake.tgz':
      archive(fake, tmp_path / kind)
    flag = f'--runtime={tmp_path / kind}'
    text = refused(folder, tmp_path, capsys, flag)
    assert f'`{runtime.COMMAND}`' in text
    return text

  module, wasm = runtime.HASHES
  assert f'{module} that is not that of {runtime.VERSION}' in line()
  (fake / wasm).unlink()
  (fake / module).unlink()
  assert f'it has no {module}' in line()
  facts = fake / 'package.json'
  facts.write_text(facts.read_text().replace(runtime.VERSION, '1.2.3'))
  assert 'is version 1.2.3 of onnxruntime-web, not' in line()


def test_what_is_no_package(folder, tmp_path, capsys):
  line = refused(folder, tmp_path, capsys)
  assert 'no --runtime' in line and runtime.COMMAND in line
  path = tmp_path / 'x.tgz'
  line = refused(folder, tmp_path, capsys, f'--runtime={path}')
  assert 'x.tgz (--runtime) does not exist' in line
  whole = io.BytesIO()
  with tarfile.open(fileobj=whole, mode='w:gz') as tar:
    tar.add(__file__, 'package/x')
  for content in (b'', b'text', whole.getvalue()[:-200]):
    path.write_bytes(content)
    line = refused(folder, tmp_path, capsys, f'--runtime={path}')
    assert 'is no archive of npm' in line and runtime.COMMAND in line


@pytest.mark.parametrize(
  'flag, message',
  [
    ('--uint8', '--uint8 is for every format but web'),
    ('--layout=nchw', '--layout is for every format but web'),
    ('--size=64x64', '--size is for every format but web'),
    ('--batch=2', '--batch is for every format but web'),
    ('--weights=int8', '--format=web stores float16 or float32'),
    ('--format=onnx', '--runtime is for --format=web'),
  ],
)
def test_flags_that_do_not_fit(folder, flag, message, tmp_path, capsys):
  assert message in refused(folder, tmp_path, capsys, '--runtime=x', flag)


@pytest.mark.parametrize(
  'options, flag, message',
  [
    ({'data__channels_b': 2}, '', 'data.channels_b is 2: use --format=onnx'),
    ({'data__range_b': '0,4095'}, '', 'for pictures of 8 bits'),
    ({}, '--direction=x', "no direction 'x'"),
  ],
)
def test_models_that_do_not_fit(
  options, flag, message, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(runtime, 'read', lambda path: runtime.Runtime(b'', b''))
  path = tiny.save_model(
    tmp_path / 'm', **options, loss__identity_a=0.0, loss__identity_b=0.0
  )
  flags = ['--runtime=x', *filter(None, [flag])]
  assert message in refused(path, tmp_path, capsys, *flags)


def test_flags_of_other_formats_are_known():
  assert set(asked._OF_PROGRAMS) | set(asked._OF_WEB) <= set(export.FLAGS)
  for name, default in (asked._OF_PROGRAMS | asked._OF_WEB).items():
    assert export.FLAGS[name][1] == default


def test_a_training_names_the_command(tmp_path):
  for channels, named in ((1, True), (2, False)):
    path = tiny.save_model(
      tmp_path / str(channels),
      data__channels_b=channels,
      loss__identity_a=0.0,
      loss__identity_b=0.0,
    )
    model = saved.load(path)
    line = command.invitation(model.config, model.method, 'runs/x')
    assert bool(line) == named
  assert '--format=web --model=runs/x ' in command.invitation(
    saved.load(tmp_path / '1').config, model.method, 'runs/x'
  )
