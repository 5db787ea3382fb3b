"""Tests of messages about devices, with stand-ins for other machines."""

import logging
import os
import subprocess
import sys
import types

import jax
import pytest
from jax._src import hardware_utils, xla_bridge

from cyclegan_jax.common import machine
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.training import machine as devices
from cyclegan_jax.training import parallel

LOGGER = logging.getLogger('jax._src.xla_bridge')
VERSION = 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Mon Jan 1 2026\n'


@pytest.fixture
def log(monkeypatch):
  """JAX's logger, set up by `program.quiet`."""
  jax.devices()  # JAX logs its own lines before the test
  monkeypatch.setattr(LOGGER, 'handlers', [])
  monkeypatch.setattr(LOGGER, 'propagate', True)
  level = LOGGER.level
  machine.explain_fallback()
  yield LOGGER
  LOGGER.setLevel(level)


@pytest.fixture
def gpu(monkeypatch, tmp_path):
  """Simulates a machine with an NVIDIA GPU and driver 580."""
  (tmp_path / 'nvidia0').touch()
  (tmp_path / 'version').write_text(VERSION.format('580.95.05'))
  monkeypatch.setattr(machine, '_NVIDIA', (str(tmp_path / 'nvidia0'),))
  monkeypatch.setattr(machine, '_NVIDIA_DRIVER', tmp_path / 'version')
  monkeypatch.setattr(hardware_utils, 'has_visible_nvidia_gpu', lambda: True)
  return tmp_path


@pytest.fixture
def bare(monkeypatch, tmp_path):
  """Simulates a machine with plugins and no accelerator; its device folder."""
  for name in (*machine._TPU_VARIABLES, 'JAX_PLATFORMS'):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setattr(machine, '_TPU', (str(tmp_path / 'accel[0-9]*'),))
  monkeypatch.setattr(machine, '_PCI', str(tmp_path / 'pci' / '*'))
  monkeypatch.setattr(machine, '_NVIDIA', (str(tmp_path / 'nvidia[0-9]*'),))
  for name in ('libtpu', *machine._CUDA_PLUGINS):
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
  return tmp_path


def lines(capsys):
  out, err = capsys.readouterr()
  assert out == ''
  return err.splitlines()


@pytest.mark.parametrize(
  'driver, advice',
  [
    ('580.95.05', "pip install 'cyclegan_jax[cuda13]'"),
    ('575.57', "pip install 'cyclegan_jax[cuda12]'"),
    ('525.60.13', "pip install 'cyclegan_jax[cuda12]'"),
    (
      '470.256.02',
      'update the driver from 470 to 525 or newer, then '
      "pip install 'cyclegan_jax[cuda12]'",
    ),
    (None, "pip install 'cyclegan_jax[cuda12]'"),  # as on WSL
  ],
)
def test_an_unused_gpu_is_a_warning_with_advice(
  driver, advice, gpu, log, capsys
):
  if driver:
    (gpu / 'version').write_text(VERSION.format(driver))
  else:
    (gpu / 'version').unlink()
  for _ in range(2):  # JAX's check runs twice, the message is printed once
    xla_bridge._suggest_missing_backends()
  (line,) = lines(capsys)
  assert line == (
    'warning: this machine has an NVIDIA GPU, but JAX does not use it because '
    f'it is installed without CUDA: {advice}'
  )


def test_extras_in_the_advice_exist():
  import importlib.metadata

  try:
    known = importlib.metadata.metadata('cyclegan_jax').get_all(
      'Provides-Extra'
    )
  except importlib.metadata.PackageNotFoundError:
    pytest.skip('the package is not installed')
  assert {extra for _, extra in machine._CUDA} | {'tpu'} <= set(known)


def test_a_failing_cuda_plugin_is_a_warning(gpu, log, capsys, monkeypatch):
  name = 'jax_plugins.xla_cuda12'
  monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
  try:
    raise RuntimeError('The CUDA driver is\ntoo old')
  except RuntimeError:
    log.exception(
      'Jax plugin configuration error: Exception when calling %s.initialize()',
      name,
    )
  xla_bridge._suggest_missing_backends()  # JAX then finds no plugin
  (line,) = lines(capsys)
  assert line == (
    "warning: JAX cannot use this machine's NVIDIA GPU and uses the CPU (The "
    "CUDA driver is too old): pip install 'cyclegan_jax[cuda13]'"
  )


def test_a_cuda_plugin_without_a_gpu_is_silent(log, capsys, monkeypatch):
  monkeypatch.setattr(machine, '_NVIDIA', ())
  try:
    raise RuntimeError('Unable to load CUDA')
  except RuntimeError:
    log.exception('error when calling jax_plugins.xla_cuda12.initialize()')
  log.warning("Platform 'METAL' is experimental")
  assert lines(capsys) == []


def test_a_tpu_without_libtpu_is_a_warning(log, capsys, monkeypatch):
  monkeypatch.setattr(
    hardware_utils, 'num_available_tpu_chips_and_device_id', lambda: (4, None)
  )
  monkeypatch.setattr(hardware_utils, 'has_visible_nvidia_gpu', lambda: False)
  xla_bridge._suggest_missing_backends()
  (line,) = lines(capsys)
  assert 'has a TPU' in line and "pip install 'cyclegan_jax[tpu]'" in line


def failing(platform, reason):
  """Returns a program that raises JAX's error for a failing platform."""

  def main(argv):
    raise RuntimeError(
      f"Unable to initialize backend '{platform}': {reason} (you may need to "
      'uninstall the failing plugin package, or set JAX_PLATFORMS=cpu to skip '
      'this backend.)'
    )

  return main


def test_a_failing_platform_is_one_line_with_advice(gpu, capsys, monkeypatch):
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  assert program.run(failing('cuda', 'INTERNAL:\nno device'), ['x']) == 2
  (line,) = lines(capsys)
  assert line == (
    'error: JAX cannot start on this machine (Unable to initialize backend '
    "'cuda': INTERNAL: no device): pip install 'cyclegan_jax[cuda13]', or set "
    'JAX_PLATFORMS=cpu to use the CPU'
  )


def test_other_errors_are_not_platform_errors():
  assert machine.unusable(RuntimeError('cuda')) is None
  assert machine.unusable(UserError('cuda')) is None


@pytest.mark.parametrize('platform', ['cuda', 'nonsense'])
@pytest.mark.slow
def test_a_missing_requested_platform_is_one_line(platform, tmp_path):
  done = start('import jax; jax.devices()', tmp_path, JAX_PLATFORMS=platform)
  assert done.returncode == 2
  (line,) = done.stderr.splitlines()
  assert line.startswith(f'error: JAX_PLATFORMS={platform}: ')
  assert line.endswith(
    ': unset the variable to use the devices of this machine, or set '
    'JAX_PLATFORMS=cpu'
  )


@pytest.mark.slow
def test_a_failing_platform_is_not_reported_as_a_damaged_checkpoint(tmp_path):
  step = tmp_path / 'checkpoints' / '4'
  step.mkdir(parents=True)
  (step / '_CHECKPOINT_METADATA').write_text('{}')
  code = (
    'import pathlib; from cyclegan_jax.training import checkpoint; '
    f'checkpoint.read_params(pathlib.Path({str(step.parent)!r}))'
  )
  done = start(code, tmp_path, JAX_PLATFORMS='nonsense')
  assert done.returncode == 2
  assert done.stderr.startswith('error: JAX_PLATFORMS=nonsense: ')


def start(code, folder, **environment):
  """Runs code as a program in a new process, with a libtpu that complains."""
  (folder / 'libtpu.py').write_text(
    'import sys\n'
    'def get_library_path():\n'
    '  print("Failed to find host bounds", file=sys.stderr)\n'
    '  return "no_such_libtpu.so"\n'
  )
  program_code = (
    'import sys\n'
    'from cyclegan_jax.config import program\n'
    f'def main(argv):\n  program.quiet()\n  {code}\n'
    'sys.exit(program.run(main))\n'
  )
  kept = {
    k: x
    for k, x in os.environ.items()
    if k not in (*machine._TPU_VARIABLES, 'JAX_PLATFORMS')
  }
  return subprocess.run(
    [sys.executable, '-c', program_code],
    env=kept | {'PYTHONPATH': f'{folder}:{os.getcwd()}'} | environment,
    capture_output=True,
    text=True,
  )


@pytest.mark.slow
def test_libtpu_is_silent_unless_a_tpu_is_requested(tmp_path):
  if machine.has_tpu():
    pytest.skip('there is a TPU')
  code = 'import jax; print(jax.default_backend())'
  done = start(code, tmp_path)
  assert (done.returncode, done.stderr) == (0, '')
  assert done.stdout in ('cpu\n', 'gpu\n')
  asked = start(code, tmp_path, JAX_PLATFORMS='tpu')
  assert asked.returncode == 2
  assert 'host bounds' in asked.stderr
  assert 'error: JAX_PLATFORMS=tpu' in asked.stderr.splitlines()[-1]


def test_libtpu_is_hidden_and_shown(bare):
  machine.hide_plugins()
  assert sys.modules['libtpu'] is None
  machine.show_libtpu()
  assert 'libtpu' not in sys.modules
  machine.show_libtpu()


@pytest.mark.parametrize('asked', ['tpu', 'tpu,cpu'])
def test_libtpu_is_not_hidden_if_a_tpu_is_requested(asked, bare, monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', asked)
  machine.hide_plugins()
  assert sys.modules['libtpu'] is not None


@pytest.mark.parametrize('name', machine._TPU_VARIABLES)
def test_libtpu_is_not_hidden_if_a_variable_names_a_tpu(
  name, bare, monkeypatch
):
  monkeypatch.setenv(name, 'x')
  machine.hide_plugins()
  assert sys.modules['libtpu'] is not None


def test_plugins_of_cuda_are_hidden_without_a_gpu(bare, monkeypatch):
  names = ['jax_cuda12_plugin', 'jax_plugins.xla_cuda13']
  assert set(names) <= set(machine._CUDA_PLUGINS)
  for asked in ('cuda', 'gpu,cpu'):
    monkeypatch.setenv('JAX_PLATFORMS', asked)
    machine.hide_plugins()
    assert all(sys.modules[name] for name in names)
  monkeypatch.delenv('JAX_PLATFORMS')
  (bare / 'nvidia3').touch()
  machine.hide_plugins()
  assert all(sys.modules[name] for name in names)
  (bare / 'nvidia3').unlink()
  machine.hide_plugins()
  assert not any(sys.modules[name] for name in names)


def test_libtpu_is_not_hidden_if_there_is_a_device(bare):
  assert not machine.has_tpu()
  (bare / 'accel0').touch()
  assert machine.has_tpu()


@pytest.mark.parametrize(
  'vendor, kind, expected',
  [
    ('0x1ae0', '0x120000', True),
    ('0x1ae0', '0x020000', False),  # the network card of a cloud machine
    ('0x1ae0', '0x010802', False),  # the disk of a cloud machine
    ('0x10de', '0x030200', False),
    ('0x1ae0', None, False),
  ],
)
def test_a_tpu_is_recognised_among_pci_devices(vendor, kind, expected, bare):
  folder = bare / 'pci' / '0000:00:04.0'
  folder.mkdir(parents=True)
  (folder / 'vendor').write_text(f'{vendor}\n')
  if kind:
    (folder / 'class').write_text(f'{kind}\n')
  assert machine.has_tpu() is expected


def test_the_line_of_devices_names_count_and_kind(monkeypatch):
  monkeypatch.setattr(devices, '_cores', lambda: 3)
  end = f'x cpu (CPU cores: 3), JAX {jax.__version__}'
  assert devices.line(parallel.make_mesh(2)) == f'devices: 2 of 4 {end}'
  assert devices.line(parallel.make_mesh(4)) == f'devices: 4 {end}'


@pytest.mark.parametrize(
  'memory, text', [(2**36, 'gpu, 64.0 GiB each for JAX'), (None, 'gpu')]
)
def test_the_line_of_gpus_names_processes_and_memory(memory, text, monkeypatch):
  h100 = types.SimpleNamespace(
    platform='gpu',
    device_kind='NVIDIA H100',
    memory_stats=lambda: memory and {'bytes_limit': memory},
  )
  mesh = types.SimpleNamespace(devices=types.SimpleNamespace(flat=[h100] * 8))
  monkeypatch.setattr(jax, 'device_count', lambda: 8)
  monkeypatch.setattr(jax, 'local_devices', lambda: [h100] * 4)
  monkeypatch.setattr(devices.hosts, 'processes', lambda: 2)
  assert devices.line(mesh) == (
    f'devices: 8 x NVIDIA H100 ({text}, 2 processes), JAX {jax.__version__}'
  )
