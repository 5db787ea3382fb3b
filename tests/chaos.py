"""Kills a training run repeatedly and checks that this leaves no trace.

  python tests/chaos.py --kills=20

Trains a tiny network twice with the same command: one run is undisturbed, the
other is killed at random moments and resumed. The moments are: during start-up,
compilation or a step, while a checkpoint or a sample is written, and at the
end. A kill is SIGKILL, SIGTERM followed by SIGKILL, or SIGTERM twice. Both runs
must leave bit-identical results: every array of the last checkpoint, every
file, and every record of TensorBoard exactly once. No temporary file may be
left over. The exit code is 0 if all of this is true and 1 otherwise. Runs on
the CPU unless JAX_PLATFORMS is set.
"""

import argparse
import collections
import contextlib
import itertools
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import tiny
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.util import tensor_util

from cyclegan_jax.config.program import quiet

KILL, TERM = signal.SIGKILL, signal.SIGTERM
OPTIONS = {
  'train__ema_decay': 0.9,
  'train__batch_size': 2,
  'generator__dropout': 0.5,
  'log__checkpoint_every': 5,
  'log__sample_every': 10,
  # Without identity losses, compiling takes a third less time.
  'loss__identity_a': 0.0,
  'loss__identity_b': 0.0,
}
# Metrics and files that depend on the machine, not on the training.
SPEEDS = {'seconds_per_step', 'images_per_second', 'input_wait'}
MACHINE = {'environment.json', 'lock'}
TEMPORARY = re.compile(r'\.(part|tmp)$|orbax-checkpoint-tmp')


class Kind(NamedTuple):
  """Kind of kill: its moment and its signals.

  Attributes:
    event: event to wait for, a key of `Process.seen`.
    count: the kill waits for a random number of events from 1 to `count`.
    signals: ((longest random delay in seconds, signal), ...), sent in order.
  """

  event: str
  count: int
  signals: tuple


SAVING, END = 'saving', 'end'
KINDS = {
  'start': Kind('started', 1, ((8.0, KILL),)),
  'compilation': Kind('built', 1, ((2.0, KILL),)),
  'step': Kind('step', 10, ((0.05, KILL),)),
  SAVING: Kind('saving', 2, ((0.03, KILL),)),
  'saved': Kind('saved', 2, ((0.03, KILL),)),
  'sample': Kind('sample', 1, ((0.01, KILL),)),
  'SIGTERM, SIGKILL': Kind('step', 10, ((0.05, TERM), (0.4, KILL))),
  'SIGTERM twice': Kind('step', 10, ((0.05, TERM), (2.0, TERM))),
  END: Kind('last', 1, ((1.0, KILL),)),
}


class Failure(Exception):
  """Raised if the program hangs, or exits with an unexpected code."""


class Process:
  """A process of the training program, and the events observed.

  Attributes:
    step: last step that the process printed.
    seen: {event of `KINDS`: number of times the event was observed}.
    seconds: duration of the process; set by `end`.
  """

  def __init__(self, program, workdir):
    self._workdir = workdir
    self._files = _written(workdir)
    self._saving = set()
    self._last = program.steps
    with program.output.open('ab') as output:
      self._process = subprocess.Popen(
        program.command(workdir),
        stdout=output,
        stderr=subprocess.STDOUT,
        env=program.env,
      )
    self._output = program.output.open()
    self._output.seek(0, os.SEEK_END)
    self._start = time.monotonic()
    self.step = 0
    self.seen = collections.Counter(started=1)

  def look(self):
    """Counts the new events; returns True while the process is running."""
    running = self._process.poll() is None
    said = self._output.read()
    lines = re.findall(r'step (\d+)/', said)
    begun = re.findall(r'from step (\d+)', said)
    self.step = max(self.step, *map(int, lines + begun), 0)
    self.seen['built'] += said.count(' parameters')
    self.seen['step'] += len(lines)
    self.seen['last'] = int(self.step == self._last)
    files = _written(self._workdir)
    for event, name, _ in files - self._files:
      self.seen[event] += 1
      if event == SAVING:
        self._saving.add(name)
    self._files = files
    return running

  def wait(self, seconds, until):
    """Counts events until `until()` is true, time is up or the process ends."""
    end = time.monotonic() + seconds
    while self.look() and time.monotonic() < end and not until():
      time.sleep(0.002)

  def signal(self, number):
    """Sends a signal to the process."""
    self._process.send_signal(number)

  def end(self, patience=600):
    """Waits for the end of the process and returns its exit code.

    Args:
      patience: longest time to wait, in seconds.

    Raises:
      Failure: the process is still running after that time.
    """
    try:
      return self._process.wait(patience)
    except subprocess.TimeoutExpired:
      raise Failure(f'still running after {patience} s') from None
    finally:
      self._process.kill()
      self._process.wait()
      self.look()
      self._output.close()
      self.seconds = time.monotonic() - self._start

  def unfinished(self):
    """Returns the names of the checkpoints that the process left unfinished."""
    left = {name for event, name, _ in self._files if event == SAVING}
    return sorted(left & self._saving)

  def where(self):
    """Describes the activity of the process at its end, for a printed line."""
    if self.unfinished():
      return f'writing {", ".join(self.unfinished())}, step {self.step}'
    if self.seen['last']:
      return 'at the end'
    if self.step:
      return f'step {self.step}'
    return 'compiling' if self.seen['built'] else 'starting'


def _written(workdir):
  """Returns {(event, file name, modification time)} of a run folder.

  A new entry is an event: a checkpoint is being saved or has been saved, or a
  sample picture was written.
  """
  found = set()
  for path in (workdir / 'checkpoints').glob('*'):
    found.add(('saved' if path.name.isdigit() else SAVING, path.name, 0))
  for path in (workdir / 'samples').glob('*'):
    with contextlib.suppress(FileNotFoundError):  # renamed to its final name
      found.add(('sample', path.name, path.stat().st_mtime_ns))
  return found


class Program:
  """Training program that both runs start.

  Attributes:
    steps: number of steps of a complete run.
    output: path of the file with all printed lines.
    cache: folder of the compilation cache.
    env: environment of the processes.
  """

  def __init__(self, folder, steps):
    self.steps = steps
    self.output = folder / 'output.txt'
    self._pictures = folder / 'pictures'
    tiny.write_pictures(self._pictures)
    self.cache = folder / 'compiled'
    self.env = {
      'JAX_PLATFORMS': 'cpu',
      'XLA_FLAGS': '--xla_backend_optimization_level=0',
      **os.environ,
      'JAX_COMPILATION_CACHE_DIR': str(self.cache),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.1',
      'PYTHONUNBUFFERED': '1',
    }

  def command(self, workdir):
    """Returns the command line that trains in a run folder."""
    _, *flags = tiny.command(
      'folder',
      workdir,
      self._pictures,
      schedule__constant=self.steps // 2,
      schedule__decay=self.steps - self.steps // 2,
      **OPTIONS,
    )
    return [sys.executable, '-m', 'cyclegan_jax.main', *flags]

  def compiled(self):
    """Returns the number of programs in the compilation cache."""
    return len(list(self.cache.glob('*-cache')))

  def tail(self, lines=20):
    """Returns the last printed lines."""
    return '\n'.join(self.output.read_text().splitlines()[-lines:])


def undisturbed(program, workdir):
  """Runs the program to its end and returns the seconds taken.

  Raises:
    Failure: the exit code is not 0, or the program does not end.
  """
  process = Process(program, workdir)
  code = process.end()
  if code:
    raise Failure(f'exit code {code}:\n{program.tail()}')
  return process.seconds


def disturbed(program, workdir, kills, rng, say=print):
  """Runs the program, kills and restarts it, and then runs it to its end.

  Args:
    program: a `Program`.
    workdir: the run folder.
    kills: number of kills.
    rng: `random.Random`, which decides the kinds and moments.
    say: function that prints a line.

  Returns:
    (number of kills, number of kills that left an unfinished checkpoint).

  Raises:
    Failure: a process ended with an unexpected exit code or did not end, or the
      run had too few steps for the kills.
  """
  names = plan(kills, rng)
  done, halves = 0, 0
  for _ in range(3 * kills + 5):
    if not names:
      undisturbed(program, workdir)
      return done, halves
    name = names.pop(0)
    process, code = _kill(program, workdir, KINDS[name], len(names) + 1, rng)
    if code in (0, 128 + TERM):  # ended before the kill
      names.insert(0, name)
    elif code in (-KILL, -TERM):
      done += 1
      halves += bool(process.unfinished())
      if name == SAVING and not process.unfinished():
        names.insert(0, name)
    else:
      raise Failure(f'exit code {code}:\n{program.tail()}')
    how = f'kill {done}' if code < 0 else f'exit code {code}'
    aim = f'aim: {name}'
    say(f'{how:<13} {aim:<22} {process.seconds:5.1f} s  {process.where()}')
  raise Failure(f'--kills={kills} cannot be reached: give more --steps')


def plan(kills, rng):
  """Returns a list of `kills` names of `KINDS`, in random order.

  At least a quarter of them are `SAVING`. The last eighth are `END`.
  """
  others = [name for name in KINDS if name not in (SAVING, END)]
  rng.shuffle(others)
  ends = kills // 8
  names = [SAVING] * -(-kills // 4)
  names += itertools.islice(itertools.cycle(others), kills - len(names) - ends)
  rng.shuffle(names)
  return names + [END] * ends


def _kill(program, workdir, kind, kills_left, rng):
  """Starts the program and kills it as `kind` says.

  The kill comes early enough to leave steps for the other kills.

  Returns:
    (`Process`, its exit code).
  """
  saved = [int(n) for event, n, _ in _written(workdir) if event == 'saved']
  start = max(saved, default=0)
  share = (program.steps - start) // (kills_left + 1)
  aim = start + rng.randint(0, share // 2)
  count = rng.randint(1, kind.count)
  process = Process(program, workdir)

  def late():
    return kind.event != 'last' and process.step > start + share

  try:
    if kind.event not in ('started', 'built'):
      process.wait(600, lambda: process.step >= aim)
      process.seen.clear()
    process.wait(600, lambda: process.seen[kind.event] >= count or late())
    for seconds, number in kind.signals:
      process.wait(rng.uniform(0, seconds), late)
      process.signal(number)
  except BaseException:
    process.signal(KILL)
    raise
  finally:
    code = process.end()
  return process, code


def differences(whole, killed):
  """Compares two run folders.

  Args:
    whole: folder of the undisturbed run.
    killed: folder of the run that was killed.

  Returns:
    List of lines, one per difference or leftover file.
  """
  return [
    *_leftovers(killed),
    *_compare_files(whole, killed),
    *_compare_states(whole / 'checkpoints', killed / 'checkpoints'),
    *_compare_boards(whole / 'tensorboard', killed / 'tensorboard'),
  ]


def _leftovers(workdir):
  found = [p for p in workdir.rglob('*') if TEMPORARY.search(p.name)]
  return [f'left over: {p.relative_to(workdir)}' for p in sorted(found)]


def _compare_files(whole, killed):
  """Yields lines on files that differ or are missing.

  Skips files whose names or contents depend on the time: checkpoints,
  TensorBoard files and those in `MACHINE`.
  """
  trees = []
  for root in (whole, killed):
    paths = {str(p.relative_to(root)): p for p in root.rglob('*')}
    trees.append(
      {
        name: path
        for name, path in paths.items()
        if path.is_file()
        and name not in MACHINE
        and not name.startswith(('checkpoints/', 'tensorboard/'))
        and not TEMPORARY.search(name)
      }
    )
  for name in sorted(trees[0].keys() ^ trees[1].keys()):
    yield f'{name}: only in the {"un" * (name in trees[0])}disturbed run'
  for name in sorted(trees[0].keys() & trees[1].keys()):
    one, two = (tree[name].read_bytes() for tree in trees)
    if one != two:
      yield f'{name}: {_first_difference(one, two)}'


def _first_difference(one, two):
  if b'\0' in one + two:
    return 'differs'
  lines = itertools.zip_longest(one.splitlines(True), two.splitlines(True))
  for number, (x, y) in enumerate(lines, 1):
    if x != y:
      return f'line {number} differs: {(x or b"")[:60]} {(y or b"")[:60]}'


def _compare_states(whole, killed):
  """Yields lines on differences of the checkpoints that both folders contain.

  The last checkpoint must be of the same step in both folders.
  """
  steps = [
    {int(p.name) for p in folder.iterdir() if p.name.isdigit()}
    for folder in (whole, killed)
  ]
  last = [max(x, default=None) for x in steps]
  if last[0] != last[1]:
    yield f'checkpoints: the last ones are {last[0]} and {last[1]}'
  # A run killed before it deleted the oldest checkpoint keeps one more.
  if len(steps[1]) - len(steps[0]) not in (0, 1):
    yield f'checkpoints: kept {sorted(steps[0])} and {sorted(steps[1])}'
  for step in sorted(steps[0] & steps[1]):
    one, two = (read_state(folder / str(step)) for folder in (whole, killed))
    for name in sorted(one.keys() | two.keys()):
      if not same_bits(one.get(name), two.get(name)):
        yield f'checkpoint {step}: {name} differs'


def same_bits(one, two):
  """Returns True if both are arrays with equal type, shape and bytes."""
  return (
    one is not None
    and two is not None
    and (one.dtype, one.shape) == (two.dtype, two.shape)
    and one.tobytes() == two.tobytes()
  )


def read_state(folder):
  """Reads {name: array} of a checkpoint without changing the checkpoint."""
  with ocp.StandardCheckpointer() as checkpointer:
    tree = checkpointer.restore(folder / 'state')
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(leaf)
    for path, leaf in leaves
  }


def _compare_boards(whole, killed):
  boards = [read_board(folder) for folder in (whole, killed)]
  for board, which in zip(boards, ('undisturbed', 'disturbed')):
    for tag, records in board.items():
      times = collections.Counter(step for step, _ in records)
      more = sorted(step for step, count in times.items() if count > 1)
      if more:
        yield f'TensorBoard, {which}: {tag} more than once at steps {more}'
  for tag in sorted(boards[0].keys() | boards[1].keys()):
    one, two = (dict(board.get(tag, [])) for board in boards)
    missing = sorted(one.keys() ^ two.keys())
    if missing:
      yield f'TensorBoard: {tag} not in both runs at steps {missing}'
    differing = sorted(s for s in one.keys() & two.keys() if one[s] != two[s])
    if differing and tag not in SPEEDS:
      yield f'TensorBoard: {tag} differs at steps {differing}'


def read_board(folder):
  """Reads all TensorBoard files of a folder.

  Returns:
    {tag: [(step, bytes of the value)]}, with every record of every file.
  """
  board = collections.defaultdict(list)
  for path in sorted(folder.glob('*tfevents*')):
    if TEMPORARY.search(path.name):
      continue
    for event in event_file_loader.EventFileLoader(str(path)).Load():
      for value in event.summary.value:
        content = tensor_util.make_ndarray(value.tensor)
        if content.dtype == object:  # pictures
          content = b''.join(content.tolist())
        else:
          content = content.tobytes()
        board[value.tag].append((event.step, content))
  return dict(board)


def check(folder, kills, steps, seed, say=print):
  """Trains the undisturbed and the killed run and compares them.

  Args:
    folder: empty folder for both runs.
    kills: number of kills.
    steps: number of training steps.
    seed: random seed of the kinds and moments of the kills.
    say: function that prints a line.

  Returns:
    True if the runs are equal.
  """
  program = Program(folder, steps)
  whole, killed = folder / 'whole', folder / 'killed'
  start = time.monotonic()
  try:
    seconds = undisturbed(program, whole)
    compiled = program.compiled()
    say(f'undisturbed: {steps} steps, {seconds:.1f} s, {compiled} compilations')
    if not compiled:
      raise Failure('the compilation cache is empty')
    done, halves = disturbed(program, killed, kills, random.Random(seed), say)
    found = differences(whole, killed)
  except Failure as e:
    say(f'FAILED: {e}')
    return False
  say(
    f'{done} kills, {halves} of them while a checkpoint was written; '
    f'{program.compiled() - compiled} new compilations; '
    f'{time.monotonic() - start:.0f} s'
  )
  for line in found:
    say(f'  {line}')
  say('FAILED: there are differences' if found else 'PASSED: bit-identical')
  return not found


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument(
    '--kills', type=int, default=20, help='number of kills (20)'
  )
  parser.add_argument(
    '--seed', type=int, default=0, help='random seed of the kills (0)'
  )
  parser.add_argument(
    '--steps', type=int, help='training steps (15 per kill plus 30)'
  )
  parser.add_argument(
    '--keep',
    metavar='DIR',
    help='new or empty folder for the runs, which is kept',
  )
  args = parser.parse_args(argv)
  quiet()
  import cyclegan_jax.data.tf  # noqa: F401, silences TensorBoard's reader

  folder = pathlib.Path(args.keep or tempfile.mkdtemp(prefix='chaos_'))
  folder.mkdir(parents=True, exist_ok=True)
  if any(folder.iterdir()):
    parser.error(f'--keep={folder} is not empty: give a new folder')
  steps = args.steps or 15 * args.kills + 30
  well = check(folder.absolute(), args.kills, steps, args.seed)
  if args.keep or not well:
    print(f'all files are in {folder}')
  else:
    shutil.rmtree(folder)
  return 0 if well else 1


if __name__ == '__main__':
  sys.exit(main())
