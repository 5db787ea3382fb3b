"""What optimised HLO does in a step, read from its text."""

import collections
import math
import re

_HEADER = re.compile(r'(?:ENTRY )?%([\w.-]+) .*\{$')
_CALLED = re.compile(r'(?:body|calls|to_apply|computations?)=\{?([^=}]*)')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_COLLECTIVE = re.compile(
  r' = (?P<result>.*?) (?P<operation>all-reduce|all-gather|reduce-scatter|'
  r'all-to-all|collective-permute|collective-broadcast)(?P<start>-start)?\('
  r'(?P<rest>.*)'
)
_ARRAY = re.compile(r'\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]')


def repeated(hlo):
  """The instructions of a program, each with how often a step runs it.

  Loops count times their length where the compiler knows it, else once.

  Args:
    hlo: the text, `compiled.as_text()`.

  Yields:
    (line, times).
  """
  bodies, lines = [], []
  for line in hlo.splitlines():
    header = _HEADER.match(line)
    if header:
      lines = []
      bodies.append((header[1], lines))
    elif ' = ' in line:
      lines.append(line)
  times = collections.Counter({bodies[-1][0]: 1} if bodies else {})
  # Whoever calls a computation stands behind it in the text.
  for name, lines in reversed(bodies):
    for line in lines:
      yield line, times[name]
      trips = _TRIPS.search(line)
      for called in _CALLED.findall(line):
        for callee in re.findall(r'%([\w.-]+)', called):
          times[callee] += times[name] * int(trips[1] if trips else 1)


def collectives(hlo):
  """Communication between chips in a step of optimised HLO.

  Args:
    hlo: the text, `compiled.as_text()`.

  Returns:
    {operation: (how often, bytes of the results)}.
  """
  found = collections.defaultdict(lambda: (0, 0))
  chains = set()
  for line, times in repeated(hlo):
    match = _COLLECTIVE.search(line)
    if not match:
      continue
    operation = match['operation']
    # One that goes on beside other work stands in each of its stages.
    chain = re.search(r'chain_id="?(\d+)', match['rest'])
    if chain and (operation, chain[1]) in chains:
      continue
    if chain:
      chains.add((operation, chain[1]))
    sizes = _sizes(match['result'])
    if match['start'] and operation != 'all-reduce':  # operands, then results
      sizes = sizes[len(sizes) // 2 :]
    count, size = found[operation]
    found[operation] = (count + times, size + times * sum(sizes))
  return dict(found)


def _sizes(shapes):
  """Bytes of each array of a shape, or of a tuple of shapes."""
  return [
    int(bits or 8) * math.prod(int(n) for n in shape.split(',') if n) // 8
    for _, bits, shape in _ARRAY.findall(shapes)
  ]


def convolutions(hlo):
  """How many convolutions of which operands optimised HLO has.

  Args:
    hlo: the text, `compiled.as_text()`.

  Returns:
    {dtypes: how often}, such as {'bf16': 40, 'bf16 x f32': 1}.
  """
  dtypes = dict(re.findall(r'%([\w.-]+) = \(?(\w+)\[', hlo))
  found = collections.Counter()
  for operands in re.findall(r' convolution\((.*)', hlo):
    both = {dtypes[name] for name in re.findall(r'%([\w.-]+)', operands)[:2]}
    found[' x '.join(sorted(both))] += 1
  return dict(found)
