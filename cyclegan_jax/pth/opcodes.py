"""Safe interpreter for the pickle of a state_dict in a PyTorch file.

A pickle is a program, and Python's own interpreter calls any function that the
program names. The interpreter here knows only the few instructions that a
state_dict needs, and stand-ins for the few names in a state_dict. Anything else
raises an error that tells its name. No name is ever imported, so a file cannot
run any code.
"""

import pickletools
import types

import numpy as np

from cyclegan_jax.pth.tensors import STORAGES, Storage, Tensor, check

# Limit per pickle, because more would take minutes; a generator of 9 blocks
# needs 2000.
_INSTRUCTIONS = 1_000_000


class Refused(ValueError):
  """Error for a file that asks for something that no state_dict needs.

  The text is a sentence without its subject, which is the path of the file.
  """


def load(stream, storages):
  """Loads the next pickled object of a stream.

  Args:
    stream: binary file; only the bytes of the pickle are read.
    storages: {key: `Storage`}; the storages in the pickle are added to this
      dict.

  Returns:
    The object, made of dicts, lists, tuples, text, numbers, None, and a
    `Tensor` for each tensor.

  Raises:
    Refused: the pickle has an instruction or a name that no state_dict needs.
    Exception: of almost any kind, if the pickle is damaged.
  """
  return run(stream, Machine(_NAMES, storages), ACTIONS)


def run(stream, machine, actions):
  """Runs the next pickle of a stream and returns the resulting object.

  Args:
    stream: binary file; only the bytes of the pickle are read.
    machine: the `Machine` that the pickle runs on.
    actions: {name of an instruction: (machine, argument) -> None}, the
      functions that carry out the instructions. Names are those of
      `pickletools`.

  Raises:
    Refused: the pickle has an instruction that is not in `actions`, or a name
      that no state_dict needs.
    Exception: of almost any kind, if the pickle is damaged or too long.
  """
  for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
    if count > _INSTRUCTIONS:
      raise ValueError('the pickle is too long for a state_dict')
    if opcode.name not in actions:
      what = opcode.name if argument is None else f'{opcode.name} {argument}'
      refuse(what)
    actions[opcode.name](machine, argument)
  return machine.stack.pop()


def refuse(what):
  """Raises `Refused` for a name that the file asks for.

  Args:
    what: the name, such as 'os system'.
  """
  name = ascii(str(what)[:80])[1:-1].replace(' ', '.')
  raise Refused(
    f'asks for {name}, but a state_dict holds tensors only: not loaded; if '
    'you trust the file, load it with PyTorch and save network.state_dict()'
  )


class Machine:
  """State of the interpreter: a stack, the stacks below marks, and a memory.

  Each method carries out one kind of instruction; `run` calls the methods.

  Args:
    names: {'module name': stand-in for that name}; a pickle may call the
      stand-ins that are functions.
    storages: {key: `Storage`}; the storages in the pickle are added to this
      dict.
  """

  def __init__(self, names, storages):
    self.names = names
    self.storages = storages
    self.stack = []
    self.below = []
    self.memory = {}

  def push(self, x):
    """Puts an object on the stack."""
    self.stack.append(x)

  def mark(self, _):
    """Sets a mark: starts a new stack on top of the current one."""
    self.below.append(self.stack)
    self.stack = []

  def pop_to_mark(self):
    """Removes the last mark and returns the list of the objects above it."""
    items, self.stack = self.stack, self.below.pop()
    return items

  def tuple_of(self, count):
    """Replaces the top `count` objects by a tuple of them."""
    if len(self.stack) < count:
      raise ValueError('items of a tuple are missing')
    self.stack[-count:] = [tuple(self.stack[-count:])]

  def append(self, items):
    """Extends the list on top of the stack by `items`."""
    if type(self.stack[-1]) is not list:
      raise ValueError('an item is added to something that is not a list')
    self.stack[-1].extend(items)

  def set_items(self, items):
    """Updates the dict on top of the stack.

    Args:
      items: [key, value, key, value, ...].
    """
    target, keys = self.stack[-1], items[::2]
    if type(target) is not dict or len(items) % 2:
      raise ValueError('an item is added to something that is not a dict')
    _check_keys(keys)
    target.update(zip(keys, items[1::2]))

  def pop(self, count):
    """Removes the top `count` objects and returns them, the topmost last."""
    items = [self.stack.pop() for _ in range(count)]
    return items[::-1]

  def remember(self, place):
    """Stores the object on top of the stack in the memory.

    Args:
      place: key of the object in the memory; None for the next number.
    """
    self.memory[len(self.memory) if place is None else place] = self.stack[-1]

  def name(self, name):
    """Puts the stand-in of a name on the stack, or raises `Refused`.

    Args:
      name: module and name, separated by a space, such as 'torch Size'.
    """
    if name not in self.names:
      refuse(name)
    self.push(self.names[name])

  def name_on_stack(self):
    """Replaces the module and name on top of the stack by their stand-in."""
    module, name = self.pop(2)
    if type(module) is not str or type(name) is not str:
      raise ValueError('a name is not text')
    self.name(f'{module} {name}')

  def reduce(self):
    """Calls the function on the stack and replaces the call by its result."""
    function, arguments = self.pop(2)
    if type(function) is not types.FunctionType or type(arguments) is not tuple:
      raise ValueError('a call of something that is not a function')
    self.push(function(*arguments))

  def build(self):
    """Discards attributes of a dict, or raises `Refused` if not `_metadata`."""
    # PyTorch sets only this attribute of an OrderedDict: the layers' versions.
    state = self.stack.pop()
    if type(self.stack[-1]) is not dict or type(state) is not dict:
      raise ValueError('attributes of an object that cannot have any')
    for attribute in state:
      if attribute != '_metadata':
        refuse(f'the attribute {attribute}')

  def storage(self):
    """Replaces the description of a storage on the stack by a `Storage`."""
    match self.stack.pop():
      case ('storage', np.dtype() as dtype, str(key), str(), int(size)) | (
        'storage',
        np.dtype() as dtype,
        str(key),
        str(),
        int(size),
        None,
      ):
        storage = Storage(key, dtype, size)
      case _:
        raise ValueError('a reference to something that is not a storage')
    if self.storages.setdefault(key, storage) != storage:
      raise ValueError('a storage has different sizes or types')
    self.push(storage)


def _check_keys(keys):
  # Other keys, such as nested tuples, could take forever to hash.
  if not {type(key) for key in keys} <= {str, int}:
    raise ValueError('a key is neither text nor a number')


def _ordered_dict(pairs=()):
  if not all(type(x) in (list, tuple) and len(x) == 2 for x in pairs):
    raise ValueError('an item of an OrderedDict is not a pair')
  _check_keys([key for key, _ in pairs])
  result = dict(pairs)
  if pairs:
    pairs.clear()  # a long list that is used many times would take forever
  return result


def _tensor(storage, offset, shape, strides, *_):
  tensor = Tensor(storage, offset, shape, strides)
  check(tensor)
  return tensor


def _parameter(tensor, *_):
  return tensor


def _size(numbers):
  return numbers


# Stand-ins for the names in the file, by 'module name'.
_NAMES = {
  'collections OrderedDict': _ordered_dict,
  'torch Size': _size,
  'torch._utils _rebuild_tensor': _tensor,  # until 2017
  'torch._utils _rebuild_tensor_v2': _tensor,
  'torch._utils _rebuild_parameter': _parameter,
  'torch.nn.parameter Parameter': _parameter,
} | {
  f'{module} {name}': dtype
  for module in ('torch', 'torch.cuda')
  for name, dtype in STORAGES.items()
}

# Instruction -> (machine, argument) -> None.
ACTIONS = (
  dict.fromkeys(
    (
      *('BININT', 'BININT1', 'BININT2', 'LONG1', 'LONG4', 'BINFLOAT'),
      *('BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8'),
      *('BINSTRING', 'SHORT_BINSTRING'),
    ),
    Machine.push,
  )
  | {
    'NONE': lambda machine, _: machine.push(None),
    'NEWTRUE': lambda machine, _: machine.push(True),
    'NEWFALSE': lambda machine, _: machine.push(False),
    'EMPTY_DICT': lambda machine, _: machine.push({}),
    'EMPTY_LIST': lambda machine, _: machine.push([]),
    'EMPTY_TUPLE': lambda machine, _: machine.push(()),
    'TUPLE1': lambda machine, _: machine.tuple_of(1),
    'TUPLE2': lambda machine, _: machine.tuple_of(2),
    'TUPLE3': lambda machine, _: machine.tuple_of(3),
    'TUPLE': lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    'APPEND': lambda machine, _: machine.append(machine.pop(1)),
    'APPENDS': lambda machine, _: machine.append(machine.pop_to_mark()),
    'SETITEM': lambda machine, _: machine.set_items(machine.pop(2)),
    'SETITEMS': lambda machine, _: machine.set_items(machine.pop_to_mark()),
    'BINGET': lambda machine, place: machine.push(machine.memory[place]),
    'LONG_BINGET': lambda machine, place: machine.push(machine.memory[place]),
    'GLOBAL': lambda machine, name: machine.name(name),
    'INST': lambda machine, name: refuse(name),
    'STACK_GLOBAL': lambda machine, _: machine.name_on_stack(),
    'REDUCE': lambda machine, _: machine.reduce(),
    'BUILD': lambda machine, _: machine.build(),
    'BINPERSID': lambda machine, _: machine.storage(),
  }
  | dict.fromkeys(('BINPUT', 'LONG_BINPUT', 'MEMOIZE'), Machine.remember)
  | {'MARK': Machine.mark}
  | dict.fromkeys(('PROTO', 'FRAME', 'STOP'), lambda machine, _: None)
)
