"""Output of the benchmarks: the machine, and a table of the contenders."""

import contextlib
import importlib.metadata
import os
import pathlib
import platform
import shlex
import statistics

_GIB = 2**30


def header(argv):
  """Returns two lines: machine, versions and load average; the command.

  Ratios measured on a busy machine are meaningless: other programs slow down
  PyTorch's threads, which wait for each other, more than JAX's.

  Args:
    argv: the command line.
  """
  memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / _GIB
  versions = [f'Python {platform.python_version()}']
  for name in ('jax', 'torch'):
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      versions.append(f'{name} {importlib.metadata.version(name)}')
  return (
    f'{_cpu()}, {os.cpu_count()} cores, {memory:.0f} GiB; '
    f'{", ".join(versions)}; load {os.getloadavg()[0]:.1f} at the start\n'
    f'`python {shlex.join(argv)}`'
  )


def _cpu():
  with contextlib.suppress(OSError):
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
      if line.startswith('model name'):
        return line.partition(':')[2].strip()
  return platform.machine()


def table(contenders, batch, flops=None):
  """Returns a Markdown table with one row per contender.

  Args:
    contenders: list of `contenders.Contender` with timings, as
      `contenders.race` returns it; the first is this project.
    batch: number of images per domain and step.
    flops: floating point operations per step, or None. The columns 'GFLOP/s'
      and 'of matmul' are shown if `flops` is given and the facts of the first
      contender contain 'matmul', the operations per second of a matrix product.
  """
  ours = contenders[0]
  peak = ours.facts.get('matmul')
  columns = {
    's/step': lambda c: f'{_median(c):.4g}',
    'range': lambda c: '{:.4g} - {:.4g}'.format(*_range(c)),
    'images/s': lambda c: f'{batch / _median(c):.2f}',
  }
  if flops and peak:
    columns |= {
      'GFLOP/s': lambda c: f'{flops / _median(c) / 1e9:.1f}',
      'of matmul': lambda c: f'{flops / _median(c) / peak:.1%}',
    }
  columns |= {
    'dispatch ms': lambda c: f'{1000 * _median(c, "dispatch"):.2f}',
    'first step s': lambda c: f'{c.first:.3f}',
    'peak GiB': lambda c: _gib(c.timings[-1].peak),
  }
  if len(contenders) > 1:
    columns['ours / this'] = lambda c: (
      '-' if ours.failure else f'{_median(ours) / _median(c):.2f}'
    )
  rows = [['contender', *columns], ['---'] * (len(columns) + 1)]
  for contender in contenders:
    if contender.failure:
      reason = contender.failure.replace('|', '/')
      cells = [f'failed: {reason}'] + ['-'] * (len(columns) - 1)
    else:
      cells = [show(contender) for show in columns.values()]
    rows.append([contender.name, *cells])
  return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def _median(contender, field='seconds'):
  return statistics.median(getattr(t, field) for t in contender.timings)


def _range(contender):
  seconds = [t.seconds for t in contender.timings]
  return min(seconds), max(seconds)


def _gib(size):
  return '-' if size is None else f'{size / _GIB:.2f}'
