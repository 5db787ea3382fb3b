"""Tests of the benchmarks: figures, FLOP counts and errors."""

import importlib.util
import os
import pathlib
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from cyclegan_jax.common.errors import UserError

BENCHMARKS = pathlib.Path(__file__).parent.parent / 'benchmarks'
TINY = ['--size=32', '--width=8', '--blocks=1', '--steps=2']
needs_torch = pytest.mark.skipif(
  importlib.util.find_spec('torch') is None, reason='needs PyTorch'
)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
  monkeypatch.syspath_prepend(str(BENCHMARKS))


def run(program, *flags):
  return subprocess.run(
    [sys.executable, str(BENCHMARKS / program), *flags],
    capture_output=True,
    text=True,
    check=False,
  )


def read_table(text):
  """Reads {contender: {column: cell}} from the Markdown table in a text."""
  lines = [x for x in text.splitlines() if x.startswith('|')]
  head, _, *rows = [[y.strip() for y in x.split('|')[1:-1]] for x in lines]
  return {row[0]: dict(zip(head[1:], row[1:])) for row in rows}


def assert_figures(row):
  """Checks that every cell has one positive number, or two for a range."""
  row = dict(row)
  if row['peak GiB'] == '-':  # the system does not report it
    del row['peak GiB']
  low, high = map(float, row.pop('range').split(' - '))
  assert 0 < low <= float(row['s/step']) <= high
  # The ratio has two decimals and may be 0.00: a busy machine slows PyTorch.
  ratio = float(row.pop('ours / this', 1))
  assert 0 <= ratio < 1e6
  for column, cell in row.items():
    assert 0 < float(cell.rstrip('%')) < 1e6, column


@pytest.mark.slow
def test_the_train_step_benchmark_runs():
  done = run(
    'train_step.py', *TINY, '--batch=2', '--devices=2', '--option=pool_size=3'
  )
  assert done.returncode == 0, done.stderr
  machine, command, work = done.stdout.splitlines()[:3]
  assert 'cores' in machine and 'jax' in machine
  assert 'train_step.py --size=32' in command
  assert '32 px, batch 2; blocks 1, width 8, float32; 2 x cpu' in work
  table = read_table(done.stdout)
  assert set(table) == {'cyclegan_jax'}
  assert {'GFLOP/s', 'of matmul', 'dispatch ms'} <= set(table['cyclegan_jax'])
  assert_figures(table['cyclegan_jax'])


def test_the_translate_benchmark_runs():
  done = run('translate.py', *TINY, '--dtype=bfloat16')
  assert done.returncode == 0, done.stderr
  table = read_table(done.stdout)
  assert set(table) == {'cyclegan_jax'}
  assert_figures(table['cyclegan_jax'])


@needs_torch
def test_torch_is_timed_in_turns_with_jax():
  done = run('translate.py', *TINY, '--vs=torch', '--variants=eager')
  assert done.returncode == 0, done.stderr
  table = read_table(done.stdout)
  assert set(table) == {'cyclegan_jax', 'torch eager'}
  for row in table.values():
    assert_figures(row)
  ours, theirs = (float(row['s/step']) for row in table.values())
  ratio = float(table['torch eager']['ours / this'])
  assert ratio == pytest.approx(ours / theirs, rel=0.05, abs=0.01)


@pytest.mark.parametrize(
  'flag, words',
  [
    ('--sizee=32', ['--sizee=32', '--help']),
    ('--size=30', ['--size=30', 'multiple of 4']),
    ('--steps=0', ['--steps', 'at least 1']),
    ('--option=generator.widht=8', ["mean 'generator.width'"]),
    ('--option=generator.width=8', ['--width']),
    ('--option=pool_size=many', ['pool_size=many', 'int']),
    ('--option=data.flip=maybe', ['data.flip=maybe', 'bool']),
    ('--variants=eagre', ["mean 'eager'"]),
  ],
)
def test_invalid_flags_are_named(flag, words):
  import options

  with pytest.raises(UserError) as error:
    options.parse('', ['program', flag])
  for word in words:
    assert word in str(error.value)


def test_an_invalid_flag_is_one_line():
  done = run('translate.py', '--devices=2')
  assert (done.returncode, done.stdout) == (2, '')
  assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1


def test_options_reach_the_config():
  import options

  def parse(*flags):
    return options.parse('', ['program', *flags])

  args, work = parse('--size=128', '--option=data.flip=false')
  assert work == options.Work(128, 1, 6, 64, identity=True)
  config = options.config(args)
  assert config.data.flip is False
  assert (config.generator.name, config.generator.depth) == ('resnet', 6)
  assert parse()[1].blocks == 9
  no_identity = [f'--option=loss.identity_{d}=0' for d in 'ab']
  assert parse(*no_identity)[1].identity is False
  # Other networks are timed, but FLOPs and PyTorch are left out.
  for flags in (no_identity[:1], ['--option=discriminator.depth=2']):
    assert parse(*flags)[1] is None


def test_missing_torch_is_one_line(monkeypatch):
  import options

  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError, match='pip install torch'):
    options.parse('', ['program', '--vs=torch'])


@needs_torch
def test_torch_is_refused_for_other_networks():
  import options

  flags = ['--vs=torch', '--option=generator.upsampling=resize']
  with pytest.raises(UserError, match='leave out --vs=torch'):
    options.parse('', ['program', *flags])


def sleeper(args):
  facts = {'platform': args.platform}
  return lambda: time.sleep(0.01), lambda: time.sleep(0.04), facts


def stumbler(work, variant):
  """Raises, or is killed in its third step, which is the first timed step."""
  if variant:
    raise ValueError('no | compiler')
  steps = []

  def start():
    steps.append(1)
    if len(steps) == 3:
      os._exit(9)

  return start, lambda: None, {}


def test_a_failed_contender_does_not_stop_the_others():
  import contenders
  import report

  args = SimpleNamespace(
    vs='torch', variants=['eager', 'compile'], steps=2, platform='cpu'
  )
  result = contenders.race(args, None, sleeper, stumbler)
  table = read_table(report.table(result, batch=4))
  ours = table['cyclegan_jax']
  assert_figures(ours)
  assert float(ours['s/step']) >= 0.05 and float(ours['images/s']) <= 80
  assert 10 <= float(ours['dispatch ms']) <= 1000 * float(ours['s/step']) - 40
  assert table['torch eager']['s/step'] == 'failed: process ended (9)'
  reason = 'failed: ValueError: no / compiler'
  assert table['torch compile']['s/step'] == reason


def test_torch_on_the_cpu_is_not_compared_with_an_accelerator():
  import contenders

  args = SimpleNamespace(
    vs='torch', variants=['eager'], steps=2, platform='gpu'
  )
  with pytest.raises(UserError, match='JAX on gpu: set JAX_PLATFORMS=cpu'):
    contenders.race(args, None, sleeper, stumbler)


def test_flops_of_small_networks_equal_a_count_by_hand():
  from flops import discriminator_macs, generator_macs, step_flops

  first, block = 32 * 32 * 49 * 3 * 2, 8 * 8 * 9 * 8 * 8
  halved = 16 * 16 * 9 * 2 * 4  # each of the other four layers has as many
  generator = [first, halved, halved, block, block, halved, halved, first]
  assert generator_macs(32, blocks=1, width=2) == generator
  # Side lengths 16, 8, 4, then 3 and 2; widths 3, 2, 4, 8, 16, 1.
  critic = [24576, 8192, 8192, 18432, 1024]
  assert discriminator_macs(32, width=2) == critic
  # Forward and two gradients per layer, but no gradients of input images.
  generators = 18 * 749568 - 4 * first
  critics = 4 * 60416 + 4 * (3 * 60416 - 24576)
  assert step_flops(32, 5, 1, 2) == 2 * 5 * (generators + critics)
  without = generators - 2 * (3 * 749568 - first)
  assert step_flops(32, 1, 1, 2, identity=False) == 2 * (without + critics)


@pytest.mark.parametrize(
  'size, blocks, teraflops', [(128, 6, 0.336), (256, 9, 1.87)]
)
def test_flops_of_the_usual_steps_are_as_documented(size, blocks, teraflops):
  from flops import step_flops

  expected = pytest.approx(teraflops * 1e12, rel=0.02)
  assert step_flops(size, 1, blocks, 64) == expected


@needs_torch
def test_torch_executes_the_counted_flops():
  import options
  import torch_cyclegan
  from flops import step_flops
  from torch.utils.flop_counter import FlopCounterMode

  for identity in (True, False):
    work = options.Work(32, 2, 1, 2, identity)
    step, _, _ = torch_cyclegan.trainer(work)
    with FlopCounterMode(display=False) as counter:
      step()
    assert counter.get_total_flops() == step_flops(*work)


@needs_torch
def test_torch_networks_have_the_published_parameter_counts():
  import torch
  import torch_cyclegan

  with torch.device('meta'):
    nets = [
      torch_cyclegan.generator(6, 64),
      torch_cyclegan.generator(9, 64),
      torch_cyclegan.discriminator(64),
    ]
  counts = [sum(p.numel() for p in net.parameters()) for net in nets]
  assert counts == [7_837_699, 11_378_179, 2_764_737]


TABLE = """
| contender | s/step | range | peak GiB |
| --- | --- | --- | --- |
| cyclegan_jax | {} | 0.1 - 0.3 | {} |
"""


def test_growth_reads_the_table_of_the_benchmark(monkeypatch):
  import growth

  calls = []

  def answer(command, **options):
    del options
    calls.append(command)
    return SimpleNamespace(returncode=0, stdout=TABLE.format(0.2, 1.5))

  monkeypatch.setattr(growth.subprocess, 'run', answer)
  assert growth.measure(['--size=64']) == (0.2, 1.5)
  assert calls[0][1].name == 'train_step.py' and '--size=64' in calls[0]


def test_growth_says_why_a_point_failed(monkeypatch):
  import growth

  failed = SimpleNamespace(returncode=2, stdout='', stderr='error: no memory')
  monkeypatch.setattr(growth.subprocess, 'run', lambda *args, **kw: failed)
  with pytest.raises(SystemExit, match='no memory'):
    growth.measure([])


def test_growth_plots_every_series(monkeypatch, tmp_path, capsys):
  pytest.importorskip('matplotlib')  # an extra of the benchmarks alone
  import growth

  monkeypatch.setattr(growth, 'measure', lambda flags: (len(flags), 1.0))
  plot = tmp_path / 'growth.png'
  monkeypatch.setattr(sys, 'argv', ['growth', f'--output={plot}'])
  growth.main()
  assert plot.stat().st_size > 1000
  points = sum(len(values) for _, _, values in growth.SERIES.values())
  assert capsys.readouterr().out.count('\n') == points + 2
