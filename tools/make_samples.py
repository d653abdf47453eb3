"""Writes sample_traces/*.tdxt out of the descriptions in tools/samples/*.toml.

    python tools/make_samples.py [-o FOLDER]

A description is TOML: `title` (one line, the explanation), `generation`, `td` (the
TD's parameters, as in a trace's metadata), `start` (seconds) and `journal` (see
sample_language.py). Its name is the sample's. The files are always the same,
byte for byte.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from tdxdbg.engine.generations import BY_NAME
from tdxdbg.traces.meta import TraceMeta, td_from_json
from tdxdbg.traces.records import Record
from tdxdbg.traces.writer import Writer

# Run as a file, this one's own folder is on the path and not the checkout.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from tools.sample_language import DescriptionError, read_journal

ROOT: Final = Path(__file__).resolve().parents[1]
DESCRIPTIONS: Final = ROOT / "tools" / "samples"
SAMPLES: Final = ROOT / "sample_traces"


def read_description(path: Path) -> tuple[TraceMeta, list[Record]]:
    """The metadata and the records of a description; DescriptionError names the line."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    if data["generation"] not in BY_NAME:
        raise DescriptionError(f"{path.name}: no generation {data['generation']!r}")
    meta = TraceMeta(
        source=f"hand-written: tools/samples/{path.name}",
        generation=data["generation"],
        origin="synthetic",
        title=data["title"],
        td=td_from_json(data.get("td", {})),
    )
    try:
        return meta, read_journal(data["journal"], data.get("start", 1.0))
    except DescriptionError as problem:
        raise DescriptionError(f"{path.name}: {problem}") from None


def descriptions() -> list[Path]:
    """Every description, by name."""
    return sorted(DESCRIPTIONS.glob("*.toml"))


def make(description: Path, folder: Path) -> Path:
    """Writes one sample trace into `folder`, over an older one."""
    meta, journal = read_description(description)
    target = folder / f"{description.stem}.tdxt"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        fresh = Path(scratch) / target.name
        with Writer(fresh, meta, buffered=True) as writer:
            for record in journal:
                writer.write(record)
        fresh.replace(target)
    return target


def main() -> int:
    """Writes all samples; 1 when a description is wrong."""
    parser = argparse.ArgumentParser(description="write sample_traces/ anew")
    parser.add_argument("-o", "--output", type=Path, default=SAMPLES, help="another folder")
    folder: Path = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    try:
        made = {make(path, folder) for path in descriptions()}
    except DescriptionError as problem:
        print(problem, file=sys.stderr)
        return 1
    for old in set(folder.glob("*.tdxt")) - made:
        old.unlink()
    print(f"{len(made)} samples in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
