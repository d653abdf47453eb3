"""The command line. Commands are thin and import what they need when they run."""

from tdxdbg.cli.group import main

__all__ = ["main"]
