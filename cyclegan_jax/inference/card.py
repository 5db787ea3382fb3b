"""Writes the model card of a shared model: the README.md that the Hub shows."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cyclegan_jax
from cyclegan_jax.config.options import flatten
from cyclegan_jax.config.unused import unused
from cyclegan_jax.data import own_source
from cyclegan_jax.defaults import DEFAULTS, PATHS
from cyclegan_jax.hub import address
from cyclegan_jax.metrics.table import markdown

SAMPLES = 'samples.png'  # in the folder of the model card
# Options that do not describe the model, or that the text names elsewhere.
_UNSAID = ('log.', 'parallel.', 'data.source', 'data.name', *PATHS)
_NAME = re.compile(r'[A-Za-z0-9][\w./-]*', re.ASCII)
_SOURCES = {
  'builtin': 'The pictures built into `cyclegan_jax`: `{name}`.',
  'mni152': 'The MNI152 brain template, which is built into `cyclegan_jax`.',
  'tfds': 'The dataset `{name}` of TensorFlow Datasets.',
  'hf': 'The dataset `{name}` on the Hugging Face Hub.',
}
_OWN = "The author's own pictures, which are not part of this repository."
_LIMITS = """\
- The model translates pictures that resemble its training pictures. For other
  pictures it also returns a result, which may be meaningless.
- A translation is generated: it looks like the other domain, but need not show
  what is really there. Do not measure or diagnose anything from a translation.
- The test figures are for the data above and do not carry over to other data.
"""


class Facts(NamedTuple):
  """The content of a model card.

  Attributes:
    repo: repository 'USER/NAME' on the Hugging Face Hub.
    license: licence identifier of the Hub, such as 'mit', or ''.
    config: the config that is shared, as nested dicts.
    step: training step of the weights, or None if unknown.
    directions: the directions that the model translates: 'a2b', 'b2a' or both.
    groups: groups of networks that are shared, such as ('gen', 'disc').
    pictures: contents of run.json, or {}.
    rows: rows of test figures from `metrics.table.table`, or [].
    sample_step: training step of samples.png; None without that file.
  """

  repo: str
  license: str
  config: Mapping[str, Any]
  step: int | None
  directions: Sequence[str]
  groups: Sequence[str]
  pictures: Mapping[str, Any]
  rows: Sequence[Mapping[str, Any]]
  sample_step: int | None


def text(facts: Facts) -> str:
  """Returns the model card: metadata in YAML, followed by Markdown.

  Args:
    facts: the `Facts` about the model.
  """
  sections = {
    '': _what(facts),
    'Data': _data(facts),
    'Settings': _settings(facts),
    'Test figures': markdown(facts.rows) if facts.rows else '',
    'Samples': _samples(facts),
    'Use': _use(facts),
    'Limits': _LIMITS,
  }
  title = facts.repo.rpartition('/')[2]
  parts = [_metadata(facts), f'# {title}\n']
  for head, content in sections.items():
    if content:
      parts.append(f'## {head}\n\n{content}' if head else content)
  return '\n'.join(parts)


def _metadata(facts):
  """Returns the YAML metadata of the model card.

  Texts are quoted, so that none is read as a number or a boolean.
  """
  config = facts.config
  values = {
    'license': facts.license,
    'library_name': 'cyclegan_jax',
    'pipeline_tag': 'image-to-image',
    'tags': ['image-to-image', config['method'], 'jax', 'flax'],
    'datasets': _data_sets(config),
    'base_model': _base(config),
  }
  lines = ['---']
  for key, value in values.items():
    if isinstance(value, list) and value:
      lines += [f'{key}:', *(f'- {json.dumps(x)}' for x in value)]
    elif value:
      lines.append(f'{key}: {json.dumps(value)}')
  return '\n'.join([*lines, '---', ''])


def _data_sets(config):
  """Returns the names of the training datasets that are on the Hub."""
  if config['data']['source'] != 'hf':
    return []
  names = [x.partition(':')[0] for x in config['data']['name'].split(';')]
  return [x.strip() for x in names if _NAME.fullmatch(x.strip())]


def _base(config):
  """Returns the Hub repository that the training started from, or ''."""
  start = config['init_from']
  return address.parse(start).repo if address.is_address(start) else ''


def _what(facts):
  method = facts.config['method']
  ways = ' and '.join(f'`{x}`' for x in facts.directions)
  trained = f', trained for {facts.step:,} steps' if facts.step else ''
  kinds = {'gen': 'generators', 'disc': 'discriminators'}
  groups = ' and '.join(kinds.get(x, x) for x in facts.groups)
  base = _base(facts.config)
  return (
    f'A model of the method `{method}`{trained}. It translates pictures '
    f'between a domain A and a domain B: {ways}. It was shared with '
    'cyclegan_jax '
    f'{cyclegan_jax.__version__}.\n'
    + f'\nTraining started from the weights of {base}.\n' * bool(base)
    + f'\n`model.safetensors` holds the {groups}, `config.json` the options.\n'
    + '\nNo licence is given: ask the author before you use the model.\n'
    * (not facts.license)
  )


def _data(facts):
  data = facts.config['data']
  source = data['source']
  name = data['name'] or 'satellite2map'
  line = _OWN if own_source.is_text(source) else _SOURCES.get(source, _OWN)
  if source in ('tfds', 'hf') and not data['name']:
    line = _OWN
  return line.format(name=_code(name)) + '\n' + _counts(facts.pictures)


def _counts(pictures):
  """Returns a table with the number and digest of the pictures, if known."""
  train, tests = (
    x if isinstance(x, Mapping) else {}
    for x in (pictures.get('pictures'), pictures.get('tests'))
  )
  rows = []
  for head, found in (
    ('training', [train.get(d) for d in 'ab']),
    ('test', [tests.get(f'test{d}') for d in 'AB']),
  ):
    if all(isinstance(x, Mapping) and 'count' in x for x in found):
      rows.append([f'{head} pictures', *(str(x['count']) for x in found)])
      if all('files' in x for x in found):
        digests = [f'`{_code(str(x["files"]))}`' for x in found]
        rows.append(['digest of the contents', *digests])
  if not rows:
    return ''
  table = [['', 'A', 'B'], ['---'] * 3, *rows]
  return '\n' + ''.join(f'| {" | ".join(row)} |\n' for row in table)


def _settings(facts):
  options = flatten(facts.config)
  idle = unused(options)
  changed = {
    key: value
    for key, value in sorted(options.items())
    if key in DEFAULTS
    and value != DEFAULTS[key]
    and key not in idle
    and not key.startswith(_UNSAID)
  }
  if not changed:
    return 'All options have their default values.\n'
  lines = ['| option | value | default |', '|---|---|---|']
  for key, value in changed.items():
    lines.append(f'| `{key}` | {_value(value)} | {_value(DEFAULTS[key])} |')
  return '\n'.join([*lines, ''])


def _samples(facts):
  if facts.sample_step is None:
    return ''
  return (
    f'Test pictures and their translations at step '
    f'{facts.sample_step:,}:\n\n![samples]({SAMPLES})\n'
  )


def _use(facts):
  where, way = f'hf://{facts.repo}', facts.directions[0]
  return f"""\
This needs the extra `hub` of cyclegan_jax (`pip install -e '.[hub]'`).

```python
from cyclegan_jax import load_model

model = load_model('{where}')
fakes = model.translate(images, '{way}')  # uint8 [batch, height, width, 3]
```

    python -m cyclegan_jax.translate --model={where} --direction={way} \\
      --input=FOLDER --output=FOLDER

To start a training from these weights, use `--config.init_from={where}`.
"""


def _value(value):
  return f'`{_code(json.dumps(value, ensure_ascii=False))}`'


def _code(text):
  """Escapes a text for use in backticks in a cell of a Markdown table."""
  text = ' '.join(text.replace('`', "'").split())
  return text.replace('|', '\\|').replace('<', '&lt;')
