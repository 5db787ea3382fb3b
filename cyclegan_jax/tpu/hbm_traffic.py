"""What a step moves between a chip and its memory, read from optimised HLO."""

import re

from cyclegan_jax.tpu import hlo

# They name what is there already, call others, or end what was begun.
_FREE = re.compile(
  'parameter|constant|tuple|get-tuple-element|bitcast|while|conditional|call|'
  'iota|.*-done|.*-update|all-.*|reduce-scatter.*|collective-.*'
)
# So do these, in a custom-call.
_FREE_CALL = re.compile('"(ConcatBitcast|AllocateBuffer|AsyncCollective.*)"')
_CUTS = {'slice', 'dynamic-slice'}
_PASTE = 'dynamic-update-slice'


def count(text):
  """Bytes a step reads from a chip's memory and writes to it.

  The TPU compiler keeps much on the chip, which costs nothing here. Of what is
  only cut, or pasted into, the part counts. Communication is left out. The
  compiler's own count does neither, and takes the body of a loop once.

  Args:
    text: `compiled.as_text()`.
  """
  computations = hlo.parse(text)
  shapes = {i.name: i.shape for body in computations.values() for i in body}
  total = 0
  for name, (times, caller) in hlo.runs(computations).items():
    if caller in ('entry', 'while', 'conditional', 'call'):
      for instruction in computations[name]:
        total += times * _moved(instruction, shapes, computations)
  return total


def _moved(instruction, shapes, computations):
  """Bytes of one run of an instruction."""
  if _is_free(instruction):
    return 0
  if instruction.operation.endswith(
    '-start'
  ):  # from, to and a flag; cut on the way
    ends = hlo.arrays(instruction.shape)[:2]
    least = min((size for size, _ in ends), default=0)
    return least * sum(outside for _, outside in ends)
  inside, names = _inside(instruction, computations)
  read = sum(
    _read(name, shapes.get(operand, ''), inside, computations)
    for name, operand in zip(names, instruction.operands)
  )
  return read + _written(instruction.shape, inside, shapes)


def _inside(instruction, computations):
  """What an instruction consists of, and its operands' names in there.

  One on its own is like a computation of itself alone.
  """
  called = re.search(r'calls=%([\w.-]+)', instruction.rest)
  inside = computations.get(called[1]) if called else None
  if not inside:
    return [instruction], instruction.operands
  given = {
    int(i.rest.split(')')[0]): i.name
    for i in inside
    if i.operation == 'parameter'
  }
  return inside, [given.get(n) for n in range(len(instruction.operands))]


def _is_free(instruction):
  return bool(
    _FREE.fullmatch(instruction.operation)
    or _FREE_CALL.search(instruction.rest)
  )


def _passes(instruction):
  """Whether it hands on what it gets: buffers of communication under way."""
  return instruction.operation != 'bitcast' and _is_free(instruction)


def _outside(shape):
  """Bytes of a shape that are not on the chip."""
  return sum(size for size, outside in hlo.arrays(shape) if outside)


def _size(shape):
  return sum(size for size, _ in hlo.arrays(shape))


def _read(name, shape, inside, computations):
  """Bytes read of an operand, called `name` inside a computation."""
  whole, parts = _outside(shape), 0
  for user in inside if whole else ():
    if name not in user.operands or _passes(user):
      continue
    if user.operation in _CUTS:
      parts += _size(user.shape)
    elif user.operation == 'fusion' and len(inside) > 1:
      within, names = _inside(user, computations)
      for operand, called in zip(user.operands, names):
        if operand == name:
          parts += _read(called, shape, within, computations)
    elif user.operation != _PASTE or user.operands[0] != name:
      return whole
  return min(whole, parts)


def _written(shape, inside, shapes):
  """Bytes written of a computation's results."""
  by_name = {i.name: i for i in inside}
  roots = [next((i for i in inside if i.root), inside[-1])]
  if roots[0].operation == 'tuple':
    roots = [by_name.get(name) for name in roots[0].operands]
  total = 0
  for (size, outside), root in zip(hlo.arrays(shape), roots):
    while root and root.operation == 'bitcast':
      root = by_name.get(root.operands[0])
    if root and _is_free(root):
      continue
    if root and root.operation == _PASTE:
      size = min(size, _size(shapes.get(root.operands[1], '')))
    total += size * outside
  return total
