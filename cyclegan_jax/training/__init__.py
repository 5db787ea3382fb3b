"""The engine: runs any Method, and knows none by name."""
