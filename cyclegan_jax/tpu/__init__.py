"""A step compiled for TPUs: memory, communication, time, with no TPU attached."""
