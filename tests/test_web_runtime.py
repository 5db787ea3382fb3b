"""Tests of exported pages: unsuitable flags, models and packages.

These tests need no browser and no package of the runtime.
"""

import io
import tarfile

import pytest
import tiny
from web_pages import model_folder, run

from cyclegan_jax import export
from cyclegan_jax.config import program
from cyclegan_jax.exporters import asked
from cyclegan_jax.exporters.web import command, runtime
from cyclegan_jax.inference import saved

pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return model_folder(tmp_path_factory.mktemp('models'))


@pytest.fixture
def fake(tmp_path):
  """Folder that looks like the package but has other contents."""
  root = tmp_path / 'fake'
  for name in runtime.HASHES['wasm']:
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
  """Returns the one-line error of an export."""
  path = tmp_path / 'page.html'
  assert run(folder, path, *flags) == program.USER_ERROR
  (line,) = capsys.readouterr().err.splitlines()
  assert not path.exists()
  return line


@pytest.mark.parametrize('kind', ['fake', 'fake.tgz'])
def test_a_package_with_other_files_is_refused(
  folder, fake, kind, tmp_path, capsys
):
  def line():
    if kind == 'fake.tgz':
      archive(fake, tmp_path / kind)
    flag = f'--runtime={tmp_path / kind}'
    text = refused(folder, tmp_path, capsys, flag)
    assert f'`{runtime.COMMAND}`' in text
    return text

  module, wasm = runtime.HASHES['wasm']
  assert f'{module} that differs from version {runtime.VERSION}' in line()
  (fake / wasm).unlink()
  (fake / module).unlink()
  assert f'{module} is missing' in line()
  facts = fake / 'package.json'
  facts.write_text(facts.read_text().replace(runtime.VERSION, '1.2.3'))
  assert 'is version 1.2.3 of onnxruntime-web, not' in line()


def test_missing_and_damaged_packages_are_refused(folder, tmp_path, capsys):
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
    ('--uint8', '--uint8 is only for formats other than web'),
    ('--layout=nchw', '--layout is only for formats other than web'),
    ('--size=64x64', '--size is only for formats other than web'),
    ('--batch=2', '--batch is only for formats other than web'),
    ('--weights=int8', '--format=web stores float16 or float32'),
    ('--format=onnx', '--runtime is only for --format=web'),
    ('--format=onnx --runtime= --webgpu', '--webgpu is only for --format=web'),
  ],
)
def test_unsuitable_flags_are_refused(folder, flag, message, tmp_path, capsys):
  assert message in refused(
    folder, tmp_path, capsys, '--runtime=x', *flag.split()
  )


@pytest.mark.parametrize(
  'options, flag, message',
  [
    ({'data__channels_b': 2}, '', 'data.channels_b is 2: use --format=onnx'),
    ({'data__range_b': '0,4095'}, '', 'for pictures of 8 bits'),
    ({}, '--direction=x', "no direction 'x'"),
  ],
)
def test_unsuitable_models_are_refused(
  options, flag, message, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(runtime, 'read', lambda *_: runtime.Runtime(b'', b''))
  path = tiny.save_model(
    tmp_path / 'm', **options, loss__identity_a=0.0, loss__identity_b=0.0
  )
  flags = ['--runtime=x', *filter(None, [flag])]
  assert message in refused(path, tmp_path, capsys, *flags)


def test_flags_of_other_formats_exist():
  assert set(asked._OF_PROGRAMS) | set(asked._OF_WEB) <= set(export.FLAGS)
  for name, default in (asked._OF_PROGRAMS | asked._OF_WEB).items():
    assert export.FLAGS[name][1] == default


def test_a_training_names_the_command_of_the_page(tmp_path):
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
