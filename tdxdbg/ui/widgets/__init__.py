"""Widgets below the panes: they draw lines and know nothing of traces."""
