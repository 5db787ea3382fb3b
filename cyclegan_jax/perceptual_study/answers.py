"""Files of answers, as the page of a study saves them."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError

FORMAT, VERSION = 'cyclegan_jax.study', 1
_TEXTS = ('study', 'protocol', 'algorithm', 'participant')
_LATE = 100  # milliseconds a picture may be shown longer or shorter
_SHOWN = 1000


class Session(NamedTuple):
  """The answers of one person.

  Attributes:
    path: the file.
    study: id of the study.
    protocol: 'cyclegan' or 'pix2pix'.
    algorithm: name of the algorithm that made the fake pictures.
    participant: name or number of the person.
    trials: trials that the study has, without practice.
    fooled: bool [answered trials without practice].
    mistimed: of these, trials whose pictures were not shown for 1 s +- 0.1 s.
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
  """A file that does not count, and the reason."""

  path: files.Path
  reason: str


def find(names: Iterable[str]) -> list[files.Path]:
  """Paths of the files named, and of answers*.json below the folders named.

  Raises:
    UserError: there is no such file or folder, or a folder has no answers.
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
        raise UserError(f'{path} holds no answers*.json: give another folder')
      found |= dict.fromkeys(below)
    elif path.is_file():
      found[path] = None
    else:
      raise UserError(f'no file or folder {path}: give files of answers')
  return list(found)


def read(path: files.Path) -> Session:
  """Reads a file of answers.

  Raises:
    UserError: it can't be read, or is no such file.
  """
  try:
    content = json.loads(path.read_text('utf-8'))
  except OSError as e:
    raise UserError(f'{path} cannot be read ({files.failed(e)})') from e
  except ValueError as e:  # of JSON and of UTF-8
    raise UserError(f'{path} is no file of answers (no JSON: {e})') from e
  if not isinstance(content, dict) or content.get('format') != FORMAT:
    raise UserError(
      f'{path} is no file of answers: give what the page of a study saved'
    )
  if content.get('version') != VERSION:
    raise UserError(
      f'{path} has version {content.get("version")!r} of the format, and this '
      f'program reads {VERSION}'
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
      raise ValueError(f'{key} is no text')
  answers = [x for x in content['answers'] if x['practice'] is not True]
  if not all(isinstance(x['correct'], bool) for x in answers):
    raise ValueError('correct is neither true nor false')
  numbers = [x['index'] for x in answers]
  if len(set(numbers)) < len(numbers):
    raise ValueError('an index is there twice')
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
  """Separates the sessions that count from those that do not.

  Of the sessions of one participant the first complete one counts.

  Raises:
    UserError: the sessions are of different studies, or none counts.
  """
  kept: dict[str, Session] = {}
  excluded = []
  for session in sessions:
    if session.study != sessions[0].study:
      raise UserError(
        f'{session.path} is of another study ({session.study}) than '
        f'{sessions[0].path} ({sessions[0].study}): score each study by itself'
      )
    done = len(session.fooled)
    if done < session.trials:
      reason = f'incomplete: {done} of {session.trials} answers'
      excluded.append(Excluded(session.path, reason))
    elif before := kept.get(session.participant):
      reason = f'participant {session.participant} again, as {before.path}'
      excluded.append(Excluded(session.path, reason))
    else:
      kept[session.participant] = session
  if not kept:
    first = excluded[0]
    raise UserError(f'no answers count: {first.path} is {first.reason}')
  return list(kept.values()), excluded
