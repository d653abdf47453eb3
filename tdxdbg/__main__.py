"""`python -m tdxdbg`."""

from tdxdbg.cli import main

if __name__ == "__main__":
    main()
