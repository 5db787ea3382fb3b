"""Several official files as one model."""

import re

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.pth.epochs import has_heads
from cyclegan_jax.pth.layouts import export, recognise
from cyclegan_jax.pth.reading import read

# What the official code calls a network -> (group, which) of the parameters.
# Its D_A judges pictures of B, which G_A makes; pix2pix has one G and one D.
PLACES = {
  'G_A': ('gen', 'a2b'),
  'G_B': ('gen', 'b2a'),
  'D_A': ('disc', 'b'),
  'D_B': ('disc', 'a'),
  'G': ('gen', 'a2b'),
  'D': ('disc', 'b'),
}
_NAME = re.compile(r'(?:^|_)net_([GD](?:_[AB])?)$')
_SECTIONS = {'gen': 'generator', 'disc': 'discriminator'}


def load(paths):
  """The model that official files hold.

  Args:
    paths: .pth files; see `networks`.

  Returns:
    The options they determine, as nested dicts like a config, and
    {'gen': {direction: params}, 'disc': {domain: params}}, what there is.

  Raises:
    UserError: see `networks`; files that are not of one model.
  """
  return combine(networks(paths))


def combine(found):
  """`load`, of what `networks` found."""
  config = _config(found)
  params = {'gen': {}, 'disc': {}}
  for (group, which), (_, network) in found.items():
    params[group][which] = network.params
  return config, params


def states(config, params, *, one_way=False):
  """The official files' contents of a model.

  Args:
    config: nested dicts, of which 'generator' and 'discriminator' are used.
    params: {'gen': {direction: params}, 'disc': {domain: params}}.
    one_way: whether the files are of a2b alone, as of pix2pix and CUT.

  Returns:
    {'G_A', 'G_B', 'D_A', 'D_B': state_dict}, what there is of them; with
    `one_way` {'G', 'D'}.

  Raises:
    UserError: a network that the official code does not have.
  """
  return {
    name: export(
      _SECTIONS[group], config[_SECTIONS[group]], params[group][which]
    )
    for name, (group, which) in PLACES.items()
    if (len(name) == 1) == one_way and which in params.get(group, {})
  }


def networks(paths):
  """The networks in official files.

  Names end in net_G_A.pth, net_G_B.pth, net_D_A.pth, net_D_B.pth, net_G.pth or
  net_D.pth. A generator of any other name is taken for a2b if it is the only
  one. Files that end in net_F.pth are skipped: CUT trains with what they hold.

  Args:
    paths: .pth files.

  Returns:
    {(group, which): (path, `Network`)}, such as ('gen', 'a2b').

  Raises:
    UserError: a file that is none, holds no official network, another than its
      name says, or one that another file holds; nothing but net_F.
  """
  paths = [files.place(path) for path in paths]
  if all(map(has_heads, paths)):
    raise UserError(
      f'{paths[0]} holds projection heads, which training alone needs: give '
      'the file of the generator, such as latest_net_G.pth'
    )
  read_ones = [(x, _recognised(x)) for x in paths if not has_heads(x)]
  generators = sum(x.kind == 'generator' for _, x in read_ones)
  found = {}
  for path, network in read_ones:
    place = _place(path, network.kind, generators)
    if place in found:
      raise UserError(
        f'{path} and {found[place][0]} are both of one network: give one'
      )
    found[place] = path, network
  return found


def _recognised(path):
  if path.suffix != '.pth':
    raise UserError(f'{path} is no .pth file')
  return recognise(read(path), path)


def _place(path, kind, generators):
  """(group, which) of a file's network."""
  letter = kind[0].upper()
  match = _NAME.search(path.stem)
  if match and match[1][0] == letter:
    return PLACES[match[1]]
  if not match and kind == 'generator' and generators == 1:
    return PLACES['G']
  raise UserError(
    f'{path} holds a {kind}: call it latest_net_{letter}_A.pth or '
    f'latest_net_{letter}_B.pth'
  )


def _config(found):
  """The options that networks determine, as nested dicts like a config."""
  options, sources = {'data': {}}, {}
  for (group, which), (path, network) in found.items():
    section = _SECTIONS[group]
    facts = {f'{section}.{name}': x for name, x in network.options.items()}
    facts[f'data.channels_{which[0]}'] = network.in_channels
    if group == 'gen':
      facts[f'data.channels_{which[-1]}'] = network.out_channels
    for key, value in facts.items():
      section, name = key.split('.')
      there = options.setdefault(section, {}).setdefault(name, value)
      other = sources.setdefault(key, path)
      if there != value:
        raise UserError(
          f'{path} has {key}={value}, {other} has {there}: leave out what is '
          'not of the same CycleGAN'
        )
  if len(set(options['data'].values())) > 1:
    # No picture of one domain is the other's: no generator keeps it as it is.
    options['loss'] = {'identity_a': 0.0, 'identity_b': 0.0}
  return options
