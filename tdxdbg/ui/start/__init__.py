"""The start page: what can be opened, where no file was given."""
