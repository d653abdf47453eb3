"""Over a whole run: the engine beside a recording, generations side by side."""
