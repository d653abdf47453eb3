"""Everything that has a key, by name: the command line, the palette and the help."""
