"""The screen of a live run: a recording that grows, and what a running guest can be asked."""
