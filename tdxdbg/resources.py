"""Where the themes and the sample traces are, in a checkout and in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_ENDINGS = (".tdxt", ".tdxt.zst")


def themes_dir() -> Path:
    """The folder of the shipped themes, one `*.toml` file each."""
    return _data("themes")


def samples_dir() -> Path:
    """The folder of the shipped sample traces."""
    return _data("sample_traces")


def sample_paths() -> list[Path]:
    """The shipped sample traces, by name: recordings, and long ones as archives."""
    files = samples_dir().iterdir()
    return sorted(path for path in files if path.name.endswith(_ENDINGS))


def sample_name(path: Path) -> str:
    """What a sample is called."""
    return path.name.partition(".")[0]


def _data(name: str) -> Path:
    """The folder `name`: inside an installed package, beside it in a checkout."""
    installed = _PACKAGE / "data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name
