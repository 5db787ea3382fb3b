"""Conversion between a set of official .pth files and a model."""

import re

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.pth.epochs import has_heads
from cyclegan_jax.pth.layouts import export, recognise
from cyclegan_jax.pth.reading import read

# Official name of a network -> (group, which) in the parameters. The official
# D_A judges images of B, which G_A makes. pix2pix has one G and one D.
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
  """Reads official files and combines their networks to one model.

  Args:
    paths: .pth files, whose names end in net_G_A.pth, net_D_B.pth and the like;
      `networks` lists the names.

  Returns:
    (config, params): the options that the files determine, as nested dicts like
    a config, and {'gen': {direction: params}, 'disc': {domain: params}} of the
    networks in the files.

  Raises:
    UserError: a file cannot be read, or holds no official network or another
      network than its name says; two files hold the same network; or the files
      are not of one model.
  """
  return combine(networks(paths))


def combine(found):
  """Combines the networks that `networks` returned to one model.

  Args:
    found: {(group, which): (path, `layouts.Network`)}, with keys such as
      ('gen', 'a2b') and ('disc', 'b').

  Returns:
    (config, params): the options that the networks determine, as nested dicts
    like a config, and {'gen': {direction: params}, 'disc': {domain: params}}.

  Raises:
    UserError: the networks are not of one model.
  """
  config = _config(found)
  params = {'gen': {}, 'disc': {}}
  for (group, which), (_, network) in found.items():
    params[group][which] = network.params
  return config, params


def states(config, params, *, one_way=False):
  """Converts a model to the state_dicts of official files.

  Args:
    config: config as nested dicts; only the sections 'generator' and
      'discriminator' are used.
    params: {'gen': {direction: params}, 'disc': {domain: params}}.
    one_way: True to name the networks of direction a2b 'G' and 'D', as pix2pix
      and CUT do, and leave out the others.

  Returns:
    {official name: state_dict} of the networks in `params`. The names are
    'G_A', 'G_B', 'D_A' and 'D_B', or with `one_way` 'G' and 'D'.

  Raises:
    UserError: the official code does not have such a network, or the parameters
      do not fit the config.
  """
  return {
    name: export(
      _SECTIONS[group], config[_SECTIONS[group]], params[group][which]
    )
    for name, (group, which) in PLACES.items()
    if (len(name) == 1) == one_way and which in params.get(group, {})
  }


def networks(paths):
  """Reads the networks in official files.

  The name of a file must end in net_G_A.pth, net_G_B.pth, net_D_A.pth,
  net_D_B.pth, net_G.pth or net_D.pth. A single generator may have any other
  name and is used for a2b. Files that end in net_F.pth are skipped, because the
  projection heads of CUT are needed for training only.

  Args:
    paths: .pth files.

  Returns:
    {(group, which): (path, `layouts.Network`)}, with keys such as ('gen',
    'a2b') and ('disc', 'b').

  Raises:
    UserError: a file is not a .pth file, cannot be read, holds no official
      network or another network than its name says; two files hold the same
      network; or all files are net_F.
  """
  paths = [files.place(path) for path in paths]
  if all(map(has_heads, paths)):
    raise UserError(
      f'{paths[0]} holds projection heads, which only training needs: give the '
      'file of the generator, such as latest_net_G.pth'
    )
  read_ones = [(x, _recognised(x)) for x in paths if not has_heads(x)]
  generators = sum(x.kind == 'generator' for _, x in read_ones)
  found = {}
  for path, network in read_ones:
    place = _place(path, network.kind, generators)
    if place in found:
      raise UserError(
        f'{path} and {found[place][0]} hold the same network: give one of them'
      )
    found[place] = path, network
  return found


def _recognised(path):
  if path.suffix != '.pth':
    raise UserError(f'{path} is not a .pth file')
  return recognise(read(path), path)


def _place(path, kind, generators):
  """Returns (group, which) in the parameters for the network of a file.

  Args:
    path: path of the file.
    kind: 'generator' or 'discriminator', as found in the file.
    generators: number of generators in all files.

  Raises:
    UserError: the name of the file does not fit the network.
  """
  letter = kind[0].upper()
  match = _NAME.search(path.stem)
  if match and match[1][0] == letter:
    return PLACES[match[1]]
  if not match and kind == 'generator' and generators == 1:
    return PLACES['G']
  raise UserError(
    f'{path} holds a {kind}: rename it to latest_net_{letter}_A.pth or '
    f'latest_net_{letter}_B.pth'
  )


def _config(found):
  """Returns the options that networks determine, as nested dicts like a config.

  Raises:
    UserError: two files determine different values of an option.
  """
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
          f'{path} has {key}={value}, {other} has {there}: give only files of '
          'the same model'
        )
  if len(set(options['data'].values())) > 1:
    # With different channels, a generator cannot take images of its own output
    # domain, so there is no identity loss.
    options['loss'] = {'identity_a': 0.0, 'identity_b': 0.0}
  return options
