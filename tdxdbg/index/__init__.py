"""Filters over millions of rows: columns of a recording, and the process that keeps them.

`window` reads rows from records, many at once; `columns` says what is kept of a row;
`store` keeps rows in the cache folder, `table` has all that were read or kept;
`server` is the process, `client` what the screen holds of it.
"""
