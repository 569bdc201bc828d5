# SPDX-License-Identifier: MIT
"""The build fingerprint: two processes with the same one compute the same bits from the same input.

It covers jaxlib, XLA's flags, the device and the processor's instruction set, the lane width and the source of the
predictor; the configuration has a hash of its own.
"""

import os
import platform
from hashlib import sha256
from importlib import import_module, resources
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast


def prepare_jax(cache_dir: Path) -> None:
    """Keep compiled programs on disk, so that a restart loads them instead of compiling for seconds; one thread.

    Neither changes a bit. A step is too small to share: XLA's threads would double its processor time and slow it by
    a fifth. XLA reads their number from NPROC when it starts, which is at the first use of a device.
    """
    os.environ.setdefault("NPROC", "1")
    jax: Any = import_module("jax")
    cache_dir.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(cache_dir))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def build_fingerprint(predicting: bool, lane_width: int) -> str:
    """Sixteen hexadecimal digits that name this build on this machine."""
    parts = ["python", platform.python_version(), *sources("predictor", "stages" if not predicting else "")]
    if predicting:
        parts += [*device(), str(lane_width)]
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def device() -> list[str]:
    """jaxlib's version, XLA's flags as this process sees them, the device and the instruction set."""
    found: Any = cast(Any, import_module("jax")).devices()[0]
    flags = os.environ.get("XLA_FLAGS", "")  # XLA reads it, so it is part of the build
    return [version("jaxlib"), flags, found.platform, found.device_kind, instruction_set()]


def instruction_set() -> str:
    """The processor's features; other vector units give other bits."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {flags.partition(':')[2].strip()}"


def sources(*folders: str) -> list[str]:
    """Hashes of the source files of these sub-packages, in order of their names."""
    root = resources.files("usp")
    files = [path for folder in folders if folder for path in Path(str(root / folder)).rglob("*.py")]
    return [f"{path.name} {sha256(path.read_bytes()).hexdigest()}" for path in sorted(files)]
