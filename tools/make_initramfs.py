"""Writes an initramfs with busybox in it, for `tdxdbg linux` or for QEMU.

busybox is that of tools/fetch_kernels when it was fetched, else this system's;
it has to be linked statically. The same busybox gives the same bytes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from tdxdbg.backends.initramfs import INIT, busybox_initramfs
from tdxdbg.errors import BackendError

ROOT = Path(__file__).resolve().parents[1]
#: Where tools/fetch_kernels leaves what it fetches.
CACHE = Path(os.environ.get("TDXDBG_KERNELS") or ROOT / ".cache" / "kernels")


def find_busybox() -> Path | None:
    fetched = CACHE / "busybox" / "busybox"
    if fetched.is_file():
        return fetched
    found = shutil.which("busybox")
    return Path(found) if found else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--busybox", type=Path, default=find_busybox())
    parser.add_argument("--init", type=Path, help="another script or program for /init")
    args = parser.parse_args()
    if args.busybox is None:
        parser.error("no busybox: tools/fetch_kernels busybox")
    try:
        init = args.init.read_bytes() if args.init else INIT
        args.out.write_bytes(busybox_initramfs(args.busybox.read_bytes(), init))
    except (OSError, BackendError) as error:
        print(f"make_initramfs: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
