"""Exports generators to files, and checks these against the model."""

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
# (height, width) of the images of the trials if the size is open.
_SIZES = ((67, 93), (64, 48))


def check_packages(name, asked=''):
  """Raises `UserError` if a package that a format needs is not installed.

  Args:
    name: a name in `FORMATS`.
    asked: the value of --format for the error message, if not `name`.
  """
  for package in FORMATS[name].packages:
    if importlib.util.find_spec(package) is None:
      raise UserError(
        f'--format={asked or name} needs the package {package}: '
        f"pip install 'cyclegan_jax[{name}]'"
      )


class Trial(NamedTuple):
  """Difference between an exported program and its model on random images.

  Attributes:
    shape: (batch, height, width) of the images.
    error: largest absolute difference between the translations, on the scale
      from 0 to 255 for uint8 programs and from -1 to 1 for others.
  """

  shape: tuple[int, int, int]
  error: float


class Result(NamedTuple):
  """Facts about an exported program.

  Attributes:
    seconds: time in seconds that writing took, without the trials.
    bytes: size in bytes of the file, or of all files in the folder.
    trials: list of `Trial`.
  """

  seconds: float
  bytes: int
  trials: list[Trial]


def write(path, name, wanted):
  """Exports a program, and compares its translations with those of the model.

  A program that fails the comparison is not written.

  Args:
    path: the file to write, or for 'savedmodel' the folder. An existing file
      or folder is replaced.
    name: a name in `FORMATS`.
    wanted: the `formats.Wanted` that describes the program.

  Returns:
    A `Result`.

  Raises:
    UserError: the program cannot be written, its translations differ from the
      model's, or `wanted.pixels` is set for pictures that are not of 8 bits.
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
  """Compares a program with the model on random images.

  Args:
    program: function: images -> translations, NumPy arrays in the layout and
      type that `wanted` describes.
    wanted: the `formats.Wanted` of which the program was made.

  Returns:
    A list of `Trial`.

  Raises:
    UserError: the translations of program and model differ by more than the
      tolerance in `formats.WEIGHTS`.
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
        f'nothing was written: translations of {shape[1]}x{shape[2]} pictures '
        f'are {fakes.dtype} {fakes.shape}: please report it'
      )
    error = float(np.abs(fakes - expected.astype(np.float64)).max())
    if not error <= tolerance:
      raise UserError(
        f'nothing was written: translations of {shape[1]}x{shape[2]} pictures '
        f"differ from the model's by {error:.2g}, more than {tolerance:.0e}: "
        f'{_ADVICE.get(wanted.weights, "please report it")}'
      )
    trials.append(Trial(shape, error))
  return trials


def _run(program, images, size):
  try:
    return np.asarray(program(np.ascontiguousarray(images)))
  except Exception as e:  # each runtime has its own types
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
