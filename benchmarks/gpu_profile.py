"""Summary of a profile: which kernels a step's time goes into."""

import collections
import pathlib
import re

_LAUNCH = re.compile(r'^(cu|cuda)\w*Launch', re.IGNORECASE)
# Names of plain convolution kernels hold the layout, too: nhwckrsc, float_NHWC.
_MOVES = re.compile(
  r'transpose|copy|memcpy|(nchw|nhwc)(to|addpadding)', re.IGNORECASE
)


def summary(folder, steps=2, count=10):
  """The facts of a profile, in plain values.

  Args:
    folder: of `jax.profiler.trace`, beside `program.txt`, the compiled program.
    steps: steps in the profile.
    count: kernels to list.

  Returns:
    {'kernels': [{'name', 'ms', 'calls'}] per step, the longest first; 'busy',
    their sum in ms per step; 'kernel_calls' per step; 'launches', {function of
    the driver: calls per step}, each cuGraphLaunch a CUDA graph (what XLA calls
    a command buffer); 'moves', kernels that transpose or copy, as
    'kernels'; 'program', counts of operations in the compiled program}.
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
  """{kernel and its operation: [nanoseconds, calls]}."""
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
  """Counts of what matters in a compiled program's text."""
  patterns = {
    'convolutions': r'custom-call\(.*__cudnn\$conv|= \S+ convolution\(',
    'transposes': r'= \S+ transpose\(',
    'copies': r'= \S+ copy\(',
    'fusions': r'= \S+ fusion\(|= \(.*\) fusion\(',
    'while loops': r' while\(',
  }
  return {name: len(re.findall(x, text)) for name, x in patterns.items()}
