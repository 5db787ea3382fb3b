"""Starts or resumes a run, measures its test set, and reports the results."""

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
  """Trains a run, from its newest checkpoint if it has one.

  The run is complete after `run.schedule.steps` steps. It stops earlier, and
  saves its state, on a signal or at the step `stop_at`.

  Args:
    run: the `Run`, all settings of the run.
    workdir: path of the run folder, which is created if missing. It receives
      the checkpoints, the metrics and the sample grids.
    stop_at: the step to stop at; None for the last step of the run.
    say: prints a line to the user.

  Returns:
    A `Result`.

  Raises:
    UserError: the batch size does not fit the devices; an interval does not fit
      train.steps_per_call; a picture cannot be used (in a run of one process
      the state is saved first); a step gave NaN or infinity; `workdir` holds a
      run with other networks; or `workdir` cannot be written. Earlier
      checkpoints are kept in all cases.
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
  # The log is closed last, since a logger may wait for its server.
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
  """Returns the `Log` of a run, or a `NoLog` if another process writes it."""
  if not hosts.writes():
    return NoLog()
  return Log(work.path, step, run.log.to, run.options, say)


def _exit_code(number, step, last_step):
  """Returns 0 for a complete run, else 128 + the signal (SIGINT if None)."""
  return 128 + (number or 2) if step < last_step else 0


def _silent(line):
  """Prints nothing, in processes other than the first."""


def _initial_state(run, mesh, work, say):
  """Creates the state of a new run and writes its table of parameters."""
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
  """Returns the state with `params`, and prints which networks they replace."""
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
  """Measures the test set and writes the table, unless it is there already.

  Returns:
    The rows of the table; None if the test pictures are not true pairs.
  """
  if not run.data.source.paired:
    return None
  there = work.test_json.exists()
  # Every process must look before the first process writes the file.
  hosts.wait_for_all('test')
  if there:
    return json.loads(work.test_json.read_text())
  translate = sampler.translation(state.translation_params())
  rows = evaluation.final_table(translate, run.data, run.method.directions)
  if hosts.writes():
    files.write(work.test_markdown, markdown(rows))
    files.write(work.test_json, json.dumps(rows, indent=2) + '\n')
  return rows


def report(result, work, last_step):
  """Prints how a run ended, its test metrics, and the paths of its results.

  Only the first process of a run prints.

  Args:
    result: the `Result` of the training.
    work: the `Workdir`, the paths of the run folder.
    last_step: number of steps of the complete run.

  Returns:
    The exit code: 0 for a complete run, else 128 + the number of the signal
    that stopped the run, or of SIGINT if no signal did.
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
      f'already at step {result.step}, beyond the {last_step} steps requested'
    )
  print(f'finished: {done}, in {work.path}')
  if result.rows:
    print('\nTranslations compared with the true pairs, on [-1, 1]:')
    print(markdown(result.rows))
    print(f'test figures:    {work.test_markdown}')
  if best := evaluation.best_so_far(work.best):
    print(f'\nBest weights, chosen by {best["best"]} on the test set:')
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
