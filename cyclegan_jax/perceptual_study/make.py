"""The page of a study: one file that works offline and from a disk."""

import base64
import hashlib
import json
from collections.abc import Mapping

from cyclegan_jax.common import files
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.inference.model import Model
from cyclegan_jax.pages.render import render
from cyclegan_jax.perceptual_study import pictures
from cyclegan_jax.perceptual_study.design import MILLISECONDS, Design

TITLES = {
  'cyclegan': 'Which picture was real?',
  'pix2pix': 'Which picture was fake?',
}
_SCRIPTS = ('random.js', 'trials.js', 'frames.js', 'answers.js', 'page.js')


def content(
  models: Mapping[str, Model],
  data: Dataset,
  direction: str,
  design: Design,
  count: int,
) -> tuple[dict[str, object], str]:
  """Plain values that the page's scripts read, and a note or ''.

  Args:
    models: {algorithm: `Model`}.
    data: the test pictures.
    direction: 'a2b' or 'b2a', which each model has.
    design: the numbers of the study.
    count: test pictures of each kind to choose from; 0: all.

  Raises:
    UserError: as `pictures.collect` and `Design.shortage`.
  """
  here, there = direction.split('2')
  paired = data.source.paired
  pairing = design.pairing(paired)
  # Before anything is translated, as far as the numbers tell.
  tests = [len(data.source.test[domain]) for domain in (here, there)]
  design.shortage(min(*tests, count or max(tests)), pairing)
  found = pictures.collect(models, data, direction, count, design.size)
  least = min(map(len, [found.reals, *found.fakes.values()]))
  note = design.shortage(least, pairing)
  values: dict[str, object] = {
    'protocol': design.protocol,
    'direction': direction,
    'practice': design.practice,
    'trials': design.trials,
    'seed': design.seed,
    'size': design.size,
    'pairing': pairing,
    'milliseconds': MILLISECONDS,
    'reals': found.reals,
    'algorithms': [
      {'code': base64.b64encode(name.encode()).decode(), 'fakes': fakes}
      for name, fakes in found.fakes.items()
    ],
  }
  # Answers of two studies must not be mixed.
  digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
  return {'id': digest.hexdigest()[:16]} | values, note


def write(path: files.Path, values: Mapping[str, object]) -> int:
  """Writes the page of a `content`; returns its size in bytes.

  Raises:
    UserError: it can't be written.
  """
  title = TITLES[str(values['protocol'])]
  page = render(
    'cyclegan_jax.perceptual_study', _SCRIPTS, title, values, title_text=title
  )
  with files.writing(path, '--output'):
    files.write(path, page)
  return len(page)
