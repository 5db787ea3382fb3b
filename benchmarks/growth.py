"""Plots time and memory of a training step by image size, batch and devices.

  python benchmarks/growth.py --output=docs/growth.png

Runs benchmarks/train_step.py once per point, in a separate process, and prints
a table. The devices are virtual CPU devices, which share the cores.
"""

import argparse
import pathlib
import subprocess
import sys

FOLDER = pathlib.Path(__file__).parent
# label -> (constant flags, varied flag, values of the varied flag)
SERIES = {
  'image size (pixels), batch 1': (['--batch=1'], 'size', (64, 128, 256, 512)),
  'batch, 64 px': (['--size=64'], 'batch', (1, 2, 4, 8)),
  'virtual devices, 64 px, batch 4': (
    ['--size=64', '--batch=4'],
    'devices',
    (1, 2, 4),
  ),
}


def measure(flags):
  """Runs train_step.py once.

  Args:
    flags: command line flags of train_step.py.

  Returns:
    (seconds per step, peak memory in GiB).

  Raises:
    SystemExit: train_step.py failed; the message is its output.
  """
  command = [sys.executable, FOLDER / 'train_step.py', '--blocks=9', *flags]
  result = subprocess.run(command, capture_output=True, text=True)
  if result.returncode:
    raise SystemExit(result.stderr or result.stdout)
  titles, _, row = (
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in result.stdout.splitlines()
    if line.startswith('|')
  )
  row = dict(zip(titles, row))
  return float(row['s/step']), float(row['peak GiB'])


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument(
    '--output', default='growth.png', help='PNG file to write'
  )
  parser.add_argument(
    '--width', type=int, default=64, help='channels of the first layers (ngf)'
  )
  parser.add_argument('--steps', type=int, default=3, help='steps per point')
  parser.add_argument(
    '--largest', type=int, default=512, help='largest image size'
  )
  args = parser.parse_args()
  import matplotlib

  matplotlib.use('Agg')
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(1, len(SERIES), figsize=(13, 4))
  print('| | | s/step | peak GiB |\n| --- | --- | --- | --- |')
  for axis, (name, (fixed, flag, values)) in zip(axes, SERIES.items()):
    if flag == 'size':
      values = [v for v in values if v <= args.largest]
    points = []
    for value in values:
      common = [f'--width={args.width}', f'--steps={args.steps}']
      points.append(measure([*fixed, *common, f'--{flag}={value}']))
      print(f'| {name} | {value} | {points[-1][0]} | {points[-1][1]} |')
      sys.stdout.flush()
    _plot(axis, name, values, points, power=2 if flag == 'size' else 1)
  figure.tight_layout()
  figure.savefig(args.output, dpi=80)


def _plot(axis, name, values, points, power):
  """Plots time and memory over the values of one flag.

  Args:
    axis: Matplotlib axes.
    name: label of the x axis.
    values: values of the flag.
    points: [(seconds per step, peak GiB)] per value.
    power: exponent of the dotted line of proportional growth.
  """
  from matplotlib.ticker import LogLocator

  seconds, memory = zip(*points)
  axis.loglog(values, seconds, 'o-', label='s/step')
  axis.loglog(values, memory, 's-', label='peak GiB')
  if 'devices' not in name:
    line = [seconds[0] * (v / values[0]) ** power for v in values]
    axis.loglog(values, line, ':', color='gray', label='proportional')
  axis.set_xticks(values, [str(v) for v in values])
  axis.minorticks_off()
  axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
  axis.yaxis.set_major_formatter('{x:g}')
  axis.set_xlabel(name)
  axis.legend()


if __name__ == '__main__':
  main()
