# SPDX-License-Identifier: MIT
"""What each package offers in `__all__` is there, is explained, and can be imported without the rest."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("config", "io", "predictor", "schemas", "stages")


def module_name(path: Path) -> str:
    """`io/kafka.py` is usp.io.kafka; a package is named by its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("usp", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def offers(path: Path) -> list[str]:
    """The names in `__all__`, read without importing anything."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


FILES = [ROOT / "__init__.py", *sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
MODULES = {module_name(path): offers(path) for path in FILES}
PACKAGES = [module_name(path) for path in FILES if path.name == "__init__.py"]
OFFERING = [name for name, offered in MODULES.items() if offered]
OFFERED = [(name, offered) for name in OFFERING for offered in MODULES[name]]


@pytest.mark.parametrize("module", OFFERING)
def test_star_import_gives_what_is_offered(module):
    """`from MODULE import *` works, and no name is offered twice."""
    names: dict[str, object] = {}
    exec(f"from {module} import *", names)
    offered = importlib.import_module(module).__all__
    assert len(offered) == len(set(offered))
    assert set(offered) <= names.keys()


@pytest.mark.parametrize(("module", "name"), OFFERED, ids=".".join)
def test_what_is_offered_is_explained(module, name):
    """Functions and classes have a docstring of their own; what is called can say how."""
    found = getattr(importlib.import_module(module), name)
    if inspect.isclass(found) or inspect.isroutine(found):
        assert inspect.getdoc(found), f"{module}.{name}"
        assert not inspect.isroutine(found) or inspect.signature(found) is not None


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_for(module):
    """The first line of a module is for its reader."""
    assert (importlib.import_module(module).__doc__ or "").strip()


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_can_be_imported_first(package):
    """No import works only because another came before."""
    done = subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
