"""Options by their names, 'section.key', in configs as nested dicts."""


def flatten(config, prefix=''):
  """{'section.key': value} of a nested dict."""
  options = {}
  for key, value in config.items():
    nested = isinstance(value, dict)
    options |= (
      flatten(value, f'{prefix}{key}.') if nested else {prefix + key: value}
    )
  return options
