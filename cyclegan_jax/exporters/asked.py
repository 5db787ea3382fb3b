"""Flags of an export: sizes, types of weights, and where the file goes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError

WEB = 'web'  # a page, which is no program of one direction
# The flags of programs alone, and of the page alone -> not given.
_OF_PROGRAMS = {'uint8': False, 'layout': 'nhwc', 'size': '', 'batch': 0}
_OF_WEB = {'runtime': '', 'webgpu': False}


def size(text: str) -> tuple[int, int] | None:
  """(height, width) of 'HxW'; None of an empty text."""
  match = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text)
  if text and not match:
    raise UserError(
      f'--size={text} must be a height and a width, such as 256x256'
    )
  return (int(match[1]), int(match[2])) if match else None


def check_belong(values: Mapping[str, Any]) -> None:
  """Raises `UserError` for a flag of another format."""
  is_web = values['format'] == WEB
  for name, default in (_OF_PROGRAMS if is_web else _OF_WEB).items():
    if values[name] != default:
      only = 'every format but web' if is_web else '--format=web'
      raise UserError(
        f'--{name} is for {only}: leave it out of --format={values["format"]}'
      )


def weights(values: Mapping[str, Any], possible: Sequence[str]) -> str:
  """Name of the type that weights are stored in.

  Args:
    values: {flag: value}.
    possible: names of types that the format stores, its default first.

  Raises:
    UserError: the format does not store the type asked for.
  """
  chosen = values['weights'] or possible[0]
  if chosen not in possible:
    raise UserError(
      f'--weights={chosen}: --format={values["format"]} stores '
      f'{" or ".join(possible)}'
    )
  return chosen


def check_output(output: files.Path, values: Mapping[str, Any]) -> None:
  """Raises `UserError` for an output that would be lost or is a wrong kind."""
  is_folder = values['format'] == 'savedmodel'
  ending = {WEB: 'html'}.get(values['format'], values['format'])
  example = output / f'model.{ending}'
  name = 'name another' if is_folder else f'name a file, such as {example}'
  if values['output'].endswith('/') and not is_folder:
    raise UserError(f'{values["output"]} (--output) is a folder: {name}')
  if not output.exists():
    return
  if output.is_dir() and not (output / 'saved_model.pb').is_file():
    raise UserError(
      f'{output} (--output) is a folder of something else: {name}'
    )
  if is_folder and not output.is_dir():
    raise UserError(f'{output} (--output) is a file: name a folder')
  if not values['overwrite']:
    raise UserError(
      f'{output} (--output) is there: name another, or --overwrite'
    )
