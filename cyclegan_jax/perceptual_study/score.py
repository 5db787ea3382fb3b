"""Scores of a study: the share of fooled trials, with its uncertainty."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from cyclegan_jax.metrics.table import markdown
from cyclegan_jax.perceptual_study.answers import Excluded, Session

RESAMPLES = 10_000  # as in AMT_Real_vs_Fake
_People = Sequence[Bool[np.ndarray, ' trials']]


def share(people: _People) -> float:
  """Returns the share of all trials in which people were fooled, in [0, 1].

  Args:
    people: one bool array [trials] per person; True = fooled.
  """
  return float(np.concatenate(people).mean())


def bootstrap(
  people: _People, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Float64[np.ndarray, ' resamples']:
  """Returns bootstrap samples of `share`.

  Each resample draws people with replacement, and then the trials of each drawn
  person with replacement. Only the number of fooled trials matters: for a
  person with n trials this number is binomial, with n draws and the person's
  own share as probability.

  Args:
    people: one bool array [trials] per person; True = fooled.
    rng: random number generator.
    resamples: number of resamples.

  Returns:
    Share of fooled trials of each resample, in [0, 1].
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
  """Returns the estimated probability that `first` is larger than `second`.

  Args:
    first: shares of fooled trials of an algorithm, from `bootstrap`.
    second: shares of another algorithm.

  Returns:
    Share of the resamples in which `first` is larger; ties count half.
  """
  return float(np.mean(first > second) + np.mean(first == second) / 2)


def scores(
  sessions: Sequence[Session], excluded: Sequence[Excluded], seed: int = 0
) -> dict[str, Any]:
  """Computes all numbers of a study, as JSON values.

  Args:
    sessions: sessions to score, all of one study.
    excluded: files that are not scored.
    seed: random seed of the resamples.

  Returns:
    {'study', 'protocol', 'seed', 'resamples', 'algorithms': [{'algorithm',
    'people': number of people, 'trials': number of trials, 'fooled': number of
    fooled trials, 'share': share of fooled trials, 'sd': its standard
    deviation, 'mistimed': number of trials with wrong timing}], 'better':
    [{'first', 'second', 'p': probability that the first algorithm fools people
    more often (`better`)}], 'excluded': [{'file', 'reason'}]}. Shares and
    standard deviations are in [0, 1].
  """
  names = sorted({x.algorithm for x in sessions})
  rows, shares = [], {}
  for name in names:
    # One generator per algorithm: a further algorithm changes no result.
    rng = np.random.default_rng([seed, *name.encode()])
    those = [x for x in sessions if x.algorithm == name]
    # Sorted: the result must not depend on the order of the files.
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
  """Formats the result of `scores` as Markdown tables with notes.

  The first table has the form of the paper's: share of fooled trials +-
  standard deviation, in percent. The second table, if there are several
  algorithms, contains the probabilities of `better`.

  Args:
    found: the dict that `scores` returns.
  """
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
        f'note: in {row["mistimed"]} of {row["trials"]} trials of '
        f'{row["algorithm"]}, a picture was shown for less than 0.9 s or more '
        'than 1.1 s\n'
      )
  for x in found['excluded']:
    yield f'excluded: {x["file"]}: {x["reason"]}\n'
