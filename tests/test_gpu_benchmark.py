"""Tests of the benchmark for GPUs, on the CPU and at toy size."""

import json
import pathlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from PIL import Image

BENCHMARKS = pathlib.Path(__file__).parent.parent / 'benchmarks'
TOY = [
  '--platform=cpu',
  '--size=32',
  '--width=4',
  '--blocks=1',
  '--steps=1',
  '--rounds=1',
]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
  monkeypatch.syspath_prepend(str(BENCHMARKS))


def run(program, *flags):
  command = [sys.executable, str(BENCHMARKS / program), *flags]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_differences_are_relative_to_the_largest_norm():
  from gpu_truth import differences

  truth = {'x/a': np.array([3.0, 4.0]), 'x/b': np.array([1e-9])}
  other = {'x/a': np.array([3.0, 4.05]), 'x/b': np.array([2e-9])}
  # The tiny array is compared with a thousandth of the case's largest norm.
  assert differences(truth, other) == {'x': pytest.approx(0.01)}
  assert differences(truth, truth) == {'x': 0}


def test_tables_contain_all_results():
  from gpu_tables import document

  contender = {'dispatch': [0.1], 'compile': 3.0, 'peak': 2**30}
  ours = contender | {'seconds': [0.02, 0.01, 0.03], 'failure': None}
  failed = contender | {'seconds': [], 'failure': 'out of memory'}
  kernel = {'name': 'a|b', 'ms': 1.5, 'calls': 2}
  profile = {
    'kernels': [kernel],
    'moves': [],
    'busy': 1.5,
    'kernel_calls': 2,
    'launches': {'cuLaunchKernel': 4.0},
    'program': {'copies': 1},
  }
  race = {
    'kind': 'step',
    'work': {'size': 256, 'batch': 2, 'blocks': 9, 'width': 64},
    'contenders': {'here, bfloat16': ours, 'PyTorch': failed},
    'profiles': {'step_256_2': profile},
  }
  card = {
    'name': 'H',
    'products': {'bfloat16': 1e15},
    'copy': 3e12,
  }
  text = document({'left_out': ['b'], 'races': [race], 'card': card})
  row = '| here, bfloat16 | 20 (10-30) | 100 | {} | 3 | 1.00 | 1.00 |'
  # 2 x 1.88 TFLOP in 20 ms are 18.8% of 1000 TFLOP/s.
  assert row.format('18.8%') in text
  assert 'failed: out of memory' in text
  assert '| a/b | 1.500 | 2 |' in text
  assert 'Left out: b' in text


# Kernels of an H100, as its profiler names them.
MOVES = [
  ('input_transpose_fusion_22', 'command_buffer_'),
  ('void nhwcAddPaddingKernel<__nv_bfloat16, __nv_bf', 'cudnn-conv-bw-filter'),
  ('void cudnn::engines_precompiled::nchwToNhwcKernel<__nv', 'cudnn-conv'),
  ('void cudnn::engines_precompiled::nhwcToNchwKernel<__nv', 'cudnn-conv'),
  ('loop_copy_fusion', None),
  ('MemcpyD2D', None),
]
OTHERS = [
  (
    'sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc',
    'cudnn-conv-bias-activation',
  ),
  (
    'sm90_xmma_dgrad_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc',
    'cudnn-conv-bw-input',
  ),
  ('void convolve_common_engine_float_NHWC<__nv_bfloat16, __nv_b', 'conv'),
  ('input_reduce_fusion_541', 'command_buffer_'),
]


def _profile(monkeypatch, folder, kernels, calls):
  """Returns the summary of a profile of two steps.

  Args:
    monkeypatch: fixture of pytest.
    folder: an empty folder.
    kernels: [(name, operation or None)], each run once for 1 ms.
    calls: names of events on the host.
  """
  import gpu_profile
  from jax import profiler

  def event(name, operation=None):
    return SimpleNamespace(
      name=name, duration_ns=1e6, stats=[('hlo_op', operation)]
    )

  def plane(name, line, events):
    line = SimpleNamespace(name=line, events=events)
    return SimpleNamespace(name=name, lines=[line])

  planes = [
    plane('/device:GPU:0', 'Stream #1', [event(*x) for x in kernels]),
    plane('/host:CPU', 'python', [event(x) for x in calls]),
  ]
  monkeypatch.setattr(
    profiler,
    'ProfileData',
    SimpleNamespace(from_file=lambda path: SimpleNamespace(planes=planes)),
  )
  (folder / 'x.xplane.pb').touch()
  (folder / 'program.txt').write_text('  %a = f32[] copy(%b)\n')
  return gpu_profile.summary(folder)


def test_kernels_that_move_data_are_recognised(monkeypatch, tmp_path):
  found = _profile(monkeypatch, tmp_path, MOVES + OTHERS, [])
  assert [x['name'].split(' <- ')[0] for x in found['moves']] == [
    name for name, _ in MOVES
  ]
  assert found['kernel_calls'] == (len(MOVES) + len(OTHERS)) / 2


def test_launches_are_counted_by_function(monkeypatch, tmp_path):
  from gpu_tables import profile_text

  graphs = [f'cuGraphLaunch (CudaGraph:{n})' for n in (245, 248, 251)]
  calls = [*graphs, *graphs, 'cuLaunchHostFunc', 'cuLaunchHostFunc', 'cuInit']
  found = _profile(monkeypatch, tmp_path, MOVES, calls)
  assert found['launches'] == {'cuGraphLaunch': 3, 'cuLaunchHostFunc': 1}
  text = profile_text('step_256_1', found)
  assert '3 cuGraphLaunch, 1 cuLaunchHostFunc;' in text
  assert '1 copies' in text and 'command buffers' not in text


@pytest.mark.parametrize('flag', ['--sise=3', '--parts=stpe', '--variants=x'])
def test_an_invalid_flag_is_one_line(flag):
  command = [sys.executable, str(BENCHMARKS / 'gpu.py'), flag]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 2 and done.stderr.count('\n') == 1
  assert done.stderr.startswith('error: ') and flag[2:5] in done.stderr


@pytest.mark.slow
def test_all_parts_run_in_one_call(tmp_path):
  run(
    'gpu.py',
    *TOY,
    f'--output={tmp_path}',
    '--parts=card,truth,translation',
    '--product=64',
    '--cases=loss',
    '--variants=eager tf32',
  )
  results = json.loads((tmp_path / 'results.json').read_text())
  assert results['left_out'] == []
  assert set(results['truth']['differences']) == {
    'highest',
    'default',
    'bfloat16',
  }
  for found in results['truth']['differences'].values():
    assert found and all(x == 0 for x in found.values())
  for race in results['races']:
    for name, contender in race['contenders'].items():
      assert contender['failure'] is None, name
      assert len(contender['seconds']) == 1 and contender['compile'] > 0
  assert '### Translation, 32 px' in (tmp_path / 'tables.md').read_text()


@pytest.mark.slow
def test_a_step_is_profiled(tmp_path):
  import gpu_profile
  import gpu_speed
  from gpu import Work

  work = Work(32, 1, 1, 4)
  start, wait, facts = gpu_speed.ours(work, 'step', 'float32', 1, str(tmp_path))
  for _ in range(3):
    start()
    wait()
  assert facts['compile'] > 0
  summary = gpu_profile.summary(tmp_path)
  assert summary['busy'] > 0 and summary['kernels']
  assert summary['program']['convolutions'] > 50


@pytest.mark.slow
def test_the_training_benchmark_writes_grid_curves_and_figures(tmp_path):
  rng = np.random.default_rng(0)
  for part in ('trainA', 'trainB', 'testA', 'testB'):
    (tmp_path / 'tiles' / part).mkdir(parents=True)
    for i in range(2):
      tile = rng.integers(0, 256, (40, 40, 3), np.uint8)
      Image.fromarray(tile).save(tmp_path / 'tiles' / part / f'{i}.png')
  run(
    'gpu_train.py',
    f'--tiles={tmp_path / "tiles"}',
    f'--output={tmp_path / "out"}',
    '--size=32',
    '--width=4',
    '--blocks=1',
    '--steps=4',
    '--batch=2',
    '--samples=1',
  )
  results = json.loads((tmp_path / 'out' / 'results.json').read_text())
  assert results['steps'] == 4
  assert {row['candidate'] for row in results['test']} == {
    'translated',
    'copy the input',
  }
  curves = (tmp_path / 'out' / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(x)['step'] for x in curves] == [1, 2, 3, 4]
  assert tiny.pixels(tmp_path / 'out' / 'samples.png').shape[1] > 32
