# SPDX-License-Identifier: MIT
"""Passwords and keys come from the environment or from a .env file, never from code or configuration files.

The caller passes the environment; values are never printed, only whether they are there.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv import dotenv_values


class MissingCredentialError(LookupError):
    """A credential that is needed is not set, or set to nothing. The message holds names, never values."""


def load_env_file(path: Path) -> dict[str, str]:
    """KEY=VALUE lines; comments and quotes as usual, nothing is expanded. A file that is not there is empty."""
    if not path.is_file():
        return {}
    try:
        found = dotenv_values(path, interpolate=False, encoding="utf-8")
    except UnicodeDecodeError as fault:
        raise MissingCredentialError(f"{path}: found bytes that are no UTF-8 text, expected KEY=VALUE lines") from fault
    return {name: value for name, value in found.items() if value is not None}


def find_credential(name: str, environ: Mapping[str, str], env_file: Path | None = None) -> str | None:
    """The value from the environment, else from the file; None if it is set nowhere or to nothing."""
    value = environ.get(name)
    if not value and env_file is not None:
        value = load_env_file(env_file).get(name)
    return value or None


def get_credential(name: str, environ: Mapping[str, str], env_file: Path | None = None) -> str:
    """As `find_credential`, but MissingCredentialError says where to put it."""
    value = find_credential(name, environ, env_file)
    if value is None:
        state = "found it empty" if name in environ else "found it nowhere"
        places = f"the environment or {env_file}" if env_file is not None else "the environment"
        raise MissingCredentialError(f"credential {name}: {state}, expected a value in {places}")
    return value


def get_credentials(names: Iterable[str], environ: Mapping[str, str], env_file: Path | None = None) -> dict[str, str]:
    """All of them, or one MissingCredentialError that names every missing one."""
    found = {name: find_credential(name, environ, env_file) for name in names}
    missing = sorted(name for name, value in found.items() if value is None)
    if missing:
        places = f"the environment or {env_file}" if env_file is not None else "the environment"
        raise MissingCredentialError(f"credentials {', '.join(missing)}: found none, expected values in {places}")
    return {name: value for name, value in found.items() if value is not None}


def describe_credential(name: str, environ: Mapping[str, str], env_file: Path | None = None) -> str:
    """`set` or `missing`, for reports; the value, its length and its hash stay secret."""
    return "missing" if find_credential(name, environ, env_file) is None else "set"
