"""Parser of the optimised HLO of a step, and statistics of its operations."""

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
  """Line of HLO, of the form `%name = shape operation(rest`.

  Attributes:
    root: True if the line is the result of its computation.
    name: name of the instruction.
    shape: type, sides and layout of the result, as text.
    operation: HLO operation, such as 'convolution'.
    rest: operands and attributes, as text.
  """

  root: bool
  name: str
  shape: str
  operation: str
  rest: str

  @property
  def operands(self):
    """Names of the operands, the instructions whose results are the inputs."""
    return re.findall(r'%([\w.-]+)', re.split(r'\)(?:,|$)', self.rest)[0])


def parse(hlo):
  """Parses optimised HLO into its computations.

  Args:
    hlo: the text, `compiled.as_text()`.

  Returns:
    {computation: list of its `Instruction`s}, in the order of the text: a
    computation comes before its callers, and the entry computation is last.
  """
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
  """Counts the runs of each computation in one step.

  The body of a loop is counted once per iteration.

  Args:
    computations: the dict that `parse` returned.

  Returns:
    {computation: (number of runs, the operation that calls it)}. The operation
    is 'entry' for the entry computation, and None if nothing calls it.
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
  """Returns the number of iterations of a loop.

  Returns 1 if the number is not known, and for any other instruction.
  """
  if instruction.operation != 'while':
    return 1
  known = re.search(r'"known_trip_count":\{"n":"(\d+)"', instruction.rest)
  if known:
    return int(known[1])
  # A scan counts from 0 to the only constant of its condition.
  condition = re.search(r'condition=%([\w.-]+)', instruction.rest)
  limits = [
    re.match(r'\d+', i.rest)
    for i in computations.get(condition[1] if condition else '', [])
    if i.operation == 'constant' and i.shape.startswith('s32[]')
  ]
  return int(limits[0][0]) if len(limits) == 1 and limits[0] else 1


def _all(hlo):
  """Yields (`Instruction`, number of its runs in a step)."""
  computations = parse(hlo)
  times = runs(computations)
  for name, body in computations.items():
    for instruction in body:
      yield instruction, times[name][0]


def collectives(hlo):
  """Counts the communication between chips in a step.

  Args:
    hlo: the optimised HLO of the step, `compiled.as_text()`.

  Returns:
    {operation, such as 'all-reduce': (number of runs, bytes of all results)}.
  """
  found = collections.defaultdict(lambda: (0, 0))
  chains = set()
  for instruction, times in _all(hlo):
    match = _COLLECTIVE.fullmatch(instruction.operation)
    if not match:
      continue
    operation, start = match.groups()
    # An operation that overlaps with other work appears once per stage.
    chain = re.search(r'chain_id="?(\d+)', instruction.rest)
    if chain and (operation, chain[1]) in chains:
      continue
    if chain:
      chains.add((operation, chain[1]))
    sizes = [size for size, _ in arrays(instruction.shape)]
    if start and operation != 'all-reduce':  # shape: operands, then results
      sizes = sizes[len(sizes) // 2 :]
    count, size = found[operation]
    found[operation] = (count + times, size + times * sum(sizes))
  return dict(found)


def arrays(shape):
  """Returns [(bytes, True if in memory)] for each array of a shape or tuple.

  An array is in the chip's memory (HBM) unless its layout names another memory
  space, `S(1)` or higher, which is on the chip itself.

  Args:
    shape: the text of the shape or tuple of shapes, such as 'f32[8,16]{1,0}'
      (`Instruction.shape`).
  """
  return [
    (
      int(bits or 8) * math.prod(int(n) for n in sides.split(',') if n) // 8,
      not re.search(r'S\([1-9]', layout),
    )
    for _, bits, sides, layout in _ARRAY.findall(shape)
  ]


def estimates(hlo):
  """Yields the cycles that the TPU compiler expects for each operation.

  Operations without an estimate of the compiler are left out.

  Args:
    hlo: the optimised HLO of a step, `compiled.as_text()`.

  Yields:
    (`Instruction`, cycles of all its runs in a step, list of the `Instruction`s
    that are fused into it).
  """
  computations = parse(hlo)
  for instruction, times in _all(hlo):
    expected = re.search(r'"estimated_cycles":"(\d+)"', instruction.rest)
    if expected:
      called = re.search(r'calls=%([\w.-]+)', instruction.rest)
      fused = computations.get(called[1], []) if called else []
      yield instruction, times * int(expected[1]), fused


def convolves(fused):
  """Returns True if a list of fused instructions contains a convolution.

  Args:
    fused: list of `Instruction`, as `estimates` yields it.
  """
  return any(i.operation == 'convolution' for i in fused)


def cycles(hlo):
  """Returns the cycles of a step that the TPU compiler expects.

  Operations are assumed to run one after the other.

  Args:
    hlo: the optimised HLO of the step, `compiled.as_text()`.

  Returns:
    (cycles of all operations, cycles of operations with convolutions).
  """
  found = [(expected, fused) for _, expected, fused in estimates(hlo)]
  return (
    sum(expected for expected, _ in found),
    sum(expected for expected, fused in found if convolves(fused)),
  )


def convolutions(hlo):
  """Counts the convolutions of a step by the types of their operands.

  Args:
    hlo: the optimised HLO of the step, `compiled.as_text()`.

  Returns:
    {types: number of convolutions in the text}, such as {'bf16': 40, 'bf16 x
    f32': 1}.
  """
  dtypes = dict(re.findall(r'%([\w.-]+) = \(?(\w+)\[', hlo))
  found = collections.Counter()
  for operands in re.findall(r' convolution\((.*)', hlo):
    both = {dtypes[name] for name in re.findall(r'%([\w.-]+)', operands)[:2]}
    found[' x '.join(sorted(both))] += 1
  return dict(found)
