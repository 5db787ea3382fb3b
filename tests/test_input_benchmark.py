"""Tests of the benchmark of data loading: figures and one-line errors."""

import importlib.util
import math
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

INPUT = pathlib.Path(__file__).parent.parent / 'benchmarks' / 'input.py'
TINY = ['--size=32', '--load-size=36', '--threads=1', '--rounds=2']
OURS = [f'cyclegan_jax, {x}' for x in ('first epoch', 'later epochs')]
OURS.append('cyclegan_jax, no cache')
PYTORCH = 'PyTorch DataLoader'
has_torch = importlib.util.find_spec('torch') is not None


def run(*flags):
  return subprocess.run(
    [sys.executable, INPUT, *flags], capture_output=True, text=True, check=False
  )


def read_table(text):
  """Reads {first cell: other cells} from the Markdown table in a text."""
  lines = [x for x in text.splitlines() if x.startswith('|')]
  cells = [[y.strip() for y in x.split('|')[1:-1]] for x in lines]
  assert cells[0] == ['input', 'images/s', 'range', '/ PyTorch']
  return {row[0]: row[1:] for row in cells[2:]}


def test_the_benchmark_runs():
  done = run(*TINY, '--images=8')
  assert done.returncode == 0, done.stderr
  assert 'input.py --size=32' in done.stdout
  assert '32 px cut from 36 px, batch 1, 1 threads; 8 + 8 files' in done.stdout
  table = read_table(done.stdout)
  assert list(table) == OURS + [PYTORCH] * has_torch
  for median, spread, ratio in table.values():
    low, high = map(float, spread.split(' - '))
    assert 0 < low <= float(median) <= high < math.inf
    assert not has_torch or 0 < float(ratio) < math.inf
  if has_torch:
    assert table[PYTORCH][-1] == '1.00'
  else:
    assert 'PyTorch is not installed' in done.stdout


@pytest.fixture
def benchmark(monkeypatch):
  monkeypatch.syspath_prepend(str(INPUT.parent))
  spec = importlib.util.spec_from_file_location('input_benchmark', INPUT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize(
  'flags, words',
  [
    (['--sizes=32'], '--sizes=32'),
    (['--threads=0'], '--threads=0 must be at least 1'),
    (['--images=23', '--batch=4'], 'at least 28 are needed'),
    (['--size=99', '--load-size=98'], 'crop'),
    (['--root=nowhere'], 'no folder nowhere'),
  ],
)
def test_invalid_flags_are_one_line(benchmark, capsys, flags, words):
  assert benchmark.program.run(benchmark.main, ['input.py', *flags]) == 2
  error = capsys.readouterr().err
  assert error.startswith('error: ') and error.count('\n') == 1
  assert words in error


def test_generated_pictures_are_different_jpegs(benchmark, tmp_path):
  benchmark.write_pictures(tmp_path, count=2, size=32)
  files = [tmp_path / f'train{d}' / f'{i}.jpg' for d in 'AB' for i in (0, 1)]
  assert len({f.read_bytes() for f in files}) == 4
  for file in files:
    with Image.open(file) as image:
      assert (image.format, image.mode, image.size) == ('JPEG', 'RGB', (32, 32))


def test_the_number_of_pictures_is_limited(benchmark, pictures):
  source = benchmark._source(pictures, 3)
  assert {d: len(x) for d, x in source.train.items()} == {'a': 3, 'b': 3}


@pytest.mark.skipif(not has_torch, reason='needs PyTorch')
def test_pytorch_reads_equal_images(benchmark, tmp_path):
  """Both readers give equal images if nothing is cropped or mirrored."""
  import numpy as np
  import torch_input

  from cyclegan_jax.data import reader
  from cyclegan_jax.data.preprocess import Preprocess

  benchmark.write_pictures(tmp_path, count=1, size=32)
  source = benchmark._source(tmp_path, 1)
  files = [[p.data for p in source.train[d]] for d in ('a', 'b')]
  theirs = torch_input.Unaligned(*files, load_size=40, size=40)[0]
  prepare = Preprocess('resize_and_crop', load_size=40, crop_size=40)
  for domain in ('a', 'b'):
    ours = reader.load_test_image(source.train[domain][0], prepare, 3)
    image = theirs[domain.upper()].numpy().transpose(1, 2, 0)
    mirrored = image[:, ::-1]
    error = min(np.abs(x - ours).max() for x in (image, mirrored))
    assert error < 1e-6
