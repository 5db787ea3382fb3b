"""Starts or continues a run, measures it at its end, and says how it went."""

import contextlib
import json

import jax

from cyclegan_jax.common import files, hosts
from cyclegan_jax.data import partly
from cyclegan_jax.metrics.table import markdown
from cyclegan_jax.training import evaluation, loop, machine, parallel
from cyclegan_jax.training import state as train_state
from cyclegan_jax.training.checkpoint import Checkpoints
from cyclegan_jax.training.log import Log, NoLog, parameter_table
from cyclegan_jax.training.run import Result
from cyclegan_jax.training.samples import Sampler
from cyclegan_jax.training.workdir import Workdir


def train(run, workdir, *, stop_at=None, say=print):
  """Trains from the newest checkpoint of `workdir`, or from the start.

  Args:
    run: a `Run`.
    workdir: folder of checkpoints, logs and samples, made if missing.
    stop_at: a step to stop at, as a signal would; None for none.
    say: prints a line to the user.

  Returns:
    A `Result`.

  Raises:
    UserError: batch and devices don't fit, a picture can't be used (what was
      trained before it is saved), a step gave NaN or infinity, `workdir` holds
      another kind of run, or it can't be written (what was saved stays).
  """
  if not hosts.writes():
    say = _silent
  work = Workdir(workdir)
  with files.writing(work.path):
    work.path.mkdir(parents=True, exist_ok=True)
  mesh = parallel.make_mesh(run.devices)
  say(machine.line(mesh))
  local = parallel.local_batch_size(run.batch_size, mesh, run.accumulate)
  loop.check_intervals(run)
  share = (jax.process_index() * local, local)
  state = _initial_state(run, mesh, work, say)
  sampler = Sampler(
    run.method,
    {d: run.data.test_images(d, run.log.samples) for d in 'ab'},
    run.data.show,
  )
  checkpoints = Checkpoints(work.checkpoints, run.log.keep, run.log.keep_every)
  # The log is closed last: a logger may have to wait for a network.
  with contextlib.ExitStack() as last, contextlib.closing(checkpoints):
    if checkpoints.latest_step() is not None:
      state = checkpoints.restore(state, say)
      say(f'continuing {work.path} from step {int(state.step)}')
    elif run.init_from:
      state = _initialized(state, run.init_from(), say)
      state = parallel.replicate(state, mesh)
    if int(state.step) < run.schedule.steps and hosts.writes():
      work.forget_test()
    hosts.wait_for_all('start')
    log = last.enter_context(_log(run, work, int(state.step), say))
    state, number = loop.steps(
      run, state, mesh, share, sampler, log, checkpoints, stop_at, say
    )
    step = int(state.step)
    log.code = _exit_code(number, step, run.schedule.steps)
  if step < run.schedule.steps:
    return Result(step, state, number)
  return Result(step, state, None, _test(run, state, sampler, work))


def _log(run, work, step, say):
  if not hosts.writes():
    return NoLog()
  return Log(work.path, step, run.log.to, run.options, say)


def _exit_code(number, step, last_step):
  """0, or of a run that was stopped 128 and the signal, SIGINT if none."""
  return 128 + (number or 2) if step < last_step else 0


def _silent(line):
  """Says nothing: the first process speaks for all."""


def _initial_state(run, mesh, work, say):
  state = train_state.create(
    run.method,
    run.optimizers,
    jax.random.PRNGKey(run.seed),
    run.data.example_batch(),
    pool_size=run.pool_size,
    ema=run.ema_decay > 0,
  )
  for group, nets in state.params.items():
    for name, params in nets.items():
      count = sum(x.size for x in jax.tree.leaves(params))
      say(f'{group}/{name}: {count:,} parameters')
  if hosts.writes():
    files.write(work.parameters, parameter_table(state.params) + '\n')
  return parallel.replicate(state, mesh)


def _initialized(state, params, say):
  """The state with trained parameters; says which networks have them."""
  state = train_state.with_params(state, params)
  ours = [f'{group}/{name}' for group, x in state.params.items() for name in x]
  theirs = [f'{group}/{name}' for group, x in params.items() for name in x]
  line = f'init_from: took {", ".join(x for x in ours if x in theirs)}'
  if rest := [name for name in ours if name not in theirs]:
    line += f'; random weights: {", ".join(rest)}'
  if unused := [name for name in theirs if name not in ours]:
    line += f'; not used here: {", ".join(unused)}'
  say(line)
  return state


def _test(run, state, sampler, work):
  """Measures the test pictures, if they are pairs, and writes the table."""
  if not run.data.source.paired:
    return None
  there = work.test_json.exists()
  hosts.wait_for_all('test')  # the first process is about to write it
  if there:
    return json.loads(work.test_json.read_text())
  translate = sampler.translation(state.translation_params())
  rows = evaluation.final_table(translate, run.data, run.method.directions)
  if hosts.writes():
    files.write(work.test_markdown, markdown(rows))
    files.write(work.test_json, json.dumps(rows, indent=2) + '\n')
  return rows


def report(result, work, last_step):
  """Prints how a run ended and where its results are.

  Args:
    result: a `Result`.
    work: the `Workdir` of the run.
    last_step: the number of steps the run was to have.

  Returns:
    The exit code.
  """
  code = _exit_code(result.signal, result.step, last_step)
  if not hosts.writes():
    return code
  for line in partly.clipped.lines():
    print(f'note: {line}')
  if code:
    print(
      f'stopped and saved at step {result.step} of {last_step}: '
      'run the same command to continue'
    )
    return code
  done = f'all {last_step} steps are done'
  if result.step > last_step:
    done = (
      f'already at step {result.step}, beyond the {last_step} steps asked for'
    )
  print(f'finished: {done}, in {work.path}')
  if result.rows:
    print('\nTest pictures against their true pairs, on [-1, 1]:')
    print(markdown(result.rows))
    print(f'test figures:    {work.test_markdown}')
  if best := evaluation.best_so_far(work.best):
    print(f'\nThe best weights, chosen by {best["best"]} on these pictures:')
    print(markdown(best['rows']))
    print(
      f'best weights:    {work.best} ({best["best"]} {best["value"]:.4f} at '
      f'step {best["step"]})'
    )
  if work.last_sample():
    print(f'sample picture:  {work.last_sample()}')
  if work.tensorboard.exists():
    print(f'TensorBoard:     tensorboard --logdir {work.tensorboard}')
  return code
