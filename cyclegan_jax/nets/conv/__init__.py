"""Forms of a convolution, of which each platform uses the fastest."""
