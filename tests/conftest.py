"""Settings of all tests, such as four virtual devices, and shared fixtures."""

import collections
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# Tests spend most time in the compiler, so its optimisations are off.
os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0')

import jax
import numpy as np
import pytest
import tiny

import cyclegan_jax.data.tf  # noqa: F401, keeps pytest's last line last
from cyclegan_jax.common import files

jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_rank_promotion', 'raise')
# Tests that run the same program again use the compilation cache.
_cache = tempfile.TemporaryDirectory()
jax.config.update('jax_compilation_cache_dir', _cache.name)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
_START = 600  # seconds, enough for a busy machine


def pytest_configure(config):
  """Makes xdist keep the order of the test files."""
  config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
  """Sorts the test files of an xdist worker by their number of slow tests.

  Long files come first, so that all workers end at about the same time.
  """
  if not hasattr(config, 'workerinput'):
    return
  slow = collections.Counter(
    item.path for item in items if item.get_closest_marker('slow')
  )
  items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope='session', autouse=True)
def usual_signals():
  """Restores default handlers of signals, also under nohup or with `&`.

  Otherwise signals may be ignored from the start, and tests would hang.
  """
  usual = {signal.SIGINT: signal.default_int_handler}
  if hasattr(signal, 'SIGHUP'):
    usual[signal.SIGHUP] = signal.SIG_DFL
  ignored = [n for n in usual if signal.getsignal(n) == signal.SIG_IGN]
  for number in ignored:
    signal.signal(number, usual[number])
  yield
  for number in ignored:
    signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def rng():
  return np.random.default_rng(0)


@pytest.fixture(scope='session')
def pictures(tmp_path_factory):
  """Folder in the official layout: 5 and 7 training pictures, 2 test pairs."""
  root = tmp_path_factory.mktemp('pictures')
  tiny.write_pictures(root)
  return pathlib.Path(root)


@pytest.fixture(scope='session')
def pairs(tmp_path_factory):
  """Folder like `pictures`, with 6 true pairs to train on."""
  root = tmp_path_factory.mktemp('pairs')
  tiny.write_pictures(root, train=(6, 6))
  return pathlib.Path(root)


@pytest.fixture(scope='module')
def bucket(tmp_path_factory):
  """Empty bucket; environment variables lead to it until the tests end."""
  pytest.importorskip('google.cloud.storage')
  pytest.importorskip('gcp_storage_emulator')
  if not shutil.which('openssl'):
    pytest.skip('openssl makes the certificate')
  folder = tmp_path_factory.mktemp('gcs')
  stand_in = pathlib.Path(__file__).parent / 'standins' / 'gcs.py'
  told = folder / 'environment.json'
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('TMPDIR', str(folder))  # for local copies of buckets
    patch.setattr(tempfile, 'tempdir', str(folder))
    server = subprocess.Popen(
      [sys.executable, stand_in, folder, 'bucket'], stdin=subprocess.PIPE
    )
    try:
      end = time.monotonic() + _START
      while not told.exists():
        assert server.poll() is None and time.monotonic() < end
        time.sleep(0.1)
      for name, value in json.loads(told.read_text()).items():
        patch.setenv(name, value)
      yield files.place('gs://bucket')
    finally:
      server.communicate(timeout=_START)
