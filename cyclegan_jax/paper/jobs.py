"""Runs jobs in parallel child processes that can be stopped and resumed."""

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

# Keys of `Step.settings` that are not options: digests of the pictures.
TRAINING, TESTS = 'pictures', 'test pictures'
_POLL = 0.1  # seconds
_LAST_LINES = 5  # lines of the log that are shown for a failed child


class Step(NamedTuple):
  """A command of a job, which is run once for given settings.

  Attributes:
    what: name of the step, unique in its job.
    command: argument list of the command.
    settings: {name: JSON value} of everything that determines the result.
    output: path of a file or folder that exists once the step is done.
  """

  what: str
  command: list
  settings: dict
  output: pathlib.Path


class Job(NamedTuple):
  """Steps that are run one after the other, recorded in a folder.

  `left` returns the steps that remain; `run` of this module runs them.

  Attributes:
    name: name of the job in printed lines.
    folder: folder of log.txt (output of the commands) and done.json (the steps
      done). A folder in a bucket holds the log of the host that ran the job
      last.
    steps: list of `Step`.
  """

  name: str
  folder: pathlib.Path
  steps: list

  def done(self):
    """Reads done.json: {name of a step: settings that it was run with}.

    Returns {} if the file does not exist or cannot be read.
    """
    try:
      return json.loads((self.folder / 'done.json').read_text())
    except (OSError, ValueError):
      return {}

  def left(self):
    """Returns the steps to run: not done, other settings, or no output."""
    done = self.done()
    return [
      step
      for step in self.steps
      if not _same(done.get(step.what), step.settings)
      or not step.output.exists()
    ]

  def keep_log(self):
    """Copies log.txt to the folder of the job if that folder is in a bucket."""
    if files.remote(self.folder):
      log = files.own(self.folder, 'log.txt').read_bytes()
      files.write(self.folder / 'log.txt', log)

  def note(self, step):
    """Records a step and its settings as done in done.json.

    Args:
      step: the `Step`.
    """
    done = self.done() | {step.what: step.settings}
    files.write(self.folder / 'done.json', json.dumps(done, indent=2) + '\n')


def _same(before, settings):
  """Returns True if a step was run with settings equivalent to `settings`.

  An option missing from `before` counts as its default, because the version
  that ran the step did not have the option. Options without effect on the
  config are not compared.

  Args:
    before: settings from done.json, or None if the step was not run.
    settings: settings of the step now.
  """
  if before is None:
    return False
  defaults = {key: x for key, x in DEFAULTS.items() if key in settings}
  # Earlier versions did not record the digests of the pictures.
  defaults |= {
    key: settings[key] for key in (TRAINING, TESTS) if key in settings
  }
  return _used(defaults | before) == _used(settings)


def _used(settings):
  from cyclegan_jax.config.unused import unused  # imports JAX: slow

  idle = unused(DEFAULTS | settings)
  return {key: x for key, x in settings.items() if key not in idle}


class _Active(NamedTuple):
  job: Job
  steps: list
  process: subprocess.Popen
  start: float


class Outcome(NamedTuple):
  """Result of a call of `run`, from which `code` makes the exit code.

  Attributes:
    failed: {name of a failed job: exit code of its command}.
    signal: number of the signal that stopped the jobs, or None.
  """

  failed: dict
  signal: int | None = None

  def code(self):
    """Returns the exit code of the program.

    128 + the signal if one stopped the jobs; otherwise 0 if no job failed, 2 if
    all failed jobs ended with 2 (invalid input), and else 1.
    """
    if self.signal:
      return 128 + self.signal
    if set(self.failed.values()) - {USER_ERROR}:
      return 1
    return USER_ERROR if self.failed else 0


class _Signals:
  """Context that counts SIGINT, SIGTERM and SIGHUP instead of obeying them.

  A closed standard output, as behind `| head`, counts as one SIGPIPE.
  """

  def __init__(self):
    self._number, self._count = None, 0

  @property
  def number(self):
    """Number of the first signal received, or None."""
    return self._number or (signal.SIGPIPE if terminal.lost() else None)

  @property
  def count(self):
    """Number of signals received so far."""
    return self._count or int(terminal.lost())

  def __enter__(self):
    self._before = {}
    with contextlib.suppress(ValueError):  # signals need the main thread
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
  """Runs the remaining steps of some jobs, several jobs at the same time.

  On the first SIGINT, SIGTERM or SIGHUP each child is sent SIGTERM: a training
  saves and stops, and no further step is started. On a second signal each child
  is sent another SIGTERM, which stops a training at once.

  Args:
    jobs: list of `Job`.
    places: [({environment variable: value}, core numbers)], one entry per
      parallel child, as `devices.places` returns it.
    environment: {variable: value} added to the environment of the children.
    say: function that prints a line to the user.
    finished: function without arguments, called after each completed job.

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
  """State of `run`: waiting jobs, running children and failed jobs.

  Call `step` again and again until it returns False.

  Attributes:
    failed: {name of a failed job: exit code of its command}.
  """

  def __init__(self, jobs, places, environment, say, finished):
    self._waiting = [job for job in jobs if job.left()]
    self._total, self._done = len(jobs), len(jobs) - len(self._waiting)
    self._places, self._environment = places, environment
    self._say, self._finished = say, finished
    self._free, self._active = list(range(len(places))), {}
    self._minutes, self._passed = [], 0
    self.failed = {}

  def step(self, signals):
    """Handles ended children and starts waiting jobs, once.

    Args:
      signals: number of signals received so far. If there is one, no further
        command is started.

    Returns:
      True while a child is running.
    """
    if signals > self._passed:
      self._passed = signals
      if self._active:
        self._say('stopping: running trainings save a checkpoint first')
      self.pass_on()
    for place, it in list(self._active.items()):
      if it.process.poll() is not None:
        self._end(place, it.process.returncode, signals)
    while self._free and self._waiting and not signals:
      job = self._waiting.pop(0)
      steps = job.left()
      for step in steps:  # results of other settings must not be read
        if step.output.is_file():
          step.output.unlink()
      self._say(f'starting: {job.name} ({", ".join(s.what for s in steps)})')
      self._start(job, steps, self._free.pop(0), time.monotonic())
    return bool(self._active)

  def pass_on(self):
    """Sends SIGTERM to the running children."""
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
        # Ctrl-C must reach only this process, which sends one SIGTERM.
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
  """Returns the reason why a job failed, from its log.

  The reason is the error message if the exit code is 2 (invalid input), and
  otherwise the exit code, the path of the log and the last lines of the log.
  """
  log = files.own(job.folder, 'log.txt')
  lines = log.read_text(errors='replace').splitlines()
  lines = [line for line in lines if line.strip()]
  if code == USER_ERROR and lines and lines[-1].startswith('error: '):
    return lines[-1].removeprefix('error: ')
  where = f'exit code {code}, {job.folder / log.name}:'
  return '\n  '.join([where, *lines[-_LAST_LINES:]])
