"""Tests of exported programs against the model, each in its own runtime."""

import pathlib
import re
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_tiled
import tiny
from jax import export as jax_export
from PIL import Image
from variants import VARIANTS

from cyclegan_jax import export, nets, pth
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.exporters import checked
from cyclegan_jax.exporters.formats import FORMATS, Wanted
from cyclegan_jax.inference import saved
from cyclegan_jax.inference.model import Model
from cyclegan_jax.nets import layers
from cyclegan_jax.nets.conv import forms

_AVERAGES = ('mean', 'var')  # of batch norm
NETWORKS = {
  'resnet': {},
  'resnet, resize, batch norm': {
    'generator__upsampling': 'resize',
    'generator__norm': 'batch',
  },
  'resnet, blurs, replicate': {
    'generator__upsampling': 'blur',
    'generator__downsampling': 'blur',
    'generator__padding': 'replicate',
  },
  'unet': {'generator__name': 'unet', 'generator__depth': 5},
  'unet, resize, gray': {
    'generator__name': 'unet',
    'generator__depth': 3,
    'generator__upsampling': 'resize',
    'data__channels_b': 1,
    'loss__identity_a': 0.0,
    'loss__identity_b': 0.0,
  },
  'resnet, 5 to 2 channels': {
    'data__channels_a': 5,
    'data__channels_b': 2,
    'loss__identity_a': 0.0,
    'loss__identity_b': 0.0,
  },
}


@pytest.fixture(params=sorted(FORMATS))
def name(request):
  """Name of an export format whose packages are installed."""
  for package in FORMATS[request.param].packages:
    pytest.importorskip(package)
  return request.param


@pytest.fixture(scope='module')
def models(tmp_path_factory):
  """Returns {name: model} for every entry of `NETWORKS`."""
  root = tmp_path_factory.mktemp('models')
  return {
    name: saved.load(tiny.save_model(root / str(i), **options))
    for i, (name, options) in enumerate(NETWORKS.items())
  }


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Model folder without norms, which would hide errors in brightness."""
  path = tmp_path_factory.mktemp('model')
  return tiny.save_model(path, generator__norm='none')


def onnx_run(net, params, images):
  """Translates images with the ONNX graph of a network."""
  onnxruntime = pytest.importorskip('onnxruntime')
  from cyclegan_jax.exporters import onnx_graph

  channels = images.shape[-1]
  graph = onnx_graph.build(net, params, channels, (None, None, None))
  session = onnxruntime.InferenceSession(graph.SerializeToString())
  return session.run(None, {'images': images})[0]


def tflite_run(net, params, images):
  """Translates images with the TFLite file of a network."""
  pytest.importorskip('ai_edge_litert')
  from cyclegan_jax.exporters import tflite

  shape = (None, None, None, images.shape[-1])
  return tflite.runner(tflite.build(net, params, shape))(images)


# Functions that run networks exported layer by layer.
LAYERED = pytest.mark.parametrize(
  'run', [onnx_run, pytest.param(tflite_run, marks=pytest.mark.slow)]
)


def random(rng, *shape):
  return rng.uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize('network', sorted(NETWORKS))
def test_programs_translate_any_size_and_batch_like_the_model(
  models, network, name, tmp_path, rng
):
  path = tmp_path / 'program'
  result = checked.write(path, name, Wanted(models[network], 'a2b'))
  assert [trial.shape for trial in result.trials] == [(1, 67, 93), (2, 64, 48)]
  assert result.bytes > 5000
  images = random(rng, 2, 64, 48, models[network].channels['a'])
  images[1] *= 0.1
  expected = models[network].translate(images, 'a2b')
  assert np.abs(expected).max() > 0.5
  fakes = np.asarray(FORMATS[name].open(path)(images))
  assert fakes.shape == expected.shape
  np.testing.assert_allclose(fakes, expected, atol=1e-4)


@pytest.mark.parametrize('generator', sorted(nets.GENERATORS))
def test_every_generator_equals_its_onnx_graph(generator, rng):
  net = tiny.generator(generator, init_gain=0.2)(out_channels=3)
  # ResNets need 5 pixels; other generators mirror a single row repeatedly.
  height = 6 if generator.startswith('resnet') else 1
  images = random(rng, 1, height, 21, 3)
  params = tiny.init(net, images)
  expected = jax.jit(partial(nets.apply, net))(params, images)
  assert np.abs(expected).max() > 0.1
  np.testing.assert_allclose(onnx_run(net, params, images), expected, atol=1e-4)


@pytest.mark.parametrize('generator', sorted(nets.GENERATORS))
def test_every_generator_is_traced_with_symbolic_sizes(generator):
  net = tiny.generator(generator)(out_channels=2)
  params = tiny.init(net, np.zeros((1, 16, 16, 3), np.float32))
  net = net.clone(platform=forms.ANY)
  shape = jax_export.symbolic_shape('b, h, w')
  program = jax_export.export(
    jax.jit(lambda images: nets.apply(net, params, images)),
    platforms=('cpu', 'cuda', 'tpu'),
  )(jax.ShapeDtypeStruct((*shape, 3), jnp.float32))
  (output,) = program.out_avals
  assert output.shape == (*shape, 2)
  # Convolutions within a loop are slow on a CPU.
  assert 'stablehlo.while' not in program.mlir_module()


@LAYERED
@pytest.mark.parametrize('size', [(9, 22), (5, 7), (24, 16)])
@pytest.mark.parametrize('name, options', VARIANTS)
def test_every_layer_is_exported_correctly(name, options, size, run, rng):
  net, params = test_tiled.make(name, **options)
  images = random(rng, 2, *size, 3)
  apply = jax.jit(partial(nets.apply, net))
  expected = [apply(params, images[i : i + 1])[0] for i in (0, 1)]
  assert np.std(expected) > 0.05
  np.testing.assert_allclose(
    run(net, params, images), np.stack(expected), atol=1e-4
  )


@LAYERED
@pytest.mark.parametrize('norm', sorted(layers.NORMS))
def test_every_norm_is_computed_per_picture(norm, run, rng):
  net = tiny.generator(norm=norm, init_gain=0.2)(out_channels=3)
  images = random(rng, 2, 8, 8, 3) * np.float32([1, 0.1]).reshape(2, 1, 1, 1)
  params = tiny.init(net, images)
  params = jax.tree.map(
    lambda x: (
      x + rng.uniform(0.1, 0.5, x.shape).astype(np.float32)
      if x.ndim == 1
      else x
    ),
    params,
  )
  apply = jax.jit(partial(nets.apply, net))
  expected = [apply(params, images[i : i + 1])[0] for i in (0, 1)]
  np.testing.assert_allclose(
    run(net, params, images), np.stack(expected), atol=1e-4
  )


@pytest.mark.parametrize(
  'name', [name for name, form in FORMATS.items() if 'float16' in form.weights]
)
def test_float16_weights_halve_the_file_size(models, name, tmp_path):
  for package in FORMATS[name].packages:
    pytest.importorskip(package)
  wanted = Wanted(models['unet'], 'a2b', batch=1, size=(64, 64))
  full = checked.write(tmp_path / 'full', name, wanted)
  half = wanted._replace(weights='float16')
  half = checked.write(tmp_path / 'half', name, half)
  assert half.bytes < 0.6 * full.bytes
  errors = [max(x.error for x in result.trials) for result in (full, half)]
  assert errors[0] < 1e-4 < errors[1] < 8 / 127.5


def test_a_tflite_file_has_common_operators_only(models):
  pytest.importorskip('ai_edge_litert')
  from ai_edge_litert import schema_py_generated as schema

  from cyclegan_jax.exporters import tflite

  network = Wanted(models['unet'], 'a2b').network()
  data = tflite.build(*network, (None, 3, None, 80), layout='nchw')
  model = schema.Model.GetRootAs(data)
  kinds = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
  assert schema.BuiltinOperator.CONV_2D in [x.BuiltinCode() for x in kinds]
  assert not [x.CustomCode() for x in kinds if x.CustomCode()]
  graph = model.Subgraphs(0)
  images = graph.Tensors(graph.Inputs(0))
  assert images.Name() == b'serving_default_images:0'
  assert images.ShapeAsNumpy().tolist() == [1, 3, tflite.SIZE, 80]
  assert images.ShapeSignatureAsNumpy().tolist() == [-1, 3, -1, 80]


def test_a_size_too_small_for_mirror_padding_is_refused(models):
  pytest.importorskip('ai_edge_litert')
  from cyclegan_jax.exporters import tflite

  network = Wanted(models['resnet'], 'a2b').network()
  with pytest.raises(UserError, match='--size is too small .* at least 5x5'):
    tflite.build(*network, (1, 4, 80, 3))


@pytest.mark.parametrize('name', ['onnx', 'tflite'])
def test_a_size_that_is_too_small_is_one_line(models, name, tmp_path):
  for package in FORMATS[name].packages:
    pytest.importorskip(package)
  wanted = Wanted(models['resnet'], 'a2b', size=(4, 4))
  with pytest.raises(UserError, match='--size'):
    checked.write(tmp_path / 'program', name, wanted)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['onnx', 'tflite'])
def test_batch_norm_averages_of_official_files_are_ignored(
  models, name, tmp_path
):
  for package in FORMATS[name].packages:
    pytest.importorskip(package)
  model = models['resnet, resize, batch norm']

  def with_averages(params):
    below = {
      key: with_averages(x) if isinstance(x, dict) else x
      for key, x in params.items()
    }
    if 'scale' in params:
      below |= {key: 3 * np.ones_like(params['scale']) for key in _AVERAGES}
    return below

  params = with_averages(model.params)
  assert pth.has_averages(params['gen'])
  wanted = Wanted(Model(model.config, params), 'a2b')
  checked.write(tmp_path / 'program', name, wanted)


PAGE = pathlib.Path(__file__).parent.parent / 'docs' / 'use_a_model.md'
# format -> lines of the documentation that run a file of this format
EXAMPLES = {
  name: code
  for code, name in re.findall(
    r'^```python\n(# needs: a2b\S*\n[^\n]*  # (\w+)\n.*?)^```',
    PAGE.read_text(),
    re.DOTALL | re.MULTILINE,
  )
}


@pytest.mark.parametrize('name', sorted(FORMATS))
def test_examples_of_the_documentation_run(
  folder, name, tmp_path, monkeypatch, rng
):
  for package in FORMATS[name].packages:
    pytest.importorskip(package)
  monkeypatch.chdir(tmp_path)
  (file,) = re.findall(r"'(a2b[.\w]*)'", EXAMPLES[name])
  loaded = saved.load(folder)
  checked.write(tmp_path / file, name, Wanted(loaded, 'a2b', pixels=True))
  pixels = rng.integers(0, 256, (33, 21, 3), np.uint8)
  Image.fromarray(pixels).save('a.png')
  exec(compile(EXAMPLES[name], PAGE, 'exec'), {})
  expected = loaded.translate(pixels, 'a2b').astype(int)
  assert np.abs(tiny.pixels('b.png') - expected).max() <= 1


def test_the_export_program_accepts_every_flag(
  folder, name, tmp_path, rng, capsys
):
  path = tmp_path / 'new' / 'program'
  argv = [
    'export',
    f'--model={folder}',
    '--direction=b2a',
    f'--format={name}',
    f'--output={path}',
    '--uint8',
    '--layout=nchw',
    '--size=13x18',
    '--batch=2',
  ]
  assert program.run(export.main, argv) == 0
  assert (
    'tested on 2 x 13x18: largest difference to the model'
    in capsys.readouterr().out
  )
  images = rng.integers(0, 256, (2, 13, 18, 3), np.uint8)
  expected = saved.load(folder).translate(images, 'b2a')
  run = FORMATS[name].open(path)
  fakes = np.asarray(run(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
  assert fakes.dtype == np.uint8
  difference = fakes.transpose(0, 2, 3, 1).astype(int) - expected
  assert np.abs(difference).max() <= 1
  with pytest.raises(Exception, match='(?i)dim|shape'):
    run(np.zeros((2, 3, 14, 18), np.uint8))
  assert [x.name for x in path.parent.iterdir()] == ['program']


def test_uint8_is_refused_for_other_value_ranges(tmp_path):
  for text, fits in (('0,255', True), ('0,4095', False)):
    path = tiny.save_model(tmp_path / text, data__range_b=text)
    wanted = Wanted(saved.load(path), 'a2b', pixels=True)
    if fits:
      wanted.check()
      continue
    with pytest.raises(UserError, match='--uint8 .*data.range_b .* 0 to 4095'):
      checked.write(tmp_path / 'x', 'stablehlo', wanted)
    wanted._replace(pixels=False).check()
  assert not (tmp_path / 'x').exists()


def test_a_bfloat16_run_is_exported_in_float32(tmp_path):
  bfloat16 = saved.load(tiny.save_model(tmp_path / 'm', dtype='bfloat16'))
  wanted = Wanted(bfloat16, 'a2b', batch=1, size=(16, 16))
  result = checked.write(tmp_path / 'program', 'stablehlo', wanted)
  # bfloat16 has 8 bits; a program in bfloat16 would have a larger error.
  assert max(trial.error for trial in result.trials) < 1e-4


def test_a_savedmodel_needs_no_jax(models, tmp_path):
  wanted = Wanted(models['resnet'], 'a2b')
  checked.write(tmp_path / 'saved', 'savedmodel', wanted)
  code = (
    'import sys; sys.modules.update(jax=None, cyclegan_jax=None)\n'
    'import tensorflow as tf\n'
    'translate = tf.saved_model.load(sys.argv[1]).signatures'
    "['serving_default']\n"
    "print(translate(images=tf.zeros([1, 7, 9, 3]))['translated'].shape)"
  )
  command = [sys.executable, '-c', code, str(tmp_path / 'saved')]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  assert done.stdout == '(1, 7, 9, 3)\n'


@pytest.mark.parametrize(
  'name, file', [('stablehlo', ''), ('savedmodel', 'saved_model.pb')]
)
def test_programs_use_a_compatible_stablehlo_version(
  models, name, file, tmp_path
):
  """TensorFlow 2.21 reads StableHLO up to 1.13, but JAX 0.12 writes 1.18."""
  wanted = Wanted(models['resnet'], 'a2b', batch=1, size=(16, 16))
  FORMATS[name].write(tmp_path / 'program', wanted)
  data = (tmp_path / 'program' / file).read_bytes()
  (version,) = re.findall(rb'StableHLO_v(\d+)\.(\d+)\.\d+', data)
  assert tuple(map(int, version)) < (1, 0)


@pytest.mark.parametrize('size', [1, 2, 3, 5, 8])
def test_mirrored_positions_equal_reflect_padding(size):
  row = jnp.arange(size)
  places = layers._mirrored_places(size, 7, 9)
  np.testing.assert_array_equal(places, jnp.pad(row, (7, 9), 'reflect'))


@pytest.mark.parametrize(
  'flags, message',
  [
    (['--model='], 'no --model'),
    (['--format='], 'no --format'),
    (['--output='], 'no --output'),
    (['--format=onxx'], "--format='onxx' is unknown: did you mean 'onnx'?"),
    (['--layout=nhcw'], "--layout='nhcw' is unknown"),
    (['--size=256'], '--size=256: must be a height and a width'),
    (['--batch=-1'], '--batch=-1 must be 0 or more'),
    (['--direction='], "--direction='': .* translates a2b and b2a"),
    (['--direction=a2a'], "--direction='a2a': .* translates a2b and b2a"),
    (['--model=nowhere'], 'nowhere'),
    (['--output=.', '--overwrite'], 'is a folder that holds other files'),
    (['--output=new/'], r'new/ \(--output\) is a folder: .* new/model.stab'),
    (['--format=savedmodel', f'--output={__file__}'], 'is a file: give a fo'),
    ([f'--output={__file__}'], 'exists: give another name, or add --overwrite'),
    ([f'--output={__file__}/x'], r'cannot write .*/x \(--output\)'),
    (['more'], "'more' is not a flag"),
  ],
)
def test_user_errors_are_one_line(folder, flags, message, tmp_path, capsys):
  argv = [
    'export',
    f'--model={folder}',
    '--direction=a2b',
    '--format=stablehlo',
    f'--output={tmp_path / "program"}',
    *flags,
  ]
  assert program.run(export.main, argv) == program.USER_ERROR
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('error: ')
  assert re.search(message, line), line
  assert not list(tmp_path.iterdir())


def test_a_single_direction_is_the_default(tmp_path, capsys):
  model_folder = tiny.save_model(tmp_path / 'm', names=('b2a',))
  argv = [
    'export',
    f'--model={model_folder}',
    '--format=stablehlo',
    '--size=16x16',
    '--batch=1',
    f'--output={tmp_path / "program"}',
  ]
  assert program.run(export.main, argv) == 0


def test_a_missing_package_is_named(monkeypatch):
  missing = FORMATS['onnx']._replace(packages=('no_such_package',))
  monkeypatch.setitem(FORMATS, 'onnx', missing)
  with pytest.raises(UserError, match=r"pip install 'cyclegan_jax\[onnx\]'"):
    checked.check_packages('onnx')


@pytest.mark.parametrize('off', [1e-3, np.nan])
def test_a_program_that_differs_from_the_model_is_not_written(
  models, off, monkeypatch, tmp_path
):
  loaded = models['resnet']

  def wrong(path):
    assert path.is_file()
    return lambda images: loaded.translate(images, 'a2b') + np.float32(off)

  monkeypatch.setitem(
    FORMATS, 'stablehlo', FORMATS['stablehlo']._replace(open=wrong)
  )
  path = tmp_path / 'program'
  path.write_text('before')
  with pytest.raises(UserError, match='nothing was written: .* 67x93'):
    checked.write(path, 'stablehlo', Wanted(loaded, 'a2b'))
  assert [x.name for x in tmp_path.iterdir()] == ['program']
  assert path.read_text() == 'before'


def test_unsupported_networks_are_refused():
  pytest.importorskip('onnx')
  from cyclegan_jax.exporters import onnx_graph

  with pytest.raises(
    UserError, match='not support PatchGAN: use --format=stablehlo'
  ):
    onnx_graph.build(nets.DISCRIMINATORS['patchgan'](), {}, 3, (1, 8, 8))
  from cyclegan_jax.exporters import tflite

  with pytest.raises(
    UserError, match='not support PatchGAN: use --format=stablehlo'
  ):
    tflite.build(nets.DISCRIMINATORS['patchgan'](), {}, (1, 8, 8, 3))


def test_weights_beyond_float16_are_refused(models, tmp_path):
  pytest.importorskip('onnxruntime')
  model = models['resnet']
  params = jax.tree.map(lambda x: x * np.float32(1e6), model.params)
  large = type(model)(model.config, params)
  wanted = Wanted(large, 'a2b', weights='float16')
  with pytest.raises(UserError, match='nothing was .* --weights=float32'):
    checked.write(tmp_path / 'x', 'onnx', wanted)
