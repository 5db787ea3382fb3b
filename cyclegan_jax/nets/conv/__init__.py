"""Forms of a convolution; the fastest one is chosen for each platform."""
