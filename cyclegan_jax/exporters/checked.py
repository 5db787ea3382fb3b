"""Trained generators as programs of their own, for use without this package."""

import importlib.util
import time
from typing import NamedTuple

import numpy as np

from cyclegan_jax.common import disk, files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.images import from_pixels
from cyclegan_jax.exporters.formats import FORMATS, LAYOUTS, WEIGHTS
from cyclegan_jax.inference.model import Model

_ADVICE = {'float16': 'use --weights=float32'}
# Pictures it is tried with where sizes stay open: (height, width).
_SIZES = ((67, 93), (64, 48))


def check_packages(name, asked=''):
  """Raises `UserError` if a format's packages are not installed.

  Args:
    name: a name of `FORMATS`.
    asked: the format that the user gave, if it is made of another.
  """
  for package in FORMATS[name].packages:
    if importlib.util.find_spec(package) is None:
      raise UserError(
        f'--format={asked or name} needs the package {package}: '
        f"pip install 'cyclegan_jax[{name}]'"
      )


class Trial(NamedTuple):
  """The distance of an exported program from its model.

  Attributes:
    shape: (batch, height, width) of the pictures tried.
    error: largest difference, of [-1, 1] or of 0 to 255.
  """

  shape: tuple[int, int, int]
  error: float


class Result(NamedTuple):
  """An exported program.

  Attributes:
    seconds: writing took, the trials not included.
    bytes: of the file, or of all in the folder.
    trials: list of `Trial`.
  """

  seconds: float
  bytes: int
  trials: list[Trial]


def write(path, name, wanted):
  """Writes a program and runs it; it is whole and right, or absent.

  Args:
    path: the file, or for 'savedmodel' the folder; replaced if it is there.
    name: a name of `FORMATS`.
    wanted: a `Wanted`.

  Returns:
    A `Result`.

  Raises:
    UserError: it can't be written, or translates otherwise than the model;
      uint8 for pictures that have another range.
  """
  wanted.check()
  with files.writing(path, '--output'), files.made(path) as made:
    seconds, trials = _write_and_try(made, FORMATS[name], wanted)
    size = _bytes(made)
  return Result(seconds, size, trials)


def _write_and_try(path, form, wanted):
  start = time.perf_counter()
  form.write(path, wanted)
  seconds = time.perf_counter() - start
  return seconds, tried(form.open(path), wanted)


def tried(program, wanted):
  """Runs a program and the model on random pictures.

  Args:
    program: pictures -> translated pictures, as `wanted` describes both.
    wanted: a `Wanted`.

  Returns:
    A list of `Trial`.

  Raises:
    UserError: the program translates otherwise than the model.
  """
  forth, back = LAYOUTS[wanted.layout]
  model = _in_float32(wanted.model)
  levels, tolerance = WEIGHTS[wanted.weights]
  tolerance = levels if wanted.pixels else tolerance
  rng = np.random.default_rng(0)
  trials = []
  for batch, size in zip((1, 2), _SIZES):
    shape = (wanted.batch or batch, *(wanted.size or size))
    images = rng.integers(0, 256, (*shape, wanted.channels), np.uint8)
    if not wanted.pixels:
      images = from_pixels(images)
    expected = model.translate(images, wanted.direction)
    fakes = _run(program, images.transpose(forth), wanted.size)
    fakes = fakes.transpose(back)
    if (fakes.shape, fakes.dtype) != (expected.shape, expected.dtype):
      raise UserError(
        f'nothing was written: {shape[1]}x{shape[2]} pictures come out as '
        f'{fakes.dtype} {fakes.shape}; please report it'
      )
    error = float(np.abs(fakes - expected.astype(np.float64)).max())
    if not error <= tolerance:
      raise UserError(
        f'nothing was written: translations of {shape[1]}x{shape[2]} pictures '
        f'are {error:.2g} off the model, more than {tolerance:.0e}: '
        f'{_ADVICE.get(wanted.weights, "please report it")}'
      )
    trials.append(Trial(shape, error))
  return trials


def _run(program, images, size):
  try:
    return np.asarray(program(np.ascontiguousarray(images)))
  except Exception as e:  # each runtime has its own
    if not size:
      raise
    raise UserError(
      f'nothing was written: the program does not run on pictures of '
      f'{size[0]}x{size[1]} ({disk.told(e)}): give a larger --size'
    ) from e


def _in_float32(model):
  if model.config.dtype == 'float32':
    return model
  config = model.config.copy_and_resolve_references()
  config.dtype = 'float32'
  return Model(config, model.params, model.step)


def _bytes(path):
  there = files.below(path) if path.is_dir() else [path]
  return sum(x.stat().st_size for x in there)
