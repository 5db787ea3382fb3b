"""Trains for a long time and checks that memory and step time do not grow.

  python tests/soak.py --steps=20000

Trains a tiny network in one process, which logs, samples and saves like a real
run. After the first tenth of the steps, the memory must not grow by 2% or more,
the time per step must not change by 20% or more, and the numbers of threads and
open files must not grow. Prints readings and a verdict. The exit code is 0 if
all checks pass and 1 otherwise. Requires Linux and a machine without other
work, which would change the time per step. Runs on the CPU unless JAX_PLATFORMS
is set.
"""

import argparse
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import time
from typing import NamedTuple

import tiny

MEMORY_GROWTH = 0.02
STEP_TIME_CHANGE = 0.2


class Reading(NamedTuple):
  """Measurements of the training process at a logged step.

  Attributes:
    step: number of steps done.
    seconds: seconds per step since the previous reading, or None for the first
      reading.
    memory: anonymous memory of the process in bytes. Mapped files, such as
      libraries, are not counted: the system drops and reloads them at any time.
    threads: number of threads.
    handles: number of open file descriptors.
  """

  step: int
  seconds: float | None
  memory: int
  threads: int
  handles: int


def read(pid):
  """Returns (memory, threads, handles) of a process, as in `Reading`."""
  process = pathlib.Path(f'/proc/{pid}')
  status = dict(
    line.split(':', 1) for line in (process / 'status').read_text().splitlines()
  )
  memory = int(status['RssAnon'].split()[0]) * 1024
  return memory, int(status['Threads']), len(list((process / 'fd').iterdir()))


def train(workdir, steps, every, pipe):
  """Trains; runs in the training process.

  Args:
    workdir: folder for the pictures and the run.
    steps: number of steps.
    every: log.every, the steps between two logged steps.
    pipe: connection to which (step, monotonic time) of each logged step is
      sent.
  """
  from cyclegan_jax.config import flags, program
  from cyclegan_jax.config.run import build_run
  from cyclegan_jax.training import trainer

  def say(line):
    word, _, rest = line.partition(' ')
    if word == 'step':
      pipe.send((int(rest.partition('/')[0]), time.monotonic()))

  program.quiet()
  tiny.write_pictures(workdir / 'pictures')
  command = tiny.command(
    'folder',
    workdir / 'run',
    workdir / 'pictures',
    schedule__constant=steps // 2,
    schedule__decay=steps - steps // 2,
    train__ema_decay=0.9,
    train__batch_size=2,
    generator__dropout=0.5,
    log__every=every,
    log__sample_every=10 * every,
    log__checkpoint_every=10 * every,
  )
  config, run_folder = flags.parse(command, '')
  trainer.train(build_run(config), run_folder, say=say)
  pipe.close()


def readings(steps, every, say=print):
  """Trains in a separate process and measures this process.

  Args:
    steps: number of training steps.
    every: number of steps between two readings.
    say: function that prints a line; called for about 20 readings.

  Returns:
    A list of `Reading`.

  Raises:
    RuntimeError: the training failed.
  """
  spawn = multiprocessing.get_context('spawn')
  receiver, sender = spawn.Pipe(duplex=False)
  found, before = [], None
  with tempfile.TemporaryDirectory(prefix='soak_') as folder:
    process = spawn.Process(
      target=train, args=(pathlib.Path(folder), steps, every, sender)
    )
    process.start()
    sender.close()
    try:
      while True:
        step, now = receiver.recv()
        passed = before and (now - before[1]) / (step - before[0])
        found.append(Reading(step, passed, *read(process.pid)))
        before = step, now
        if len(found) % max(1, steps // every // 20) == 0:
          say(row(found[-1]))
    except EOFError:  # the training process closed the pipe
      process.join()
    finally:
      process.kill()
      process.join()
  if process.exitcode:
    raise RuntimeError(f'the training failed: exit code {process.exitcode}')
  return found


HEADER = (
  '|   step | ms/step | memory MB | threads | handles |\n' + '|--:' * 5 + '|'
)


def row(reading):
  """Returns the line of a `Reading` in the table."""
  milliseconds = 1000 * (reading.seconds or 0)
  return (
    f'| {reading.step:6} | {milliseconds:7.2f} | {reading.memory / 1e6:9.1f} '
    f'| {reading.threads:7} | {reading.handles:7} |'
  )


def judge(found):
  """Checks that nothing grows.

  Args:
    found: list of `Reading`, at least 20 of them after the first tenth of the
      steps.

  Returns:
    [(True if the check passes, line that describes the check)].
  """
  warm = [r for r in found if r.step > found[-1].step / 10]
  parts = [warm[i * len(warm) // 4 :][: len(warm) // 4] for i in range(4)]
  # Medians, because saving a checkpoint takes memory for a short time. The last
  # quarter is compared with the quarter of least memory, because memory that is
  # freed late would hide a growth.
  memory = [statistics.median(r.memory for r in part) for part in parts]
  least = min(range(3), key=lambda i: memory[i])
  growth = memory[3] / memory[least] - 1
  seconds = [statistics.median(r.seconds for r in part) for part in parts]
  change = seconds[3] / seconds[1] - 1
  lines = [
    (
      growth < MEMORY_GROWTH,
      f'memory: {memory[least] / 1e6:.1f} MB in quarter {least + 1}, '
      f'{memory[3] / 1e6:.1f} MB in the last: {growth:+.2%}',
    ),
    (
      abs(change) < STEP_TIME_CHANGE,
      f'time: {1000 * seconds[1]:.2f} ms per step in the second quarter, '
      f'{1000 * seconds[3]:.2f} ms in the last: {change:+.1%}',
    ),
  ]
  # The number of pool threads varies: a growth shows in the smallest number.
  for name, pick in (('threads', min), ('handles', max)):
    first = max(getattr(r, name) for r in parts[0])
    last = pick(getattr(r, name) for r in parts[3])
    line = f'{name}: up to {first} in the first quarter, {last} in the last'
    lines.append((last <= first, line))
  return lines


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument(
    '--steps', type=int, default=20000, help='number of steps (20000)'
  )
  args = parser.parse_args(argv)
  if args.steps < 50:
    parser.error(f'--steps={args.steps}: must be at least 50')
  every = min(100, args.steps // 50)
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  # Memory in large pages, as in the real program (program.large_pages).
  os.environ.setdefault('GLIBC_TUNABLES', 'glibc.malloc.hugetlb=1')
  print(HEADER)
  lines = judge(readings(args.steps, every))
  print()
  for holds, line in lines:
    print(f'{"good" if holds else "BAD ":<5} {line}')
  well = all(holds for holds, _ in lines)
  print('PASSED: nothing grows' if well else 'FAILED')
  return 0 if well else 1


if __name__ == '__main__':
  sys.exit(main())
