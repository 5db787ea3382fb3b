"""Analysis of a step compiled for TPUs: memory, communication and time.

No TPU is needed.
"""
