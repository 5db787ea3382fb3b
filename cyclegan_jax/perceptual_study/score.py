"""Share of trials in which people were fooled, with its uncertainty."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from cyclegan_jax.metrics.table import markdown
from cyclegan_jax.perceptual_study.answers import Excluded, Session

RESAMPLES = 10_000  # as AMT_Real_vs_Fake takes
_People = Sequence[Bool[np.ndarray, ' trials']]


def share(people: _People) -> float:
  """The share of all trials in which people were fooled, in [0, 1]."""
  return float(np.concatenate(people).mean())


def bootstrap(
  people: _People, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Float64[np.ndarray, ' resamples']:
  """Shares of resamples, which draw people and then the trials of each.

  Both are drawn with replacement. A person's resampled trials enter by their
  number of fooled ones alone, which is binomial: n draws, each of which is a
  fooled one with the person's own share.

  Args:
    people: for each person whether each trial fooled them.
    rng: the random numbers.
    resamples: number of resamples.

  Returns:
    The share of fooled trials in each resample, in [0, 1].
  """
  trials = np.array([len(x) for x in people])
  fooled = np.array([np.mean(x) for x in people])
  drawn = rng.integers(len(people), size=(resamples, len(people)))
  counts = rng.binomial(trials[drawn], fooled[drawn])
  return counts.sum(axis=1) / trials[drawn].sum(axis=1)


def better(
  first: Float64[np.ndarray, ' resamples'],
  second: Float64[np.ndarray, ' resamples'],
) -> float:
  """P(first > second): share of resamples, ties counting half."""
  return float(np.mean(first > second) + np.mean(first == second) / 2)


def scores(
  sessions: Sequence[Session], excluded: Sequence[Excluded], seed: int = 0
) -> dict[str, Any]:
  """All numbers of a study, as plain values for JSON.

  Args:
    sessions: those that count, of one study.
    excluded: files that do not count.
    seed: of the resamples.

  Returns:
    {'study', 'protocol', 'seed', 'resamples', 'algorithms': [{'algorithm',
    'people', 'trials', 'fooled': number of trials, 'share', 'sd', 'mistimed'}],
    'better': [{'first', 'second', 'p'}], 'excluded': [{'file', 'reason'}]}.
    Shares and their standard deviations are in [0, 1].
  """
  names = sorted({x.algorithm for x in sessions})
  rows, shares = [], {}
  for name in names:
    # Algorithms have numbers of their own: adding one changes no other.
    rng = np.random.default_rng([seed, *name.encode()])
    those = [x for x in sessions if x.algorithm == name]
    # In an order of their own, not in that of the files.
    people = [x.fooled for x in sorted(those, key=lambda x: x.participant)]
    shares[name] = bootstrap(people, rng)
    rows.append(
      {
        'algorithm': name,
        'people': len(people),
        'trials': sum(map(len, people)),
        'fooled': int(sum(x.sum() for x in people)),
        'share': share(people),
        'sd': float(shares[name].std()),
        'mistimed': sum(x.mistimed for x in those),
      }
    )
  return {
    'study': sessions[0].study,
    'protocol': sessions[0].protocol,
    'seed': seed,
    'resamples': RESAMPLES,
    'algorithms': rows,
    'better': [
      {'first': x, 'second': y, 'p': better(shares[x], shares[y])}
      for x, y in itertools.permutations(names, 2)
    ],
    'excluded': [
      {'file': str(path), 'reason': reason} for path, reason in excluded
    ],
  }


def text(found: Mapping[str, Any]) -> str:
  """The tables of `scores` in Markdown, with notes, as the paper has them."""
  rows = [
    {
      'algorithm': row['algorithm'],
      'people': str(row['people']),
      'trials': str(row['trials']),
      'fooled': f'{100 * row["share"]:.1f}% ± {100 * row["sd"]:.1f}%',
    }
    for row in found['algorithms']
  ]
  parts = [markdown(rows)]
  names = [row['algorithm'] for row in found['algorithms']]
  if len(names) > 1:
    p = {(x['first'], x['second']): x['p'] for x in found['better']}
    table = [
      {'P(row > column)': x}
      | {y: '' if x == y else f'{p[x, y]:.3f}' for y in names}
      for x in names
    ]
    parts.append(markdown(table))
  return '\n'.join([*parts, ''.join(_notes(found))]).rstrip('\n') + '\n'


def _notes(found):
  yield (
    'Chance is 50%. ± is the standard deviation of '
    f'{found["resamples"]:,} bootstrap resamples of people and their trials.\n'
  )
  for row in found['algorithms']:
    if row['mistimed']:
      yield (
        f'note: {row["mistimed"]} of {row["trials"]} trials of '
        f'{row["algorithm"]} showed a picture 0.1 s longer or shorter than 1 s '
        'or more\n'
      )
  for x in found['excluded']:
    yield f'excluded: {x["file"]}: {x["reason"]}\n'
