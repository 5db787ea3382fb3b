"""One-file HTML pages: how they are put together, and what they share."""
