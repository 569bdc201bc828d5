# SPDX-License-Identifier: MIT
"""The pages about settings say what the code declares."""

from pathlib import Path

import pytest

from usp.config.deployment import SETTING_KEYS
from usp.config.model import KEYS, SYMBOL_KEYS
from usp.config.reference import settings_page, table

RUNBOOKS = Path(__file__).parents[2] / "runbooks"


def test_every_setting_is_on_the_page():
    """runbooks/settings.md has a row for every key of both kinds."""
    page = (RUNBOOKS / "settings.md").read_text(encoding="utf-8")
    specs = [*KEYS.values(), *SYMBOL_KEYS, *SETTING_KEYS.values()]
    assert [spec.path for spec in specs if f"| `{spec.name}` | {spec.key.doc}" not in page] == []


def test_the_page_is_fresh():
    """runbooks/settings.md equals what the declarations and the governor's lists give."""
    lists = pytest.importorskip("usp.io.config_mutation")
    page = (RUNBOOKS / "settings.md").read_text(encoding="utf-8")
    assert settings_page(lists.LOCKED_SUBSECTIONS, lists.VALIDATION_SCHEMA) == page, (
        "write settings_page(LOCKED_SUBSECTIONS, VALIDATION_SCHEMA) to runbooks/settings.md"
    )


def test_the_page_says_how_a_key_may_change():
    """Locked, mutable with its range, two-phase, and fixed."""
    page = settings_page(
        {"core": ["staleness_ttl_ns"]},
        {"orchestration.cusum_h": {"range": (2.0, 10.0)}, "kernels.dgm_depth": {"range": (2, 6)}},
    )
    ends = {line.split("`")[1]: line.split("|")[-2].strip() for line in page.splitlines() if line.startswith("| `")}
    found = [ends[name] for name in ("staleness_ttl_ns", "cusum_h", "dgm_depth", "prng_seed")]
    assert found == ["locked", "mutable, 2 to 10", "mutable, 2 to 6, two-phase", "fixed"]


def test_a_table_survives_a_bar_in_a_cell():
    """A bar inside a cell is escaped."""
    assert table(("a", "b"), [("x|y", "z")]) == "| a | b |\n| --- | --- |\n| x\\|y | z |\n"


@pytest.mark.parametrize(
    "key",
    [
        "sigma_val",
        "robustness_dimension_threshold",
        "kernel_d_depth",
        "sde_pid_rtol",
        "telemetry_placeholder_*",
        "pdf_grid_num_points",
    ],
)
def test_dropped_keys_are_explained(key):
    """A key of the reference that does not exist here has its reason on the decision page, and is no key."""
    page = (RUNBOOKS / "decisions" / "configuration-keys.md").read_text(encoding="utf-8")
    assert key in page
    assert not any(path.endswith(f".{key}") for path in KEYS)
