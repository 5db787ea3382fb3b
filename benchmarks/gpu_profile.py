"""Summary of a GPU profile: the kernels that a step spends its time in."""

import collections
import pathlib
import re

_LAUNCH = re.compile(r'^(cu|cuda)\w*Launch', re.IGNORECASE)
# The names of plain convolution kernels contain a layout, too (nhwckrsc,
# float_NHWC), and must not match.
_MOVES = re.compile(
  r'transpose|copy|memcpy|(nchw|nhwc)(to|addpadding)', re.IGNORECASE
)


def summary(folder, steps=2, count=10):
  """Summarises a profile as JSON values.

  Args:
    folder: folder written by `jax.profiler.trace`, which also contains the
      compiled program in program.txt.
    steps: number of steps in the profile.
    count: number of kernels to list.

  Returns:
    A dict; all times and calls are per step:
    'kernels': [{'name', 'ms', 'calls'}] of the `count` longest kernels;
    'busy': ms of all kernels; 'kernel_calls': calls of all kernels;
    'launches': {function of the driver: calls}, where a cuGraphLaunch starts a
    CUDA graph (a command buffer of XLA); 'moves': kernels that transpose or
    copy, in the form of 'kernels'; 'program': {kind of operation: number in
    the compiled program}. {'failure': reason} if there is no profile.
  """
  from jax.profiler import ProfileData

  folder = pathlib.Path(folder)
  paths = sorted(folder.rglob('*.xplane.pb'))
  if not paths:
    return {'failure': 'no profile was written'}
  planes = list(ProfileData.from_file(str(paths[-1])).planes)
  kernels = _kernels(planes)
  launches = collections.Counter(
    event.name.partition('(')[0].strip()  # cuGraphLaunch (CudaGraph:245)
    for plane in planes
    for line in plane.lines
    for event in line.events
    if _LAUNCH.match(event.name)
  )
  rows = [
    {'name': name, 'ms': ns / 1e6 / steps, 'calls': calls / steps}
    for name, (ns, calls) in kernels.items()
  ]
  rows.sort(key=lambda row: -row['ms'])
  return {
    'kernels': rows[:count],
    'busy': sum(row['ms'] for row in rows),
    'kernel_calls': sum(row['calls'] for row in rows),
    'launches': {name: n / steps for name, n in launches.most_common()},
    'moves': [row for row in rows if _MOVES.search(row['name'])][: 2 * count],
    'program': _operations((folder / 'program.txt').read_text()),
  }


def _kernels(planes):
  """Returns {name of a kernel <- its operation: [nanoseconds, calls]}."""
  found = collections.defaultdict(lambda: [0, 0])
  gpu = [plane for plane in planes if plane.name.startswith('/device:GPU')]
  for plane in gpu or planes:
    for line in plane.lines:
      if gpu and not line.name.startswith('Stream'):
        continue
      for event in line.events:
        stats = {key: value for key, value in event.stats if key}
        operation = stats.get('hlo_op')
        if not gpu and operation is None:
          continue
        name = event.name if gpu else str(operation)
        if gpu and operation:
          name = f'{name[:60]} <- {re.sub("[.0-9]+$", "", str(operation))}'
        entry = found[name]
        entry[0] += event.duration_ns
        entry[1] += 1
  return found


def _operations(text):
  """Returns {kind of operation: number} in the text of a compiled program."""
  patterns = {
    'convolutions': r'custom-call\(.*__cudnn\$conv|= \S+ convolution\(',
    'transposes': r'= \S+ transpose\(',
    'copies': r'= \S+ copy\(',
    'fusions': r'= \S+ fusion\(|= \(.*\) fusion\(',
    'while loops': r' while\(',
  }
  return {name: len(re.findall(x, text)) for name, x in patterns.items()}
