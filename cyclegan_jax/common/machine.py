"""Detection of this machine's accelerators, and advice if JAX cannot use them.

The module reads files of the operating system and does not import JAX.
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
# (oldest driver that works, name of the extra), newest first.
_CUDA = ((580, 'cuda13'), (525, 'cuda12'))
_CUDA_PLUGINS = tuple(
  name.format(extra)
  for _, extra in _CUDA
  for name in ('jax_plugins.xla_{}', 'jax_{}_plugin')
)
_TPU = ('/dev/accel[0-9]*', '/dev/vfio/[0-9]*')
_PCI = '/sys/bus/pci/devices/*'
_GOOGLE, _DISK_OR_NETWORK = '0x1ae0', ('0x01', '0x02')
# Set by Cloud TPU, by GKE, or by a user who wants a TPU.
_TPU_VARIABLES = (
  'JAX_FORCE_TPU_INIT',
  'TPU_ACCELERATOR_TYPE',
  'TPU_LIBRARY_PATH',
  'TPU_NAME',
  'TPU_WORKER_HOSTNAMES',
  'TPU_WORKER_ID',
)
_BACKENDS = 'xla_bridge'  # JAX's module (and logger) that starts the platforms


def has_nvidia_gpu():
  """Returns True if the operating system shows an NVIDIA GPU."""
  return any(map(glob.glob, _NVIDIA))


def has_tpu():
  """Returns True if there may be a TPU.

  There may be one if the operating system shows a TPU device, or if an
  environment variable of TPU machines is set.
  """
  if any(name in os.environ for name in _TPU_VARIABLES):
    return True
  return any(map(glob.glob, _TPU)) or any(map(_is_tpu, glob.glob(_PCI)))


def hide_plugins():
  """Hides JAX's TPU and CUDA plugins if this machine has no such device.

  Call this before JAX starts its platforms. A plugin without a device would
  search for one and print errors, whatever the logging level. Plugins of a
  platform that the environment variable JAX_PLATFORMS names are not hidden.
  """
  asked = os.environ.get('JAX_PLATFORMS', '').split(',')
  if 'tpu' not in asked and not has_tpu():
    sys.modules['libtpu'] = None
  if not {'cuda', 'gpu'} & set(asked) and not has_nvidia_gpu():
    sys.modules.update(dict.fromkeys(_CUDA_PLUGINS))


def show_libtpu():
  """Makes libtpu importable again after `hide_plugins`."""
  if sys.modules.get('libtpu', ...) is None:
    del sys.modules['libtpu']


def explain_fallback():
  """Makes JAX print a one-line warning if it leaves an accelerator unused.

  The function adds a handler to JAX's logger; the warning is printed to
  standard error when JAX starts its platforms.
  """
  logger = logging.getLogger(f'jax._src.{_BACKENDS}')
  if not any(isinstance(x, _Explained) for x in logger.handlers):
    logger.addHandler(_Explained(logging.WARNING))
    logger.setLevel(logging.WARNING)
    logger.propagate = False


class _Explained(logging.Handler):
  """Log handler that prints each line of `_advice` once, as a warning."""

  def __init__(self, level):
    super().__init__(level)
    self._said = set()

  def emit(self, record):
    line = _advice(record)
    if line and line not in self._said:
      self._said.add(line)
      print(f'warning: {line}', file=sys.stderr)


def _advice(record):
  """Returns a line of advice for a record of JAX's log, or None."""
  text = record.getMessage()
  if 'Google TPU may be present' in text:
    return (
      'this machine has a TPU, but JAX does not use it: '
      "pip install 'cyclegan_jax[tpu]'"
    )
  if not ('cuda' in text.lower() and has_nvidia_gpu()):
    return None
  if record.exc_info:  # from the CUDA plugin; the exception tells the reason
    return _unusable_gpu(_one_line(record.exc_info[1]))
  if 'failed to initialize' in text:
    return _unusable_gpu(_one_line(text))
  if _has_cuda_plugin():  # the plugin's own error was already explained
    return None
  return (
    'this machine has an NVIDIA GPU, but JAX does not use it because it is '
    f'installed without CUDA: {_cuda_command()}'
  )


def _unusable_gpu(reason):
  return (
    "JAX cannot use this machine's NVIDIA GPU and uses the CPU "
    f'({reason}): {_cuda_command()}'
  )


def _cuda_command():
  """Returns the command that makes JAX use this machine's NVIDIA GPU."""
  driver = nvidia_driver()
  for least, extra in _CUDA:
    if driver is not None and driver >= least:
      return f"pip install 'cyclegan_jax[{extra}]'"
  least, extra = _CUDA[-1]
  command = f"pip install 'cyclegan_jax[{extra}]'"
  if driver is None:
    return command
  return f'update the driver from {driver} to {least} or newer, then {command}'


def nvidia_driver():
  """Returns the major version of the NVIDIA driver, such as 580, or None.

  None means that the version is not known.
  """
  try:
    found = re.search(r'\s(\d+)\.\d+', _NVIDIA_DRIVER.read_text())
  except OSError:
    return None
  return int(found[1]) if found else None


def _has_cuda_plugin():
  return any(map(sys.modules.get, _CUDA_PLUGINS))


def unusable(error):
  """Returns a one-line message if JAX could not start a platform, else None.

  Args:
    error: an error that ended a program.

  Returns:
    The reason and what to do; None if `error` has another cause.
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
      f'JAX_PLATFORMS={asked}: {reason}: unset the variable to use the devices '
      'of this machine, or set JAX_PLATFORMS=cpu'
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
  """Returns True if a PCI device is Google's, but no disk or network card.

  Args:
    folder: folder of the device below /sys/bus/pci/devices.
  """
  try:
    vendor, kind = (
      pathlib.Path(folder, name).read_text().strip()
      for name in ('vendor', 'class')
    )
  except OSError:
    return False
  return vendor == _GOOGLE and not kind.startswith(_DISK_OR_NETWORK)
