"""Checks and times this project on a GPU, beside PyTorch:

  python benchmarks/gpu.py --output=FOLDER      (make gpu)

Requires JAX for the GPU, flax, optax, ml_collections and, for the comparison,
PyTorch; does not require TensorFlow, clu, orbax or an internet connection.
Writes results.json and tables.md. Races that would end after --minutes are left
out and listed.
"""

import concurrent.futures
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time
from functools import partial
from typing import NamedTuple

import gpu_speed
import gpu_tables
import gpu_truth
import numpy as np
import options
from contenders import Contender

from cyclegan_jax.common.errors import lookup
from cyclegan_jax.config import program

HERE = pathlib.Path(__file__).resolve().parent
PARTS = ('card', 'truth', 'repeat', 'step', 'translation')
# Flags that make all operations deterministic, autotuning included.
DETERMINISTIC = '--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0'
REPEATED_STEPS = 5
_SLOWEST = 'eager tf32'  # PyTorch variant that is timed only at batch 1

FLAGS = {
  '--output': ('gpu', 'folder for results.json and tables.md'),
  '--minutes': (6.0, 'races that would end later than this are left out'),
  '--parts': (','.join(PARTS), 'parts to run, separated by commas'),
  '--platform': ('cuda', "JAX's name of the platform; cpu to try the script"),
  '--size': (256, 'side of the images in pixels'),
  '--batch': (16, 'largest batch size'),
  '--blocks': (9, 'number of residual blocks'),
  '--width': (64, 'number of channels of the first layers'),
  '--steps': (20, 'steps per turn at batch 1'),
  '--rounds': (3, 'turns per contender'),
  '--product': (8192, 'side of the matrices of the matrix product'),
  '--truth-seconds': (
    120.0,
    'truth: time limit of the cases, start-up excluded',
  ),
  '--precisions': (
    'bfloat16,tf32,float32',
    'precisions of this project in steps',
  ),
  '--variants': (','.join(gpu_speed.TORCH), 'variants of PyTorch'),
  '--experiments': (
    'CUT,FastCUT',
    'methods and variants of the step to compare, separated by commas',
  ),
  '--truth-precisions': (
    ','.join(gpu_truth.PRECISIONS),
    'truth: precisions on the GPU',
  ),
  '--cases': (
    '',
    'truth: beginnings of the names of cases to run, separated by commas',
  ),
  '--batches': (
    '',
    'steps: only these batch sizes, separated by commas; the experiments are '
    'run with the first one',
  ),
}

# flag -> names that its value, separated by commas, may contain
_NAMES = {
  'parts': PARTS,
  'precisions': ('bfloat16', *gpu_speed.JAX_PRECISIONS),
  'variants': gpu_speed.TORCH,
  'experiments': gpu_speed.EXPERIMENTS,
  'truth_precisions': gpu_truth.PRECISIONS,
}


class Work(NamedTuple):
  """Size of the work of a contender.

  Attributes:
    size: side of the images in pixels.
    batch: number of images per domain.
    blocks: number of residual blocks of the generators.
    width: number of channels of the first layers.
  """

  size: int
  batch: int
  blocks: int
  width: int


class Race(NamedTuple):
  """Comparison of contenders that take turns.

  Attributes:
    kind: 'step' or 'translation'.
    work: the `Work` of all contenders.
    ours: precisions of this project, one contender each.
    theirs: names of `gpu_speed.TORCH`, one contender each.
    steps: number of steps per turn.
    seconds: approximate duration of the race, preparation included.
    experiments: names of `gpu_speed.EXPERIMENTS`, one contender each.
  """

  kind: str
  work: Work
  ours: tuple
  theirs: tuple
  steps: int
  seconds: int
  experiments: tuple = ()


def races(args):
  """Returns the list of `Race`s that the flags ask for, important ones first.

  Args:
    args: parsed flags.
  """

  def work(size, batch):
    return Work(size, batch, args.blocks, args.width)

  variants = tuple(filter(None, args.variants.split(',')))
  fast = tuple(name for name in variants if name != _SLOWEST)
  chosen = tuple(args.precisions.split(','))
  size, large = args.size, 4 * args.size
  step = partial(Race, 'step')
  # The smallest and the largest batch come first: they are most informative.
  steps = [
    step(work(size, 1), chosen, variants, max(1, args.steps), 120),
    step(work(size, args.batch), chosen[:2], fast, max(1, args.steps // 5), 70),
    step(
      work(size, max(1, args.batch // 4)),
      ('bfloat16',),
      fast,
      max(1, args.steps // 2),
      60,
    ),
  ]
  if args.batches:
    batches = [int(batch) for batch in args.batches.split(',')]
    steps = [race for race in steps if race.work.batch in batches]
  if steps:
    experiments = tuple(filter(None, args.experiments.split(',')))
    steps[0] = steps[0]._replace(experiments=experiments)
  return [
    *steps,
    Race('translation', work(size, 1), chosen[:2], fast, 2 * args.steps, 30),
    Race('translation', work(large, 1), ('bfloat16',), fast, args.steps, 30),
  ]


def main(argv):
  args = _parse(argv)
  output = pathlib.Path(args.output)
  output.mkdir(parents=True, exist_ok=True)
  begin = time.monotonic()
  # JAX and PyTorch share the GPU: do not let JAX preallocate its memory.
  os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
  results = {'command': argv, 'left_out': []}

  def left():
    return args.minutes * 60 - (time.monotonic() - begin)

  def note(name, value):
    results[name] = value
    results['seconds'] = time.monotonic() - begin
    text = json.dumps(results, indent=2)
    (output / 'results.json').write_text(text + '\n')
    (output / 'tables.md').write_text(gpu_tables.document(results))
    print(f'{name}: done after {results["seconds"]:.0f} s', flush=True)

  parts = args.parts.split(',')
  if 'card' in parts:
    note('card', _facts(Contender('card', gpu_speed.card, args.product)))
  if 'truth' in parts or 'repeat' in parts:
    with concurrent.futures.ThreadPoolExecutor() as pool:
      truth = pool.submit(_truth, args, output) if 'truth' in parts else None
      if 'repeat' in parts:
        note('repeat', _repeat(args))
      if truth:
        note('truth', truth.result())
  timed = []
  for race in races(args):
    if race.kind not in parts:
      continue
    if left() < race.seconds:
      results['left_out'].append(
        f'{race.kind} {tuple(race.work)}: no time left'
      )
      note('races', timed)
      continue
    timed.append(_run(race, args, output))
    note('races', timed)
  print((output / 'tables.md').read_text())


def _parse(argv):
  args = options.typed(__doc__, FLAGS).parse_args(argv[1:])
  for flag, names in _NAMES.items():
    for name in filter(None, getattr(args, flag).split(',')):
      lookup(dict.fromkeys(names), name, f'--{flag.replace("_", "-")}')
  return args


def _facts(contender):
  """Ends the process of a contender and returns its facts or its failure."""
  contender.close()
  return contender.facts or {'failure': contender.failure}


def _truth(args, output):
  """Compares GPU results with the CPU's in the part truth.

  Returns:
    {'differences': {precision: {case: relative difference to the CPU}},
    'failures': {'cpu' or precision: [line]}}.
  """
  files = {
    name: output / f'{name}.npz'
    for name in ('cpu', *args.truth_precisions.split(','))
  }
  processes = []
  for name, path in files.items():
    precision = 'highest' if name == 'cpu' else name
    command = [
      sys.executable,
      HERE / 'gpu_truth.py',
      f'--precision={precision}',
      f'--output={path}',
      f'--only={args.cases}',
      f'--seconds={args.truth_seconds}',
    ]
    platform = 'cpu' if name == 'cpu' else args.platform
    environment = os.environ | {'JAX_PLATFORMS': platform}
    processes.append(subprocess.Popen(command, env=environment))
  for process in processes:
    process.wait()
  arrays = {}
  failures = {}
  for name, path in files.items():
    if not path.exists():
      failures[name] = ['the process ended without results']
      continue
    with np.load(path) as file:
      found = {key: file[key] for key in file.files}
    path.unlink()
    failures[name] = found.pop('failures').tolist()
    arrays[name] = found
  truth = arrays.pop('cpu', {})
  return {
    'differences': {
      name: gpu_truth.differences(
        {key: truth[key] for key in truth if key in found}, found
      )
      for name, found in arrays.items()
    },
    'failures': {name: x for name, x in failures.items() if x},
  }


def _repeat(args):
  """Computes digests of the state after `REPEATED_STEPS` steps.

  Returns:
    {'plain' and 'deterministic': [facts of `gpu_speed.digest` or {'failure'}
    per process], 'flags': XLA flags of 'deterministic'}.
  """
  work = Work(args.size // 2, 1, min(2, args.blocks), args.width)
  result = {}
  for name, flags in (('plain', ''), ('deterministic', DETERMINISTIC)):
    flags = '' if args.platform == 'cpu' else flags
    with concurrent.futures.ThreadPoolExecutor() as pool:
      made = [
        pool.submit(
          Contender,
          f'{name} {i}',
          gpu_speed.digest,
          work,
          REPEATED_STEPS,
          flags,
        )
        for i in range(2)
      ]
      found = [_facts(future.result()) for future in made]
    result[name] = found
  result['flags'] = DETERMINISTIC
  return result


def _run(race, args, output):
  """Runs a race and returns its results as JSON values."""
  device = 'cpu' if args.platform == 'cpu' else 'cuda'
  folder = output / f'{race.kind}_{race.work.size}_{race.work.batch}'

  def prepare_ours(precision, experiment=None):
    name = f'here, {precision}' + (experiment and f', {experiment}' or '')
    # Only bfloat16 and the experiments are profiled.
    where = folder if precision == 'bfloat16' else None
    if experiment:
      where = folder.with_name(f'{folder.name}_{experiment.replace(" ", "_")}')
    return Contender(
      name,
      gpu_speed.ours,
      race.work,
      race.kind,
      precision,
      race.steps,
      where and str(where),
      experiment,
    )

  def prepare_theirs():
    if importlib.util.find_spec('torch') is None:
      return []
    return [
      Contender(
        f'PyTorch, {variant}',
        gpu_speed.theirs,
        race.work,
        race.kind,
        variant,
        race.steps,
        device,
      )
      for variant in race.theirs
    ]

  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    theirs = pool.submit(prepare_theirs)
    # The first one alone: a busy GPU disturbs XLA's choice of algorithms.
    contenders = [prepare_ours(race.ours[0])]
    others = [(name,) for name in race.ours[1:]]
    others += [('bfloat16', name) for name in race.experiments]
    contenders += pool.map(lambda x: prepare_ours(*x), others)
    contenders += theirs.result()
  for _ in range(args.rounds):
    for contender in contenders:
      contender.step()
  for contender in contenders:
    contender.close()
  return {
    'kind': race.kind,
    'work': race.work._asdict(),
    'contenders': {
      c.name: {
        'failure': c.failure,
        'seconds': [t.seconds / race.steps for t in c.timings],
        'dispatch': [t.dispatch / race.steps for t in c.timings],
        'compile': c.facts.get('compile'),
        'peak': c.facts.get('peak'),
      }
      for c in contenders
    },
    'profiles': {
      path.name: _profile(path)
      for path in (folder, *output.glob(f'{folder.name}_*'))
    },
  }


def _profile(folder):
  import gpu_profile

  try:
    return gpu_profile.summary(folder)
  except Exception as e:  # an unreadable profile must not lose the timings
    return {'failure': f'{type(e).__name__}: {e}'[:300]}


if __name__ == '__main__':
  sys.exit(program.run(main))
