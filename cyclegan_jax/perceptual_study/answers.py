"""Files of answers, which the page of a study saves."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError

FORMAT, VERSION = 'cyclegan_jax.study', 1
_TEXTS = ('study', 'protocol', 'algorithm', 'participant')
_LATE = 100  # largest accepted error of that time, in milliseconds
_SHOWN = 1000  # time that a picture should be shown, in milliseconds


class Session(NamedTuple):
  """The answers of one person.

  Attributes:
    path: path of the file of answers.
    study: id of the study.
    protocol: 'cyclegan' or 'pix2pix'.
    algorithm: name of the algorithm that made the fake pictures.
    participant: name or number of the person.
    trials: number of trials in the study, practice trials not counted.
    fooled: bool [answered trials, without practice]; True where the person
      answered wrongly.
    mistimed: number of these answered trials in which a picture was not shown
      for 1 s +- 0.1 s.
  """

  path: files.Path
  study: str
  protocol: str
  algorithm: str
  participant: str
  trials: int
  fooled: Bool[np.ndarray, ' trials']
  mistimed: int


class Excluded(NamedTuple):
  """A file of answers that is not scored.

  Attributes:
    path: path of the file.
    reason: the reason, in words.
  """

  path: files.Path
  reason: str


def find(names: Iterable[str]) -> list[files.Path]:
  """Lists files of answers.

  Args:
    names: paths of files, and of folders that are searched for answers*.json
      at any depth.

  Returns:
    Paths of the files, without repetitions.

  Raises:
    UserError: a path does not exist, or a folder contains no answers*.json.
  """
  found: dict[files.Path, None] = {}
  for name in names:
    path = files.place(name)
    if path.is_dir():
      below = [
        x
        for x in files.below(path)
        if x.name.startswith('answers') and x.suffix == '.json'
      ]
      if not below:
        raise UserError(
          f'{path} contains no answers*.json: give another folder'
        )
      found |= dict.fromkeys(below)
    elif path.is_file():
      found[path] = None
    else:
      raise UserError(
        f'{path} does not exist: give files of answers or their folder'
      )
  return list(found)


def read(path: files.Path) -> Session:
  """Reads a file of answers.

  Args:
    path: path of the file.

  Raises:
    UserError: the file cannot be read, is not a file of answers, has another
      version, or is damaged.
  """
  try:
    content = json.loads(path.read_text('utf-8'))
  except OSError as e:
    raise UserError(f'{path} cannot be read ({files.failed(e)})') from e
  except ValueError as e:  # raised by JSON and by UTF-8
    raise UserError(
      f'{path} is not a file of answers (invalid JSON: {e})'
    ) from e
  if not isinstance(content, dict) or content.get('format') != FORMAT:
    raise UserError(
      f'{path} is not a file of answers: give a file saved by the study page'
    )
  if content.get('version') != VERSION:
    raise UserError(
      f'{path} has version {content.get("version")!r} of the format: this '
      f'program reads version {VERSION}'
    )
  try:
    return _session(path, content)
  except (KeyError, TypeError, ValueError) as e:
    raise UserError(
      f'{path} is a damaged file of answers ({type(e).__name__}: {e})'
    ) from e


def _session(path, content):
  texts = {key: content[key] for key in _TEXTS}
  for key, value in texts.items():
    if not isinstance(value, str) or not value:
      raise ValueError(f'{key} is not a text')
  answers = [x for x in content['answers'] if x['practice'] is not True]
  if not all(isinstance(x['correct'], bool) for x in answers):
    raise ValueError('correct must be true or false')
  numbers = [x['index'] for x in answers]
  if len(set(numbers)) < len(numbers):
    raise ValueError('an index occurs twice')
  trials = content['trials']
  if not isinstance(trials, int) or not len(answers) <= trials:
    raise ValueError(f'{len(answers)} answers for {trials!r} trials')
  return Session(
    path,
    **texts,
    trials=trials,
    fooled=np.array([not x['correct'] for x in answers], bool),
    mistimed=sum(map(_is_mistimed, answers)),
  )


def _is_mistimed(answer: dict[str, Any]) -> bool:
  return any(abs(float(x) - _SHOWN) > _LATE for x in answer['shown_ms'])


def chosen(
  sessions: Sequence[Session],
) -> tuple[list[Session], list[Excluded]]:
  """Selects the sessions to score: the first complete one per participant.

  Args:
    sessions: sessions of one study, in the order of the files.

  Returns:
    (sessions to score, files that are excluded).

  Raises:
    UserError: the sessions belong to different studies, or all of them are
      incomplete.
  """
  kept: dict[str, Session] = {}
  excluded = []
  for session in sessions:
    if session.study != sessions[0].study:
      raise UserError(
        f'{session.path} belongs to another study ({session.study}) than '
        f'{sessions[0].path} ({sessions[0].study}): score each study separately'
      )
    done = len(session.fooled)
    if done < session.trials:
      reason = f'incomplete: {done} of {session.trials} answers'
      excluded.append(Excluded(session.path, reason))
    elif before := kept.get(session.participant):
      reason = f'participant {session.participant} also gave {before.path}'
      excluded.append(Excluded(session.path, reason))
    else:
      kept[session.participant] = session
  if not kept:
    first = excluded[0]
    raise UserError(
      f'no complete file of answers: {first.path} is {first.reason}'
    )
  return list(kept.values()), excluded
