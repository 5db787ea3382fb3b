"""The training loop, which also logs, measures and saves between steps."""

import jax

from cyclegan_jax.common import hosts
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.training.device_queue import Device, SickTraining
from cyclegan_jax.training.log import Progress
from cyclegan_jax.training.monitors import Monitors
from cyclegan_jax.training.profiling import Profiler, Watchdog, by_process
from cyclegan_jax.training.stopping import StopSignals


def check_intervals(run):
  """Checks the intervals of logging, saving and evaluation.

  Args:
    run: the `Run`, all settings of the run.

  Raises:
    UserError: an interval is not a multiple of train.steps_per_call.
  """
  intervals = {
    'log.every': run.log.every,
    'log.sample_every': run.log.sample_every,
    'log.checkpoint_every': run.log.checkpoint_every,
    'evaluate.every, in steps,': run.evaluate_every,
  }
  for option, steps in intervals.items():
    if steps % run.steps_per_call:
      raise UserError(
        f'{option}={steps} is not a multiple of train.steps_per_call='
        f'{run.steps_per_call}: use a multiple'
      )


class _Observers:
  """Writes metrics, sample grids and test metrics to the log and terminal.

  Each method is called with the results of one step.
  """

  def __init__(self, run, sampler, log, progress, say):
    """Stores the arguments.

    Args:
      run: the `Run`.
      sampler: the `Sampler`.
      log: a `Log` or `NoLog`.
      progress: the `log.Progress`.
      say: prints a line to the user.
    """
    self._run = run
    self._sampler = sampler
    self._log = log
    self._progress = progress
    self._say = say
    self._monitors = Monitors(
      run.method.won, lambda line: say(f'warning: {line}')
    )

  def numbers(self, step, metrics, speed):
    """Logs the metrics of a step and the learning rates of that step.

    Args:
      step: number of steps done.
      metrics: {name: scalar}, arrays on the device.
      speed: {name: float}, the speeds of `log.Progress.speed` and
        `profiling.by_process`: seconds per step, images per second and input
        wait.
    """
    metrics = jax.device_get(metrics)
    factor = self._run.schedule.factor(step - 1)
    rates = {
      'lr_gen': self._run.lr * factor,
      'lr_disc': self._run.lr_discriminator * factor,
    }
    if self._run.lr_heads is not None:
      rates['lr_heads'] = self._run.lr_heads * factor
    self._log.numbers(step, metrics | rates, speed)
    self._say(self._progress.line(step, metrics, speed))
    self._monitors.numbers(step, metrics)

  def sample(self, step, pictures):
    """Logs the sample grid of a step and checks its translations.

    Args:
      step: number of steps done.
      pictures: the images that `Sampler.start` computes, on the device.
    """
    pictures = jax.device_get(pictures)
    self._log.sample(step, self._sampler.grid(pictures, step))
    self._monitors.pictures(step, self._sampler.pairs(pictures))

  def evaluate(self, step, params):
    """Measures the test set and logs the results.

    Args:
      step: number of steps done.
      params: {'gen': params}, the generators to measure.
    """
    translate = self._sampler.translation(params)
    numbers = self._run.evaluate(step, translate, params)
    self._log.numbers(step, numbers, {})
    words = [f'{name} {value:.4f}' for name, value in numbers.items()]
    self._say(f'step {step}  ' + '  '.join(words))


class _Later:
  """A queue of work on the results of a step: `add` fills it, `finish` does it.

  The work is done after the next step was started, so that the device computes
  meanwhile.
  """

  def __init__(self, device):
    self._device = device
    self._work = []

  def add(self, work, step, *args):
    """Adds the call `work(step, *args)` to the queue.

    Args:
      work: function to call later.
      step: number of the step whose results the function reads.
      *args: further arguments of the function.
    """
    self._work.append((work, step, args))

  def finish(self):
    """Does all queued work, after waiting for the device to do its step."""
    while self._work:
      work, step, args = self._work.pop(0)
      self._device.settle(step)
      work(step, *args)


def steps(run, state, mesh, share, sampler, log, checkpoints, stop_at, say):
  """Trains up to the last step of the run, a signal, or `stop_at`.

  The state is saved at the end in each of these cases.

  Args:
    run: the `Run`, all settings of the run.
    state: the `TrainState` to continue from, donated.
    mesh: the `jax.sharding.Mesh` of the devices that train.
    share: (first, count): the pictures of each batch that this process reads.
    sampler: the `Sampler` that draws the sample grids.
    log: the `Log` for metrics and sample grids, or a `NoLog`.
    checkpoints: the `Checkpoints` to save to.
    stop_at: the step to stop at, or None for the last step of the run.
    say: prints a line to the user.

  Returns:
    The last `TrainState`, and the number of the signal that stopped the run,
    or None.

  Raises:
    UserError: a picture cannot be used, a step gave NaN or infinity, or a file
      of the run cannot be written.
  """
  last = run.schedule.steps
  step, number = int(state.step), None
  device = Device(run, mesh, share, state, say)
  progress = Progress(step, last, run.batch_size)
  observers = _Observers(run, sampler, log, progress, say)
  later = _Later(device)
  profiler = Profiler(run.profile, log.board, device.settle, say)

  def due(interval):
    return bool(interval) and (step % interval == 0 or step == last)

  def save(step, state):
    log.flush()  # a run resumed from the checkpoint keeps these lines
    checkpoints.save(step, state)

  def stopped():
    return stop.told(lambda: checkpoints.preempted(step))

  with StopSignals() as stop, Watchdog(run.log.stuck_after) as stepped:
    while step < last and not (number := stopped()) and step != stop_at:
      profiler(step)
      # The last steps are called singly if they do not fill a whole call.
      count = run.steps_per_call if step + run.steps_per_call <= last else 1
      try:
        state, metrics = device(state, count)
      except SickTraining:
        raise
      except UserError:
        # The other processes do not know of the error and cannot save too.
        if hosts.several():
          raise
        later.finish()
        device.settle(step)
        save(step, state)
        raise
      step += count
      stepped()
      later.finish()
      if due(run.log.every):
        speed = progress.speed(step, device.waited)
        later.add(observers.numbers, step, metrics, speed | by_process(speed))
      if due(run.log.sample_every):
        later.add(observers.sample, step, sampler.start(state))
      if run.evaluate and due(run.evaluate_every):
        params = checkpoints.copy(state.translation_params())
        later.add(observers.evaluate, step, params)
      # Saved last: a resumed run does not repeat the work above for this step.
      if due(run.log.checkpoint_every):
        later.add(save, step, checkpoints.copy(state))
    profiler.close(step)
    later.finish()
    device.settle(step)
    save(step, state)
  return state, number
