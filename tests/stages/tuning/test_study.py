# SPDX-License-Identifier: MIT
"""The search: what it may vary, that resuming changes nothing, when it ends, and what it would propose."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from usp.config.model import ModelConfig, is_structural, packaged_defaults
from usp.io.mutation_rules import VALIDATION_SCHEMA, refusal, validate_delta
from usp.predictor.tuning import Cell
from usp.stages.tuning.space import Dimension, changed, changes_of, space_of
from usp.stages.tuning.study import Plan, Search, UnlikeRecord, essential, search

CONFIG = packaged_defaults()


@dataclass
class Memory:
    """A log in memory, through the same text as a file."""

    batches: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def append(self, document: Any) -> None:
        """Keep one line."""
        self.batches.append(json.loads(json.dumps(document, allow_nan=False)))


def bowl(configs: Sequence[ModelConfig]) -> list[list[Cell]]:
    """Errors with a known best: cusum_k at 0.3 and volatility_alpha at 0.12; nothing else matters."""
    return [
        [cell(1.0 + (c.orchestration.cusum_k - 0.3) ** 2 + 4 * (c.orchestration.volatility_alpha - 0.12) ** 2)]
        for c in configs
    ]


def flat(configs: Sequence[ModelConfig]) -> list[list[Cell]]:
    """Nothing matters."""
    return [[cell(1.0)] for _ in configs]


def cell(value: float) -> Cell:
    """A cell with this relative RMSE."""
    return Cell(10, value**2, 1.0, value, value, 1, 1.0)


def plan(trials: int, tier: Any = "fast") -> Plan:
    """A search around the packaged configuration."""
    return Plan(CONFIG, space_of(CONFIG, tier), "rmse", trials)


def last(found: Any) -> Search:
    """The search after its last batch."""
    return [*found][-1]


@pytest.mark.parametrize("tier", ["fast", "deep"])
def test_every_corner_of_the_space_would_be_accepted(tier: Any) -> None:
    """Each end of each dimension is mutable, in range, and one step away; nothing locked is in the space."""
    for dimension in space_of(CONFIG, tier).dimensions:
        for value in {dimension.low, dimension.high, *dimension.choices}:
            assert refusal(dimension.key, value) is None
            assert validate_delta({dimension.key: (dimension.current, value)}) == (True, "OK")


def test_tiers_have_the_stated_number_of_parameters() -> None:
    """Six in the fast tier, twenty-three in the deep one, which contains it."""
    fast, deep = ({d.key for d in space_of(CONFIG, tier).dimensions} for tier in ("fast", "deep"))
    assert (len(fast), len(deep)) == (6, 23)
    assert fast < deep


def test_without_structural_keys_one_program_serves_all() -> None:
    """What is left needs no compilation, and what is left out is told."""
    space = space_of(CONFIG, "deep", structural=False)
    assert not any(is_structural(d.key) for d in space.dimensions)
    assert all(is_structural(key) for key in space.left_out)
    assert len(space.dimensions) + len(space.left_out) == 23


@given(st.sampled_from(sorted(VALIDATION_SCHEMA)), st.floats(0.0, 1.0))
def test_the_space_follows_the_present_value(key: str, place: float) -> None:
    """Wherever a key stands inside its range, what is searched is within one step of it."""
    low, high = VALIDATION_SCHEMA[key]["range"]
    section, name = key.split(".")
    value = low + place * (high - low)
    value = (
        2 ** round(place * 3 + 6)
        if "buffer" in name
        else int(value)
        if VALIDATION_SCHEMA[key]["type"] is int
        else value
    )
    moved = replace(CONFIG, **{section: replace(getattr(CONFIG, section), **{name: value})})
    for dimension in space_of(moved, "deep").dimensions:
        if dimension.key == key and refusal(key, value) is None:
            for end in {dimension.low, dimension.high, *dimension.choices}:
                assert validate_delta({key: (value, end)}) == (True, "OK")
                assert refusal(key, end) is None


def test_it_finds_the_best_of_a_bowl() -> None:
    """Two parameters matter of six, and fifty trials find them."""
    found = last(search(plan(50), bowl, Memory()))
    assert found.best is not None
    assert found.current == pytest.approx(1.0416)
    assert found.best.value < 1.003


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_an_interrupted_search_goes_on_bit_for_bit(stop_after: int) -> None:
    """Stopped after any batch and resumed, a search makes the very trials of one that was never stopped."""
    whole, parts = Memory(), Memory()
    expected = last(search(plan(50), bowl, whole)).trials
    running = search(plan(50), bowl, parts)
    for _ in range(stop_after):
        next(running)
    assert last(search(plan(50), bowl, parts)).trials == expected
    assert parts.batches == whole.batches


def test_a_short_search_resumed_for_more_is_the_long_search() -> None:
    """25 + 25 trials are 50 trials."""
    parts = Memory()
    last(search(plan(25), bowl, parts))
    assert last(search(plan(50), bowl, parts)).trials == last(search(plan(50), bowl, Memory())).trials


def test_what_is_recorded_is_not_measured_again() -> None:
    """A finished search that is resumed measures nothing."""
    log = Memory()
    expected = last(search(plan(26), bowl, log)).best

    def never(configs: Sequence[ModelConfig]) -> list[list[Cell]]:
        raise AssertionError("measured again")

    assert last(search(plan(26), never, log)).best == expected


def test_a_changed_record_is_refused() -> None:
    """Parameters that this search would not have drawn are not believed."""
    log = Memory()
    last(search(plan(26), bowl, log))
    log.batches[2]["trials"][3]["params"]["orchestration.cusum_k"] = 0.5
    with pytest.raises(UnlikeRecord, match="from number 10 on"):
        last(search(plan(26), bowl, log))


def test_the_seed_decides_the_trials() -> None:
    """Another root seed is another search."""
    other = replace(CONFIG, core=replace(CONFIG.core, prng_seed=7))
    one, two = (last(search(Plan(c, space_of(c, "fast"), "rmse", 10), flat, Memory())) for c in (CONFIG, other))
    assert [t.params for t in one.trials] != [t.params for t in two.trials]


def test_it_stops_when_nothing_improves() -> None:
    """Fifty trials without an improvement are enough, however many were asked for."""
    found = last(search(plan(500), flat, Memory()))
    assert 50 <= len(found.trials) < 58
    assert found.best is not None
    assert found.best.value == found.current


def test_candidates_that_break_a_rule_between_keys_are_told_and_never_win() -> None:
    """A space whose keys do not fit together yields trials without a value, and the search goes on."""
    low = Dimension("orchestration.sinkhorn_epsilon_min", 0.01, 0.05, 0.1, False, True)
    high = Dimension("orchestration.sinkhorn_epsilon_0", 0.1, 0.05, 0.08, False, False)
    given_plan = plan(50)
    odd = replace(given_plan, space=replace(given_plan.space, dimensions=(low, high)))
    log = Memory()
    found = last(search(odd, flat, log))
    values = [trial["value"] for batch in log.batches[1:] for trial in batch["trials"]]
    assert None in values
    assert any(value is not None for value in values)
    assert found.best is not None
    assert found.best.values[low.key] <= found.best.values[high.key]


def test_a_proposal_names_only_what_matters() -> None:
    """Changes that do nothing are taken back before anything is proposed."""
    given_plan = plan(50)
    best = last(search(given_plan, bowl, Memory())).best
    assert best is not None
    assert len(changes_of(given_plan.space, best.values)) > 2
    kept = essential(given_plan, best.values, best.value, bowl)
    assert set(kept) <= {"orchestration.cusum_k", "orchestration.volatility_alpha"}
    assert bowl([changed(CONFIG, kept)])[0][0].squared <= (best.value + 1e-4) ** 2


@pytest.mark.slow
def test_it_beats_random_search() -> None:
    """Over twenty seeds the best of fifty modelled trials is better than that of fifty random ones, p < 0.05."""
    best: dict[int, list[float]] = {10: [], 50: []}
    for startup in best:
        for seed in range(20):
            settings = replace(CONFIG.meta_optimization, n_startup_trials=startup)
            config = replace(CONFIG, core=replace(CONFIG.core, prng_seed=seed), meta_optimization=settings)
            found = last(search(Plan(config, space_of(config, "fast"), "rmse", 50, patience=1000), bowl, Memory())).best
            assert found is not None
            best[startup].append(found.value)
    assert mannwhitneyu(best[10], best[50], alternative="less").pvalue < 0.05
