"""Checks the flags of an export: size, type of weights, and output path."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError

WEB = 'web'  # --format of a page; other formats are programs of one direction
# Flags that only programs have, and flags that only pages have -> defaults.
_OF_PROGRAMS = {'uint8': False, 'layout': 'nhwc', 'size': '', 'batch': 0}
_OF_WEB = {'runtime': '', 'webgpu': False}


def size(text: str) -> tuple[int, int] | None:
  """Returns the (height, width) in the value of --size.

  Args:
    text: the value of --size, such as '256x192', or ''.

  Returns:
    (height, width) in pixels; None for ''.

  Raises:
    UserError: `text` is not of this form.
  """
  match = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text)
  if text and not match:
    raise UserError(
      f'--size={text}: must be a height and a width, such as 256x256'
    )
  return (int(match[1]), int(match[2])) if match else None


def check_belong(values: Mapping[str, Any]) -> None:
  """Raises `UserError` for a flag that the chosen format does not have.

  Args:
    values: {flag: value} of cyclegan_jax.export.
  """
  is_web = values['format'] == WEB
  for name, default in (_OF_PROGRAMS if is_web else _OF_WEB).items():
    if values[name] != default:
      only = 'formats other than web' if is_web else '--format=web'
      raise UserError(
        f'--{name} is only for {only}: leave it out for '
        f'--format={values["format"]}'
      )


def weights(values: Mapping[str, Any], possible: Sequence[str]) -> str:
  """Returns the name of the type in which weights are stored.

  Args:
    values: {flag: value} of cyclegan_jax.export.
    possible: names of the types that the format can store, the default first.

  Raises:
    UserError: the format cannot store the type that --weights names.
  """
  chosen = values['weights'] or possible[0]
  if chosen not in possible:
    raise UserError(
      f'--weights={chosen}: --format={values["format"]} stores '
      f'{" or ".join(possible)}'
    )
  return chosen


def check_output(output: files.Path, values: Mapping[str, Any]) -> None:
  """Raises `UserError` if --output cannot be written or would lose a file.

  The output must be a folder for 'savedmodel' and a file for other formats. An
  existing output is accepted only with --overwrite, and a folder only if it is
  a SavedModel.

  Args:
    output: the path that --output names.
    values: {flag: value} of cyclegan_jax.export.
  """
  is_folder = values['format'] == 'savedmodel'
  ending = {WEB: 'html'}.get(values['format'], values['format'])
  example = output / f'model.{ending}'
  name = 'give another' if is_folder else f'give a file, such as {example}'
  if values['output'].endswith('/') and not is_folder:
    raise UserError(f'{values["output"]} (--output) is a folder: {name}')
  if not output.exists():
    return
  if output.is_dir() and not (output / 'saved_model.pb').is_file():
    raise UserError(
      f'{output} (--output) is a folder that holds other files: {name}'
    )
  if is_folder and not output.is_dir():
    raise UserError(f'{output} (--output) is a file: give a folder')
  if not values['overwrite']:
    raise UserError(
      f'{output} (--output) exists: give another name, or add --overwrite'
    )
