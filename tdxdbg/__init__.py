"""tdxdbg: the terminal debugger for Intel TDX guest exits."""

__version__ = "0.1.0"
