"""Single-file HTML pages: their assembly and shared styles and scripts."""
