"""Runs --format=web of cyclegan_jax.export, and writes the hint to use it."""

import shlex
from collections.abc import Mapping
from typing import Any

import ml_collections

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.exporters.web import CHANNELS, runtime
from cyclegan_jax.methods.base import Method


def export(output: files.Path, values: Mapping[str, Any], weights: str) -> None:
  """Writes the page of a model, and prints its size and its largest errors.

  Args:
    output: path of the page.
    values: {flag: value} of cyclegan_jax.export, among them --model,
      --direction and --runtime.
    weights: a name in `web.WEIGHTS`, the type of the weights in the page.

  Raises:
    UserError: a package or the flag --runtime is missing; the runtime or the
      model cannot be read; the model does not translate in the direction given,
      or a page cannot run it; the translations of a program differ from the
      model's; or the page cannot be written.
  """
  from cyclegan_jax.exporters import checked
  from cyclegan_jax.inference import saved

  checked.check_packages('onnx', 'web')
  if not values['runtime']:
    raise UserError(
      f'no --runtime: download the package by `{runtime.COMMAND}` and add '
      f'--runtime={runtime.ARCHIVE}'
    )
  build = 'webgpu' if values['webgpu'] else 'wasm'
  made_of = runtime.read(files.place(values['runtime']), build)
  step = None if values['step'] < 0 else values['step']
  model = saved.load(values['model'], step, values['batch-norm'])
  directions = model.directions
  if values['direction'] or not directions:
    model.check(values['direction'])
    directions = (values['direction'],)
  from cyclegan_jax.exporters.web import page

  result = page.write(output, model, directions, weights, made_of)
  print(f'wrote {output}: {result.bytes / 1e6:.1f} MB, to open in a browser')
  for direction, trials in result.trials.items():
    error = max(trial.error for trial in trials)
    print(f'{direction}: differs from the model by at most {error:.0f} of 255')


def invitation(
  config: ml_collections.ConfigDict, method: Method, workdir: files.Path
) -> str:
  """Returns the line that says how to make the page of a run.

  Args:
    config: config of the run.
    method: `Method` of the run.
    workdir: the run folder.

  Returns:
    The line, or '' if the run's model cannot become a page.
  """
  data = config.data
  if not method.generators or {data.channels_a, data.channels_b} - CHANNELS:
    return ''
  return (
    f'in a browser:    {runtime.COMMAND}; python -m cyclegan_jax.export '
    f'--format=web --model={shlex.quote(str(workdir))} '
    f'--runtime={runtime.ARCHIVE} --output=page.html\n'
  )
