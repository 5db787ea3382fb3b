"""Makes a one-file HTML page that translates pictures in a browser."""

# Types of the weights in a page; the first is the default.
WEIGHTS = ('float16', 'float32')
# Numbers of channels that a page supports: gray and RGB.
CHANNELS = {1, 3}
