# SPDX-License-Identifier: MIT
import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from usp.io.line_log import LineLog
from usp.io.parity import parity_hashes
from usp.io.parity_compare import Log, compare, log_of
from usp.io.telemetry_line import Source, TelemetryLine
from usp.stages.commands.parity import app

WEIGHTS = [0.1, 0.2, 0.3, 0.4]


def step(n: int, build: str = "one", **other: Any) -> dict[str, Any]:
    """One line of a parity log."""
    plain: dict[str, Any] = {
        "record_id": f"id{n}",
        "symbol": "X",
        "step": n,
        "origin_partition": 0,
        "origin_offset": n,
        "timestamp_ns": n,
        "prediction": 100.0 + n,
        "weights": WEIGHTS,
        "ot_cost": 0.25,
        "free_energy": -0.5,
        "emergency_mode": False,
        "build": build,
    }
    line = plain | other
    return {"parity_hashes": dict(parity_hashes(line["weights"], line["ot_cost"], "sha256"))} | line


def logs(*pairs: tuple[dict[str, Any], dict[str, Any]]) -> tuple[Log, Log]:
    """Both logs of pairs of lines."""
    return log_of(a for a, _ in pairs), log_of(b for _, b in pairs)


def test_equal_runs_of_one_build_are_equal_bit_for_bit():
    """One zero and one NaN: their signs and payloads are no difference."""
    found = compare(*logs((step(1, ot_cost=0.0), step(1, ot_cost=-0.0)), (step(2), step(2))))
    assert (found.equal(), found.exact, found.within, found.different) == (True, 2, 0, 0)
    found = compare(*logs((step(1, free_energy="NaN"), step(1, free_energy="NaN"))))
    assert found.equal()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", [math.nextafter(0.1, 1.0), 0.2, 0.3, 0.4]),
        ("ot_cost", math.nextafter(0.25, 1.0)),
        ("prediction", math.nextafter(103.0, 200.0)),
        ("emergency_mode", True),
        ("free_energy", "NaN"),
        ("parity_hashes", {"rho_sha256": "00"}),
    ],
)
def test_within_a_build_the_last_bit_counts(name: str, value: Any):
    """The first step that differs is told, with what differs."""
    pairs = [(step(n), step(n, **({name: value} if n >= 3 else {}))) for n in range(6)]
    found = compare(*logs(*pairs))
    assert not found.equal()
    assert found.different == 3
    assert found.first is not None
    assert (found.first.step, found.first.what) == (3, name)


def test_between_builds_a_tolerance_counts():
    """Relative L2 over all steps, the worst step told; flags stay exact."""
    near = [(step(n), step(n, "two", prediction=(100.0 + n) * (1 + 1e-9))) for n in range(1, 6)]
    found = compare(*logs(*near))
    assert (found.equal(), found.exact, found.within) == (True, 0, 5)
    assert found.distances["prediction"].relative() == pytest.approx(1e-9, rel=1e-3)
    assert found.distances["prediction"].at is not None
    far = [*near, (step(9), step(9, "two", weights=[0.2, 0.1, 0.3, 0.4]))]
    found = compare(*logs(*far))
    assert (found.equal(), found.beyond()) == (False, ["weights"])
    flags = compare(*logs((step(1), step(1, "two", emergency_mode=True))))
    assert (flags.equal(), flags.first and flags.first.what) == (False, "emergency_mode")
    assert not compare(*logs((step(1), step(1, "two", weights=[1.0])))).equal()
    assert not compare(*logs((step(1), step(1, "two", ot_cost="NaN")))).equal()


def test_a_build_that_is_not_known_is_never_the_same_build():
    """No fingerprint, no exact comparison."""
    found = compare(*logs((step(1, build=None), step(1, build=None))))
    assert (found.exact, found.within) == (0, 1)


def test_what_only_one_log_has_is_told():
    """Unpaired steps and the gaps that a log itself admits; nothing in common is not equal."""
    a = log_of([step(1), step(2), {"gap": {"symbol": "X", "after_step": 2, "before_step": 6}}, {"log_restarted": True}])
    b = log_of([step(2), step(3), {"gap": None}])
    found = compare(a, b)
    assert found.equal()
    assert (found.only_a, found.only_b, found.missing_a, found.missing_b) == (1, 1, 3, 0)
    assert found.first_only is not None
    assert found.first_only.step == 1
    assert not compare(log_of([step(1)]), log_of([step(2)])).equal()


def test_the_same_id_for_another_tick_is_a_difference():
    """Ids are hashes of the origin; a clash is a fault."""
    found = compare(*logs((step(1), step(1, origin_offset=7))))
    assert (found.equal(), found.first and found.first.what) == (False, "origin_offset")


def written(path: Path, *steps: dict[str, Any]) -> Path:
    """A log as the sink writes it."""
    names = ("record_id", "symbol", "step")
    LineLog(path).append(
        [
            TelemetryLine(
                each["record_id"],
                each["symbol"],
                each["step"],
                1,
                Source(0, each["step"], 0, each["step"]),
                {name: value for name, value in each.items() if name not in names},
            )
            for each in steps
        ]
    )
    return path


def test_the_command_tells_and_ends_accordingly(tmp_path: Path):
    """0 for equal, 5 for different, 2 for no log; `--json` has the first difference; a torn tail is no difference."""
    a = written(tmp_path / "a/io/parity.jsonl", *(step(n) for n in range(5)))
    b = written(tmp_path / "b.jsonl", *(step(n) for n in range(5)))
    b.write_bytes(b.read_bytes() + b'{"chain":"torn')
    run = CliRunner().invoke
    same = run(app, ["compare", str(tmp_path / "a"), str(b)])
    assert (same.exit_code, "5" in same.output) == (0, True)
    c = written(tmp_path / "c.jsonl", *(step(n, prediction=1.5 if n == 3 else 100.0 + n) for n in range(5)))
    other = run(app, ["compare", str(a), str(c), "--json"])
    assert other.exit_code == 5
    assert json.loads(other.stdout)["first_difference"]["step"] == 3
    assert run(app, ["compare", str(a), str(tmp_path / "none")]).exit_code == 2
    assert run(app, ["verify", str(a)]).exit_code == 0
    a.write_bytes(a.read_bytes().replace(b'"ot_cost":0.25', b'"ot_cost":0.26', 1))
    broken = run(app, ["verify", str(a)])
    assert (broken.exit_code, "broken" in broken.output) == (5, True)
    assert run(app, ["compare", str(a), str(b)]).exit_code == 5
