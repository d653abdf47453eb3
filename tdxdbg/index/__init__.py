"""Columns of the common fields of every row, made once for a recording."""
