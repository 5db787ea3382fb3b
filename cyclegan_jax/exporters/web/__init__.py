"""A page that translates pictures in a browser: one file, no server."""

# Types that a page stores weights in; the first is the default.
WEIGHTS = ('float16', 'float32')
# Numbers of channels of pictures that a page shows, as gray and as RGB.
CHANNELS = {1, 3}
