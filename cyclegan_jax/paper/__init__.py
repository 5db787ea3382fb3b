"""Experiments of the paper: their runs, commands, tables and figures."""
