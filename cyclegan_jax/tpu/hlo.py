"""What optimised HLO does in a step, read from its text."""

import collections
import math
import re
from typing import NamedTuple

_HEADER = re.compile(r'(?:ENTRY )?%([\w.-]+) .*\{$')
_INSTRUCTION = re.compile(
  r' *(?P<root>ROOT )?%(?P<name>[\w.-]+) = (?P<shape>\(.*?\)|\S+) '
  r'(?P<operation>[\w-]+)\((?P<rest>.*)'
)
_CALLED = re.compile(r'(?:body|calls|to_apply|computations?)=\{?([^=}]*)')
_COLLECTIVE = re.compile(
  '(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|'
  'collective-broadcast)(-start)?'
)
_ARRAY = re.compile(r'\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\](\{[^}]*\})?')


class Instruction(NamedTuple):
  """A line of HLO: `%name = shape operation(rest`."""

  root: bool
  name: str
  shape: str
  operation: str
  rest: str

  @property
  def operands(self):
    """Names of what it is given, its attributes left out."""
    return re.findall(r'%([\w.-]+)', re.split(r'\)(?:,|$)', self.rest)[0])


def parse(hlo):
  """{computation: its `Instruction`s}, callees before callers, entry last."""
  computations, body = {}, []
  for line in hlo.splitlines():
    header = _HEADER.match(line)
    if header:
      body = computations[header[1]] = []
      continue
    match = _INSTRUCTION.match(line)
    if match:
      body.append(Instruction(bool(match['root']), *match.groups()[1:]))
  return computations


def runs(computations):
  """How often a step runs each computation, loops times their length.

  Returns:
    {computation: (how often, the operation that calls it)}.
  """
  found = dict.fromkeys(computations, (0, None))
  if computations:
    found[list(computations)[-1]] = (1, 'entry')
  for name in reversed(computations):
    for instruction in computations[name]:
      times = found[name][0] * _trips(instruction, computations)
      for called in _CALLED.findall(instruction.rest):
        for callee in re.findall(r'%([\w.-]+)', called):
          so_far = found.get(callee, (0, None))[0]
          found[callee] = (so_far + times, instruction.operation)
  return found


def _trips(instruction, computations):
  """Length of a loop; 1 where it is not known and for all else."""
  if instruction.operation != 'while':
    return 1
  known = re.search(r'"known_trip_count":\{"n":"(\d+)"', instruction.rest)
  if known:
    return int(known[1])
  # A scan counts from 0 up to the one constant of its condition.
  condition = re.search(r'condition=%([\w.-]+)', instruction.rest)
  limits = [
    re.match(r'\d+', i.rest)
    for i in computations.get(condition[1] if condition else '', [])
    if i.operation == 'constant' and i.shape.startswith('s32[]')
  ]
  return int(limits[0][0]) if len(limits) == 1 and limits[0] else 1


def _all(hlo):
  """Each instruction with how often a step runs it."""
  computations = parse(hlo)
  times = runs(computations)
  for name, body in computations.items():
    for instruction in body:
      yield instruction, times[name][0]


def collectives(hlo):
  """Communication between chips in a step of optimised HLO.

  Args:
    hlo: the text, `compiled.as_text()`.

  Returns:
    {operation: (how often, bytes of the results)}.
  """
  found = collections.defaultdict(lambda: (0, 0))
  chains = set()
  for instruction, times in _all(hlo):
    match = _COLLECTIVE.fullmatch(instruction.operation)
    if not match:
      continue
    operation, start = match.groups()
    # One that goes on beside other work stands in each of its stages.
    chain = re.search(r'chain_id="?(\d+)', instruction.rest)
    if chain and (operation, chain[1]) in chains:
      continue
    if chain:
      chains.add((operation, chain[1]))
    sizes = [size for size, _ in arrays(instruction.shape)]
    if start and operation != 'all-reduce':  # operands, then results
      sizes = sizes[len(sizes) // 2 :]
    count, size = found[operation]
    found[operation] = (count + times, size + times * sum(sizes))
  return dict(found)


def arrays(shape):
  """(bytes, whether in the chip's memory) of each array of a shape or tuple.

  What the layout puts into another space, `S(1)` and more, is on the chip.
  """
  return [
    (
      int(bits or 8) * math.prod(int(n) for n in sides.split(',') if n) // 8,
      not re.search(r'S\([1-9]', layout),
    )
    for _, bits, sides, layout in _ARRAY.findall(shape)
  ]


def estimates(hlo):
  """Yields what the TPU compiler expects of each operation of a step.

  Args:
    hlo: the text, `compiled.as_text()`.

  Yields:
    (`Instruction`, cycles of all its runs in a step, the `Instruction`s that
    are fused in it), of the operations that the compiler has an estimate of.
  """
  computations = parse(hlo)
  for instruction, times in _all(hlo):
    expected = re.search(r'"estimated_cycles":"(\d+)"', instruction.rest)
    if expected:
      called = re.search(r'calls=%([\w.-]+)', instruction.rest)
      fused = computations.get(called[1], []) if called else []
      yield instruction, times * int(expected[1]), fused


def convolves(fused):
  """Returns True if a convolution is among fused instructions."""
  return any(i.operation == 'convolution' for i in fused)


def cycles(hlo):
  """Cycles that the TPU compiler expects of a step, operations in sequence.

  Args:
    hlo: the text, `compiled.as_text()`.

  Returns:
    Cycles of all operations, and of those with convolutions in them.
  """
  found = [(expected, fused) for _, expected, fused in estimates(hlo)]
  return (
    sum(expected for expected, _ in found),
    sum(expected for expected, fused in found if convolves(fused)),
  )


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
