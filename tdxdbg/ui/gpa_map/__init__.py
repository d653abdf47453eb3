"""The GPA map: what part of the space is seen, what its cells are, and how they are drawn."""
