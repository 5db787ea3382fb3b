"""A step compiled for TPUs, none attached: memory, communication, time."""
