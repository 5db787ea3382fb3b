"""Formats the results of gpu.py as Markdown."""

import statistics

from flops import step_flops
from gpu_speed import CARDS

_GIB = 2**30
LIMIT = 1e-4  # accepted relative difference of GPU and CPU in float32


def document(results):
  """Returns the Markdown text of the results.

  Args:
    results: {part: JSON values}, the content of results.json; parts that are
      missing are left out of the text.
  """
  parts = [
    _card(results.get('card')),
    *(_race(race, results.get('card')) for race in results.get('races', [])),
    _truth(results.get('truth')),
    _repeat(results.get('repeat')),
    *(
      profile_text(name, profile)
      for race in results.get('races', [])
      for name, profile in race['profiles'].items()
    ),
  ]
  if results['left_out']:
    parts.append('Left out: ' + '; '.join(results['left_out']))
  return '\n\n'.join(part for part in parts if part) + '\n'


def _table(head, rows):
  lines = [head, ['---'] * len(head), *rows]
  return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)


def _card(card):
  if not card or 'failure' in card:
    return card and f'card: {card["failure"]}'
  products = ', '.join(
    f'{name} {speed / 1e12:.3g}' for name, speed in card['products'].items()
  )
  return (
    f'{card["name"]}; matrix products in TFLOP/s: {products}; memory '
    f'{card["copy"] / 1e12:.2f} TB/s'
  )


def _race(race, card):
  work, step = race['work'], race['kind'] == 'step'
  flops = step_flops(work['size'], work['batch'], work['blocks'], work['width'])
  peak = (card or {}).get('products', {}).get('bfloat16')
  there = race['contenders']
  ours = there.get('here, bfloat16', {})
  best = _median(ours)
  rows = []
  for name, x in there.items():
    seconds = _median(x)
    if seconds is None:
      rows.append([name, f'failed: {x["failure"]}', *['-'] * 5])
      continue
    spread = f'{1000 * min(x["seconds"]):.4g}-{1000 * max(x["seconds"]):.4g}'
    counted = step and not name.endswith(tuple(CARDS))  # only CycleGAN
    share = f'{flops / seconds / peak:.1%}' if counted and peak else '-'
    rows.append(
      [
        name,
        f'{1000 * seconds:.4g} ({spread})',
        f'{work["batch"] / seconds:.4g}',
        share,
        f'{x["compile"]:.0f}' if x['compile'] else '-',
        f'{x["peak"] / _GIB:.2f}' if x['peak'] else '-',
        f'{best / seconds:.2f}' if best else '-',
      ]
    )
  title = (
    f'{race["kind"]}, {work["size"]} px, batch {work["batch"]}, '
    f'{work["blocks"]} blocks, width {work["width"]}'
  )
  head = [
    'contender',
    'ms (range)',
    'images/s',
    'of bf16 product',
    'compile s',
    'peak GiB',
    'here bf16 / this',
  ]
  return f'### {title[0].upper()}{title[1:]}\n\n' + _table(head, rows)


def _median(contender):
  times = contender.get('seconds')
  return statistics.median(times) if times else None


def _truth(truth):
  if not truth:
    return None
  found = truth['differences']
  names = list(next(iter(found.values()), {}))
  rows = [
    [name, *(f'{found[p].get(name, float("nan")):.1e}' for p in found)]
    for name in names
  ]
  worst = {p: max(x.values(), default=0) for p, x in found.items()}
  lines = [f'{p}: at most {x:.1e} from the CPU' for p, x in worst.items()] + [
    f'{p} failed: {line}' for p, x in truth['failures'].items() for line in x
  ]
  return (
    '### Relative difference to the CPU\n\n'
    + '\n'.join(f'- {line}' for line in lines)
    + '\n\n'
    + _table(['case', *found], rows)
  )


def _repeat(repeat):
  if not repeat:
    return None
  lines = []
  for name in ('plain', 'deterministic'):
    digests = [x.get('digests', [x.get('failure')]) for x in repeat[name]]
    within = all(len(set(x)) == 1 for x in digests)
    across = len({x[0] for x in digests}) == 1
    flags = f' ({repeat["flags"]})' if name == 'deterministic' else ''
    lines.append(
      f'- {name}{flags}: two runs of one program '
      f'{"equal" if within else "differ"}, two processes '
      f'{"equal" if across else "differ"}'
    )
  return '### The same seed twice\n\n' + '\n'.join(lines)


def profile_text(name, profile):
  """Returns the Markdown text of a profile.

  Args:
    name: name of the profile, such as 'step_256_1'.
    profile: result of `gpu_profile.summary`.
  """
  title = f'### Profile: {name.replace("_", " ")}'
  if 'failure' in profile:
    return f'{title}\n\n{profile["failure"]}'
  facts = ', '.join(f'{n:g} {name}' for name, n in profile['launches'].items())
  program = ', '.join(f'{n} {name}' for name, n in profile['program'].items())
  head = ['kernel', 'ms per step', 'calls per step']

  def rows(kernels):
    return [
      [x['name'].replace('|', '/'), f'{x["ms"]:.3f}', f'{x["calls"]:g}']
      for x in kernels
    ]

  words = [
    f'{profile["busy"]:.3g} ms in {profile["kernel_calls"]:g} kernels per step',
    f'launches per step: {facts or "unknown"}',
    f'compiled program: {program}',
  ]
  text = f'{title}\n\n{"; ".join(words)}\n\n'
  text += _table(head, rows(profile['kernels']))
  if profile['moves']:
    text += '\n\nKernels that transpose or copy:\n\n'
    text += _table(head, rows(profile['moves']))
  return text
