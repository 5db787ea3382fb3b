"""Contents of the report of a run, and the scripts that draw its page."""
