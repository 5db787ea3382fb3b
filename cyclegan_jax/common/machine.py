"""The accelerators of this machine, and why JAX does not use them.

Reads files of the system and loads no JAX.
"""

import glob
import logging
import os
import pathlib
import re
import sys
import traceback

_NVIDIA = ('/dev/nvidiactl', '/dev/nvidia[0-9]*', '/dev/dxg')  # last: WSL 2
_NVIDIA_DRIVER = pathlib.Path('/proc/driver/nvidia/version')
# (the oldest driver, the extra that needs it), the newest first.
_CUDA = ((580, 'cuda13'), (525, 'cuda12'))
_CUDA_PLUGINS = tuple(
  name.format(extra)
  for _, extra in _CUDA
  for name in ('jax_plugins.xla_{}', 'jax_{}_plugin')
)
_TPU = ('/dev/accel[0-9]*', '/dev/vfio/[0-9]*')
_PCI = '/sys/bus/pci/devices/*'
_GOOGLE, _DISK_OR_NETWORK = '0x1ae0', ('0x01', '0x02')
# Set by Cloud TPU, by GKE, or by a user who means a TPU.
_TPU_VARIABLES = (
  'JAX_FORCE_TPU_INIT',
  'TPU_ACCELERATOR_TYPE',
  'TPU_LIBRARY_PATH',
  'TPU_NAME',
  'TPU_WORKER_HOSTNAMES',
  'TPU_WORKER_ID',
)
_BACKENDS = 'xla_bridge'  # JAX's module and logger that starts the platforms


def has_nvidia_gpu():
  """Returns True where the system shows an NVIDIA GPU."""
  return any(map(glob.glob, _NVIDIA))


def has_tpu():
  """Returns True where there may be a TPU: a device, or a variable of one."""
  if any(name in os.environ for name in _TPU_VARIABLES):
    return True
  return any(map(glob.glob, _TPU)) or any(map(_is_tpu, glob.glob(_PCI)))


def hide_plugins():
  """Has JAX start as if plugins of devices that are not here were missing.

  They would search for their devices, and print what they miss, whatever JAX
  is told of logging. A platform that `JAX_PLATFORMS` names is left alone.
  """
  asked = os.environ.get('JAX_PLATFORMS', '').split(',')
  if 'tpu' not in asked and not has_tpu():
    sys.modules['libtpu'] = None
  if not {'cuda', 'gpu'} & set(asked) and not has_nvidia_gpu():
    sys.modules.update(dict.fromkeys(_CUDA_PLUGINS))


def show_libtpu():
  """Takes back what `hide_plugins` did to libtpu."""
  if sys.modules.get('libtpu', ...) is None:
    del sys.modules['libtpu']


def explain_fallback():
  """Prints a warning, in one line, where JAX leaves an accelerator unused."""
  logger = logging.getLogger(f'jax._src.{_BACKENDS}')
  if not any(isinstance(x, _Explained) for x in logger.handlers):
    logger.addHandler(_Explained(logging.WARNING))
    logger.setLevel(logging.WARNING)
    logger.propagate = False


class _Explained(logging.Handler):
  """Says what JAX logs of platforms that it could not start."""

  def __init__(self, level):
    super().__init__(level)
    self._said = set()

  def emit(self, record):
    line = _advice(record)
    if line and line not in self._said:
      self._said.add(line)
      print(f'warning: {line}', file=sys.stderr)


def _advice(record):
  """Returns a line for the user on a record of JAX's log, or None."""
  text = record.getMessage()
  if 'Google TPU may be present' in text:
    return (
      'this machine has a TPU, and JAX does not use it: '
      "pip install 'cyclegan_jax[tpu]'"
    )
  if not ('cuda' in text.lower() and has_nvidia_gpu()):
    return None
  if record.exc_info:  # the plugin of CUDA, which knows no more than this
    return _unusable_gpu(_one_line(record.exc_info[1]))
  if 'failed to initialize' in text:
    return _unusable_gpu(_one_line(text))
  if _has_cuda_plugin():  # that has been said of the plugin already
    return None
  return (
    'this machine has an NVIDIA GPU, and JAX does not use it, as JAX is '
    f'installed without CUDA: {_cuda_command()}'
  )


def _unusable_gpu(reason):
  return (
    "JAX cannot use this machine's NVIDIA GPU and uses the CPU "
    f'({reason}): {_cuda_command()}'
  )


def _cuda_command():
  """The command that makes JAX use an NVIDIA GPU."""
  driver = nvidia_driver()
  for least, extra in _CUDA:
    if driver is not None and driver >= least:
      return f"pip install 'cyclegan_jax[{extra}]'"
  least, extra = _CUDA[-1]
  command = f"pip install 'cyclegan_jax[{extra}]'"
  if driver is None:
    return command
  return f'update the driver, {driver}, to {least} or newer, and then {command}'


def nvidia_driver():
  """Main number of the NVIDIA driver, as 580; None where it is not known."""
  try:
    found = re.search(r'\s(\d+)\.\d+', _NVIDIA_DRIVER.read_text())
  except OSError:
    return None
  return int(found[1]) if found else None


def _has_cuda_plugin():
  return any(map(sys.modules.get, _CUDA_PLUGINS))


def unusable(error):
  """Says in one line why JAX could not start a platform.

  Args:
    error: what a program met.

  Returns:
    The line; None for any other error.
  """
  frames = traceback.extract_tb(error.__traceback__)
  raised_there = frames and pathlib.Path(frames[-1].filename).stem == _BACKENDS
  if not raised_there and 'Unable to initialize backend' not in str(error):
    return None
  asked = os.environ.get('JAX_PLATFORMS')
  reason = _one_line(error).partition(' (set JAX_PLATFORMS')[0]
  reason = reason.partition(' (you may need')[0].rstrip('.')
  if asked:
    reason = reason or 'there is no such device'
    return (
      f'JAX_PLATFORMS={asked}: {reason}: unset it to use what there is, or '
      'set JAX_PLATFORMS=cpu'
    )
  reason = reason or type(error).__name__
  advice = f'{_cuda_command()}, or ' if 'cuda' in reason else ''
  return (
    f'JAX cannot start on this machine ({reason}): {advice}set '
    'JAX_PLATFORMS=cpu to use the CPU'
  )


def _one_line(error, length=300):
  return ' '.join(str(error).split())[:length]


def _is_tpu(folder):
  """Returns True for a PCI device of Google, no disk and no network card."""
  try:
    vendor, kind = (
      pathlib.Path(folder, name).read_text().strip()
      for name in ('vendor', 'class')
    )
  except OSError:
    return False
  return vendor == _GOOGLE and not kind.startswith(_DISK_OR_NETWORK)
