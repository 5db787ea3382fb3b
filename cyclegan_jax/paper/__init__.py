"""The paper's experiments: what is run, how, and what is made of it."""
