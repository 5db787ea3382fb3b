"""Makes the page of a study: one HTML file that works offline."""

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
  """Translates test pictures and returns the data of the page.

  Args:
    models: {name of an algorithm: `Model`}.
    data: `Dataset` with the test pictures.
    direction: 'a2b' or 'b2a'; each model must have this direction.
    design: the `Design`, the numbers of the study.
    count: number of real pictures, and of fake pictures per algorithm, that
      the page contains; 0 = all.

  Returns:
    ({key: JSON value} that the scripts of the page read, note that pictures of
    practice trials are shown again in scored trials, or '').

  Raises:
    UserError: the design needs true pairs and there are none, the scored trials
      would have to repeat pictures, a picture cannot be used (unless
      data.on_bad_image is 'skip'), or the pictures are too large in all.
  """
  here, there = direction.split('2')
  paired = data.source.paired
  pairing = design.pairing(paired)
  # An early check, before the slow translation.
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
  # The id tells studies apart, so that their answers are not mixed.
  digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
  return {'id': digest.hexdigest()[:16]} | values, note


def write(path: files.Path, values: Mapping[str, object]) -> int:
  """Writes the page of a study.

  Args:
    path: path of the HTML file.
    values: the data of the page, from `content`.

  Returns:
    Size of the page in bytes.

  Raises:
    UserError: the file cannot be written.
  """
  title = TITLES[str(values['protocol'])]
  page = render(
    'cyclegan_jax.perceptual_study', _SCRIPTS, title, values, title_text=title
  )
  with files.writing(path, '--output'):
    files.write(path, page)
  return len(page)
