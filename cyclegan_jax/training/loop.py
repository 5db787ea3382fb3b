"""The loop over the steps, and what happens in its rhythm."""

import signal

import jax

from cyclegan_jax.common import hosts
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.training.device_queue import Device, SickTraining
from cyclegan_jax.training.log import Progress
from cyclegan_jax.training.monitors import Monitors
from cyclegan_jax.training.profiling import Profiler, Watchdog, by_process
from cyclegan_jax.training.stopping import StopSignals


def check_rhythm(run):
  """Calls of several steps have to end where something happens."""
  names = 'log.every', 'log.sample_every', 'log.checkpoint_every'
  for what, steps in zip((*names, 'evaluate.every, in steps,'), run.rhythm):
    if steps % run.steps_per_call:
      raise UserError(
        f'{what}={steps} is not a multiple of train.steps_per_call='
        f'{run.steps_per_call}: make it one'
      )


def steps(run, state, mesh, share, sampler, log, checkpoints, stop_at, say):
  """Steps up to the last one, or until something stops it.

  Args:
    run: a `train.Run`.
    state: the `TrainState` to go on from, donated.
    mesh: the devices.
    share: (first, count), this process's part of each batch.
    sampler: a `Sampler`.
    log: a `Log` or `NoLog`.
    checkpoints: `Checkpoints`.
    stop_at: a step to stop at, or None.
    say: tells the user a line.

  Returns:
    The last state, and the signal that stopped it or None.

  Raises:
    UserError: as `train.train`.
  """
  last = run.schedule.steps
  step, number = int(state.step), None
  device = Device(run, mesh, share, state, say)
  progress = Progress(step, last, run.batch_size)
  later = []  # what waits for results, done while the next step runs
  profiler = Profiler(run.profile, log.board, device.settle, say)
  monitors = Monitors(run.method.won, lambda line: say(f'warning: {line}'))

  def every(rhythm):
    return bool(rhythm) and (step % rhythm == 0 or step == last)

  def finish():
    while later:
      work, step, *args = later.pop(0)
      device.settle(step)
      work(step, *args)

  def numbers(step, metrics, speed):
    metrics = jax.device_get(metrics)
    rates = {
      f'lr_{name}': rate * run.schedule.factor(step - 1)
      for name, rate in run.learning_rates.items()
    }
    log.numbers(step, metrics | rates, speed)
    say(progress.line(step, metrics, speed))
    monitors.numbers(step, metrics)

  def sample(step, pictures):
    pictures = jax.device_get(pictures)
    log.sample(step, sampler.grid(pictures))
    monitors.pictures(step, sampler.pairs(pictures))

  def evaluate(step, params):
    numbers = run.evaluate(step, sampler.translation(params), params)
    log.numbers(step, numbers, {})
    say(
      f'step {step}  ' + '  '.join(f'{k} {v:.4f}' for k, v in numbers.items())
    )

  def save(step, state):
    log.flush()  # a checkpoint counts on the lines before it
    checkpoints.save(step, state)

  def stopped():
    if hosts.several():
      return signal.SIGTERM if checkpoints.preempted(step) else None
    return stop.number

  with StopSignals() as stop, Watchdog(run.stuck_after) as stepped:
    while step < last and not (number := stopped()) and step != stop_at:
      profiler(step)
      # The steps that fill no call at the end come singly.
      count = run.steps_per_call if step + run.steps_per_call <= last else 1
      try:
        state, metrics = device(state, count)
      except SickTraining:
        raise
      except UserError:
        if hosts.several():  # the others can't be asked to save this step
          raise
        finish()
        device.settle(step)
        save(step, state)
        raise
      step += count
      stepped()
      finish()
      if every(run.rhythm.log):
        speed = progress.speed(step, device.waited)
        speed |= by_process(speed)
        later.append((numbers, step, metrics, speed))
      if every(run.rhythm.sample):
        later.append((sample, step, sampler.start(state)))
      if run.evaluate and every(run.rhythm.evaluate):
        params = checkpoints.copy(state.translation_params())
        later.append((evaluate, step, params))
      if every(run.rhythm.checkpoint):  # behind all that it counts as done
        later.append((save, step, checkpoints.copy(state)))
    profiler.close(step)
    finish()
    device.settle(step)
    save(step, state)
  return state, number
