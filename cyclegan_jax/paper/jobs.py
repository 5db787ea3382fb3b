"""Child processes: several at a time, stopped and continued."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time
from typing import NamedTuple

from cyclegan_jax.common import files, terminal
from cyclegan_jax.config.program import USER_ERROR
from cyclegan_jax.defaults import DEFAULTS
from cyclegan_jax.paper import child_process
from cyclegan_jax.training.stopping import on_terminal

# Settings of a step beside options: digests of the pictures.
TRAINING, TESTS = 'pictures', 'test pictures'
_POLL = 0.1  # seconds
_LAST_LINES = 5  # of the log of a child that failed


class Step(NamedTuple):
  """A command whose work is done once for its settings.

  Attributes:
    what: its name among the steps of a job.
    command: the words of it.
    settings: {name: value}, all that decides its result, as JSON has it.
    output: a file or folder that is there once it is done.
  """

  what: str
  command: list
  settings: dict
  output: pathlib.Path


class Job(NamedTuple):
  """Steps one after the other, in a folder.

  Attributes:
    name: as it is told to the user.
    folder: of its log.txt, and done.json with the steps done; one in a bucket
      gets the log of the machine that ran it last.
    steps: `Step`s.
  """

  name: str
  folder: pathlib.Path
  steps: list

  def done(self):
    """{name of a step: settings it was done with}."""
    try:
      return json.loads((self.folder / 'done.json').read_text())
    except (OSError, ValueError):
      return {}

  def left(self):
    """The steps still to do."""
    done = self.done()
    return [
      step
      for step in self.steps
      if not _same(done.get(step.what), step.settings)
      or not step.output.exists()
    ]

  def keep_log(self):
    """Copies the log to the bucket, if the folder is in one."""
    if files.remote(self.folder):
      log = files.own(self.folder, 'log.txt').read_bytes()
      files.write(self.folder / 'log.txt', log)

  def note(self, step):
    """Writes down that a step is done."""
    done = self.done() | {step.what: step.settings}
    files.write(self.folder / 'done.json', json.dumps(done, indent=2) + '\n')


def _same(before, settings):
  """Whether a step was done with these settings.

  An option that there was not yet had the effect of its default; one that makes
  no difference does not count.
  """
  if before is None:
    return False
  defaults = {key: x for key, x in DEFAULTS.items() if key in settings}
  # An earlier version did not note them.
  defaults |= {
    key: settings[key] for key in (TRAINING, TESTS) if key in settings
  }
  return _used(defaults | before) == _used(settings)


def _used(settings):
  from cyclegan_jax.config.unused import unused  # it loads JAX

  idle = unused(DEFAULTS | settings)
  return {key: x for key, x in settings.items() if key not in idle}


class _Active(NamedTuple):
  job: Job
  steps: list
  process: subprocess.Popen
  start: float


class Outcome(NamedTuple):
  """How a call of `run` ended.

  Attributes:
    failed: {name of a job: exit code}.
    signal: the signal that stopped it, or None.
  """

  failed: dict
  signal: int | None = None

  def code(self):
    """The exit code of the program."""
    if self.signal:
      return 128 + self.signal
    if set(self.failed.values()) - {USER_ERROR}:
      return 1
    return USER_ERROR if self.failed else 0


class _Signals:
  """Takes note of SIGINT, SIGTERM and SIGHUP, and counts them.

  An output that nobody reads any more counts as a SIGPIPE.
  """

  def __init__(self):
    self._number, self._count = None, 0

  @property
  def number(self):
    """The first signal, or None."""
    return self._number or (signal.SIGPIPE if terminal.lost() else None)

  @property
  def count(self):
    """Signals so far."""
    return self._count or int(terminal.lost())

  def __enter__(self):
    self._before = {}
    with contextlib.suppress(ValueError):  # not in the main thread: no signals
      for number in [signal.SIGTERM, *on_terminal()]:
        self._before[number] = signal.signal(number, self._note)
    return self

  def _note(self, number, frame):
    del frame
    self._number = self._number or number
    self._count += 1

  def __exit__(self, *error):
    for number, handler in self._before.items():
      signal.signal(number, handler)


def run(jobs, places, environment, say, finished=lambda: None):
  """Does what is left of some jobs.

  The first SIGINT, SIGTERM or SIGHUP is passed on as one SIGTERM, with which
  training saves and stops; a second one as another, which stops it at once.

  Args:
    jobs: `Job`s.
    places: `devices.places`, one a child at a time.
    environment: {variable: value} of the children on top of this process's.
    say: prints a line to the user.
    finished: called after every job that was done.

  Returns:
    An `Outcome`.
  """
  runner = _Runner(jobs, places, environment, say, finished)
  with terminal.patient(), _Signals() as signals:
    try:
      while runner.step(signals.count):
        time.sleep(_POLL)
    finally:
      runner.pass_on()
  return Outcome(runner.failed, signals.number)


class _Runner:
  """Jobs that wait, those that run in a place, and those that failed."""

  def __init__(self, jobs, places, environment, say, finished):
    self._waiting = [job for job in jobs if job.left()]
    self._total, self._done = len(jobs), len(jobs) - len(self._waiting)
    self._places, self._environment = places, environment
    self._say, self._finished = say, finished
    self._free, self._active = list(range(len(places))), {}
    self._minutes, self._passed = [], 0
    self.failed = {}

  def step(self, signals):
    """Looks after the children once; returns whether there is more to do.

    Args:
      signals: how many signals came so far; with one no more is started.
    """
    if signals > self._passed:
      self._passed = signals
      if self._active:
        self._say('stopping: what trains saves first')
      self.pass_on()
    for place, it in list(self._active.items()):
      if it.process.poll() is not None:
        self._end(place, it.process.returncode, signals)
    while self._free and self._waiting and not signals:
      job = self._waiting.pop(0)
      steps = job.left()
      for step in steps:  # nobody is to read those of other settings
        if step.output.is_file():
          step.output.unlink()
      self._say(f'start: {job.name} ({", ".join(s.what for s in steps)})')
      self._start(job, steps, self._free.pop(0), time.monotonic())
    return bool(self._active)

  def pass_on(self):
    """Asks the children to stop."""
    for it in self._active.values():
      it.process.terminate()

  def _start(self, job, steps, place, since):
    variables, cores = self._places[place]
    with files.writing(job.folder):
      files.make(job.folder)
      log = files.own(job.folder, 'log.txt').open('ab')
    with log:
      process = subprocess.Popen(
        child_process.command(
          steps[0].command, files.own(job.folder, 'lock'), cores
        ),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=os.environ | self._environment | variables,
        # Ctrl-C reaches this process alone, which passes it on once.
        start_new_session=True,
      )
    self._active[place] = _Active(job, steps, process, since)

  def _end(self, place, code, signals):
    job, steps, _, since = self._active.pop(place)
    job.keep_log()
    if not code:
      job.note(steps[0])
      if steps[1:] and not signals:
        self._start(job, steps[1:], place, since)
        return
    self._free.append(place)
    if code and not signals:
      self.failed[job.name] = code
      self._say(f'failed: {job.name}, {steps[0].what}: {_why(job, code)}')
    elif not code and not steps[1:]:
      self._count((time.monotonic() - since) / 60, job)

  def _count(self, minutes, job):
    self._done += 1
    self._minutes.append(minutes)
    jobs = len(self._waiting) + len(self._active)
    mean = sum(self._minutes) / len(self._minutes)
    rest = f', about {mean * jobs / len(self._places):.0f} min left'
    self._say(
      f'done: {job.name}, {minutes:.1f} min; '
      f'{self._done} of {self._total} done{rest if jobs else ""}'
    )
    self._finished()


def _why(job, code):
  """The last lines of a job's log; of a user's mistake the one that says it."""
  log = files.own(job.folder, 'log.txt')
  lines = log.read_text(errors='replace').splitlines()
  lines = [line for line in lines if line.strip()]
  if code == USER_ERROR and lines and lines[-1].startswith('error: '):
    return lines[-1].removeprefix('error: ')
  where = f'exit code {code}, {job.folder / log.name}:'
  return '\n  '.join([where, *lines[-_LAST_LINES:]])
