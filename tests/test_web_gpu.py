"""Tests of pages made with --webgpu, on a GPU or on the CPU."""

import pytest
from browser import needs_browser, opened, served
from web_pages import check_pixels, model_folder, package, run

from cyclegan_jax.exporters.web import runtime
from cyclegan_jax.inference import saved

pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')

ON_CPU = 'Runs on the CPU (WebAssembly): this browser offers no GPU'
# A GPU that the CPU emulates.
SWIFTSHADER = (
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-features=Vulkan',
)
# The worker uses the CPU as a faulty GPU.
FAULTY = """
  offered = async () => ({ limits: { maxStorageBufferBindingSize: 1 << 20 } });
  const whole = created;
  created = async (bytes, provider) => {
    const session = await whole(bytes, 'wasm');
    if (provider === 'wasm') return session;
    const run = session.run.bind(session);
    const fails = (text) => { throw Error(text); };
    session.run = async (feeds) => {
      const made = await run(feeds);
      const [, height] = feeds.images.dims;
      FAULT;
      return made;
    };
    return session;
  };
"""
# Fault -> message of the page.
FAULTS = {
  "fails('no device')": 'no device',
  'made.translated.data.fill(0)': (
    'its translations differ by 255 of 255 levels'
  ),
  "if (height === 64) fails('lost')": 'lost',
}


def in_worker(text):
  """Returns a script that adds a text to the worker's script."""
  return f"""
    const Plain = Blob;
    Blob = class extends Plain {{
      constructor(parts, options) {{
        const worker = options?.type === 'text/javascript';
        super(worker ? [...parts, {text!r}] : parts, options);
      }}
    }};
  """


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return model_folder(tmp_path_factory.mktemp('models'))


@pytest.fixture(scope='module')
def model(folder):
  return saved.load(folder)


@pytest.fixture(scope='module')
def file(folder, tmp_path_factory):
  path = tmp_path_factory.mktemp('pages') / 'page.html'
  flags = ('--webgpu', '--direction=a2b', f'--runtime={package()}')
  assert run(folder, path, *flags) == 0
  return path


def place(page):
  """Returns the line of the page that names its device."""
  page.wait_for_selector('html[data-ready], #problem:not([hidden])')
  return page.inner_text('#place')


@needs_browser
def test_without_a_gpu_the_page_runs_on_the_cpu(file, model, tmp_path):
  with opened(file) as page:
    assert place(page) == ON_CPU
    check_pixels(page, model, (93, 67), tmp_path, 8)


@needs_browser
@pytest.mark.slow
def test_an_emulated_gpu_is_not_used(file):
  with opened(file, args=SWIFTSHADER) as page:
    assert place(page) == ON_CPU


@needs_browser
@pytest.mark.slow
def test_pixels_of_webgpu_are_close_to_translate(file, model, tmp_path):
  offer = in_worker('offered = () => navigator.gpu.requestAdapter();')
  with (
    served(file) as address,
    opened(file, address=address, args=SWIFTSHADER, scripts=[offer]) as page,
  ):
    if place(page) != 'Runs on the GPU (WebGPU)':
      pytest.skip(f'needs WebGPU by SwiftShader: {place(page)}')
    check_pixels(page, model, (93, 67), tmp_path, 8)
    assert page.inner_text('#place') == 'Runs on the GPU (WebGPU)'


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize('fault', FAULTS)
def test_a_failing_gpu_is_not_used(fault, file, model, tmp_path):
  script = in_worker(FAULTY.replace('FAULT', fault))
  with opened(file, scripts=[script]) as page:
    assert place(page) == (
      f'Runs on the CPU (WebAssembly): the GPU failed ({FAULTS[fault]})'
    )
    check_pixels(page, model, (93, 67), tmp_path, 8)


@needs_browser
def test_a_gpu_that_fails_later_is_replaced_by_the_cpu(file, model, tmp_path):
  fault = "if (height === 67) fails('lost')"
  with opened(
    file, scripts=[in_worker(FAULTY.replace('FAULT', fault))]
  ) as page:
    assert place(page) == 'Runs on the GPU (WebGPU)'
    assert page.input_value('#limit') == '256'  # the limit of the GPU's buffers
    check_pixels(page, model, (93, 67), tmp_path, 8)
    assert 'the GPU failed (lost)' in place(page)


def test_webgpu_pages_use_another_runtime_build(file):
  text = file.read_text('ascii')
  assert '"webgpu": true' in text
  assert len({tuple(x) for x in runtime.HASHES.values()}) == 2
