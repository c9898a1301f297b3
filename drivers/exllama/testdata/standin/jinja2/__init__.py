"""Stand-in for jinja2: see ../README.md."""
