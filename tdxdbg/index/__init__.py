"""Filters over millions of rows: columns of a recording, and the process that keeps them.

`columns` reads rows from records, many at once; `store` keeps the columns in
the cache folder; `server` is the process, `client` what the screen holds of it.
"""
