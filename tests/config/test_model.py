# SPDX-License-Identifier: MIT
"""The model configuration: closed, ranged, frozen, with one byte string and one hash."""

import copy
import dataclasses
import hashlib
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usp.config import ConfigError, load, packaged_defaults
from usp.config.keys import Interval
from usp.config.model import (
    KEYS,
    SECTIONS,
    SYMBOL_KEYS,
    from_canonical_bytes,
    is_structural,
    packaged_text,
    require_writable_format,
    spec_of,
)
from usp.config.template import config_file

DEFAULTS = packaged_defaults()
MUTABLE = """
orchestration.cusum_k orchestration.cusum_h orchestration.grace_period_steps orchestration.volatility_alpha
orchestration.learning_rate orchestration.entropy_window orchestration.entropy_threshold
orchestration.holder_threshold orchestration.sinkhorn_alpha orchestration.sinkhorn_epsilon_min
orchestration.sinkhorn_epsilon_0 orchestration.sinkhorn_max_iter kernels.log_sig_depth kernels.wtmm_buffer_size
kernels.besov_cone_c kernels.dgm_width_size kernels.dgm_depth kernels.dgm_entropy_num_bins kernels.stiffness_low
kernels.stiffness_high kernels.sde_dt kernels.sde_numel_integrations kernels.sde_diffusion_sigma
kernels.kernel_ridge_lambda
"""
LOCKED = """
meta.schema_version core.jax_platforms core.jax_default_dtype core.float_precision core.staleness_ttl_ns
io.snapshot_format io.snapshot_hash_algorithm io.snapshot_compression io.telemetry_hash_interval_steps
io.telemetry_hash_algorithm io.telemetry_buffer_capacity meta_optimization.n_trials
meta_optimization.n_startup_trials meta_optimization.multivariate meta_optimization.train_ratio
meta_optimization.n_folds
"""


def with_values(**values):
    """The defaults as a mapping, with `section__key` replaced."""
    mapping = DEFAULTS.to_mapping()
    for path, value in values.items():
        section, _, key = path.partition("__")
        mapping[section][key] = value
    return mapping


def problems_of(mapping):
    """Where and what `load` complains about."""
    with pytest.raises(ConfigError) as caught:
        load(mapping)
    return {problem.where: str(problem) for problem in caught.value.problems}


def test_every_key_that_a_mutation_or_a_lock_names_exists():
    """The mutation schema and the lock list name keys of the file, none of which was dropped."""
    assert [path for path in (MUTABLE + LOCKED).split() if path not in KEYS] == []


def test_the_shipped_file_is_made_from_the_declarations():
    """Every key of config.toml carries a comment with meaning, unit and range, the ones declared in the code."""
    assert config_file(DEFAULTS) == packaged_text()


@pytest.mark.parametrize("spec", [*KEYS.values(), *SYMBOL_KEYS], ids=lambda spec: spec.path)
def test_every_key_is_documented(spec):
    """Each key says what it means, and its range reads as an interval that is not empty."""
    low, high = Interval(spec.key.range).bounds
    assert spec.key.doc
    assert spec.expected
    assert low < high


def out_of_range():
    """One value outside of each finite end of each numeric range."""
    for path, spec in KEYS.items():
        low, high = Interval(spec.key.range).bounds
        for end, away in ((low, -1), (high, 1)):
            if spec.kind in (int, float) and abs(end) != float("inf"):
                beyond = end if end not in Interval(spec.key.range) else end + away * max(1, abs(end))
                yield pytest.param(path, spec.kind(beyond), id=f"{path}={beyond:g}")


@pytest.mark.parametrize(("path", "value"), list(out_of_range()))
def test_a_number_outside_of_its_range_is_refused(path, value):
    """The message names the key, what was found and what was expected."""
    message = problems_of(with_values(**{path.replace(".", "__"): value}))[path]
    assert repr(value) in message
    assert KEYS[path].expected in message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("core__prng_seed", True),
        ("core__prng_seed", 42.0),
        ("core__prng_seed", "42"),
        ("core__prng_seed", 2**63),
        ("core__float_precision", 32),
        ("core__float_precision", 64.0),
        ("core__lane_width", 20),
        ("orchestration__cusum_h", True),
        ("orchestration__cusum_h", float("nan")),
        ("orchestration__cusum_h", float("inf")),
        ("orchestration__cusum_h", None),
        ("orchestration__robustness_force_kernel_d", 1),
        ("orchestration__sinkhorn_cost_type", "cubic"),
        ("kernels__wtmm_buffer_size", 96),
        ("bank__restart_orders", []),
        ("bank__restart_orders", [5, 3]),
        ("bank__restart_orders", [2, 2]),
        ("bank__restart_orders", 3),
        ("bank__gibbs_discounts", [0.9, 0.99]),
        ("bank__forgetting_orders", [1, 2, 3, 4, 5]),
        ("meta__schema_version", ""),
        ("meta__schema_version", "1\n0"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(path, value):
    """True is no number, a text is no number, NaN and infinity are no values, lists have their length and order."""
    assert path.replace("__", ".") in problems_of(with_values(**{path: value}))


def test_a_whole_number_is_taken_for_a_number():
    """`sigma_bound = 20` and `sigma_bound = 20.0` are the same configuration; so are 0.0 and -0.0."""
    same = load(with_values(orchestration__sigma_bound=20, kernels__kernel_c_mu=-0.0))
    assert DEFAULTS.content_hash == same.content_hash


@pytest.mark.parametrize("path", KEYS)
def test_a_missing_key_is_refused(path):
    """There are no hidden defaults."""
    section, _, key = path.partition(".")
    mapping = DEFAULTS.to_mapping()
    del mapping[section][key]
    assert "absent" in problems_of(mapping)[path]


def test_an_unknown_key_names_the_nearest():
    """A typing error is answered with the name that was meant."""
    mapping = with_values(orchestration__cusum_hh=5.0)
    assert "Did you mean 'cusum_h'?" in problems_of(mapping)["orchestration.cusum_hh"]


def test_an_unknown_section_names_the_nearest():
    """A section that does not exist is refused, and so is a section that is missing or is no table."""
    mapping = DEFAULTS.to_mapping()
    mapping["kernel"] = mapping.pop("kernels")
    mapping["io"] = 3
    found = problems_of(mapping)
    assert "Did you mean 'kernels'?" in found["[kernel]"]
    assert {"[kernels]", "[io]"} <= set(found)


def test_all_problems_are_told_at_once():
    """One error lists every fault of a file, with its source, so that it is corrected in one go."""
    mapping = with_values(core__prng_seed=-1, io__snapshot_format="json", orchestration__cusum_k=-1.0)
    del mapping["bank"]["scale_steps"]
    expected = {"core.prng_seed", "io.snapshot_format", "orchestration.cusum_k", "bank.scale_steps"}
    assert expected == set(problems_of(mapping))


@pytest.mark.parametrize(
    ("values", "blamed"),
    [
        (
            {"orchestration__sinkhorn_epsilon_min": 0.1, "orchestration__sinkhorn_epsilon_0": 0.05},
            "sinkhorn_epsilon_min",
        ),
        ({"orchestration__entropy_volatility_low_threshold": 0.2}, "entropy_volatility_low_threshold"),
        ({"orchestration__entropy_window_bounds_min": 501}, "entropy_window_bounds_min"),
        ({"orchestration__entropy_window": 501}, "entropy_window"),
        ({"orchestration__stiffness_min_low": 1000.0}, "stiffness_min_low"),
        ({"kernels__stiffness_low": 1000.0}, "stiffness_low"),
        ({"kernels__wtmm_q_max": -2.0}, "wtmm_q_min"),
        ({"kernels__wtmm_h_min": 1.5}, "wtmm_h_min"),
        ({"kernels__kurtosis_max": 1.0}, "kurtosis_min"),
        ({"kernels__base_min_signal_length": 7}, "base_min_signal_length"),
        ({"bank__lattice_orders": [1, 51]}, "lattice_orders"),
        ({"bank__forgetting_orders": [[21], [1], [2], [2], [1]]}, "forgetting_orders"),
        ({"bank__forgetting": [0.9]}, "forgetting_orders"),
        ({"bank__interval_window": 250, "orchestration__residual_window_size": 250}, "interval_window"),
        ({"bank__holder_hysteresis": 0.5, "orchestration__holder_threshold": 0.6}, "holder_hysteresis"),
        ({"meta_optimization__search_cusum_k": [1.0, 0.1]}, "search_cusum_k"),
        ({"meta_optimization__search_dgm_width_size": [32, 96]}, "search_dgm_width_size"),
        ({"meta_optimization__search_log_sig_depth": [1, 3]}, "search_log_sig_depth"),
        ({"meta_optimization__fast_tier": ["cusum_kk"]}, "fast_tier"),
        ({"meta_optimization__log_scaled": ["sde_dt", "sde_dt"]}, "log_scaled"),
    ],
)
def test_a_broken_rule_between_keys_is_refused(values, blamed):
    """Values that are fine alone and impossible together are refused, with the key to change named."""
    assert [blamed] == [where.partition(".")[2] for where in problems_of(with_values(**values))]


def test_a_symbol_inherits_what_it_does_not_name():
    """A symbol's table holds only what differs; an unlisted symbol has the default entry."""
    mapping = with_values(io__frozen_signal_min_steps=7)
    mapping["symbols"] = {"default": {"kind": "any", "nominal_interval_ns": 0}, "BRK.B": {"bank": "full"}}
    config = load(mapping)
    listed, unlisted = config.symbols["BRK.B"], config.symbols["MSFT"]
    assert (listed.bank, listed.frozen_signal_min_steps, listed.kind) == ("full", 7, "any")
    assert unlisted == config.symbols.default == config.symbols.get("MSFT")
    assert list(config.symbols) == ["BRK.B"]
    assert "MSFT" not in config.symbols


@pytest.mark.parametrize(
    ("symbols", "where"),
    [
        ({}, "[symbols]"),
        ({"default": {"kind": "any"}}, "symbols.default.nominal_interval_ns"),
        ({"default": {"kind": "any", "nominal_interval_ns": -1}}, "symbols.default.nominal_interval_ns"),
        ({"default": {"kind": "any", "nominal_interval_ns": 0}, "A": {"knd": "any"}}, "symbols.A.knd"),
        ({"default": {"kind": "any", "nominal_interval_ns": 0}, "A": {"kind": "option"}}, "symbols.A.kind"),
        ({"default": {"kind": "any", "nominal_interval_ns": 0}, "A": 3}, "[symbols.A]"),
        ({"default": {"kind": "any", "nominal_interval_ns": 0}, "": {}}, "symbols.''"),
        ({"default": {"kind": "any", "nominal_interval_ns": 0}, "\ud800": {}}, "symbols.'\\ud800'"),
    ],
)
def test_a_bad_symbol_table_is_refused(symbols, where):
    """Symbol tables are closed and ranged like all others."""
    assert [where] == list(problems_of(DEFAULTS.to_mapping() | {"symbols": symbols}))


def test_the_configuration_is_frozen():
    """No process changes its configuration in place."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULTS.orchestration.cusum_h = 1.0  # type: ignore[misc] -- that is what is refused
    with pytest.raises(TypeError):
        DEFAULTS.symbols.listed["A"] = DEFAULTS.symbols.default  # type: ignore[index] -- that is what is refused


def values_for(spec):
    """Valid values of a plain numeric key."""
    low, high = Interval(spec.key.range).bounds
    if spec.kind is float:
        numbers = st.floats(max(low, -1e300), min(high, 1e300), allow_nan=False)
    else:
        numbers = st.integers(int(max(low, -(2**63))), int(min(high, 2**63 - 1)))
    return numbers.filter(lambda value: value in Interval(spec.key.range))


FREE = [KEYS[f"bank.{name}"] for name in ["scale_steps", "rkhs_bandwidth", "ewma_gain", "newton_tolerance", "loss_cap"]]


@settings(max_examples=30, deadline=None)
@given(values=st.fixed_dictionaries({spec.name: values_for(spec) for spec in FREE}))
def test_the_canonical_bytes_come_back_exactly(values):
    """bytes -> configuration -> bytes is the identity, and the hash is that of the bytes, for any numbers."""
    mapping = DEFAULTS.to_mapping()
    mapping["bank"].update(values)
    config = load(mapping)
    again = from_canonical_bytes(config.canonical_bytes)
    assert (again, again.canonical_bytes) == (config, config.canonical_bytes)
    assert config.content_hash == hashlib.sha256(config.canonical_bytes).hexdigest()
    assert (config == DEFAULTS) == (config.content_hash == DEFAULTS.content_hash)


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(list(SECTIONS)), seed=st.randoms())
def test_the_hash_does_not_depend_on_the_order_of_the_file(order, seed):
    """Sections and keys in any order, and a symbol's entry in full or in short, are one configuration."""
    mapping = DEFAULTS.to_mapping()
    shuffled = {"symbols": mapping["symbols"]}
    for section in order:
        names = list(mapping[section])
        seed.shuffle(names)
        shuffled[section] = {name: mapping[section][name] for name in names}
    assert DEFAULTS.content_hash == load(shuffled).content_hash


def test_the_file_of_a_configuration_loads_to_it():
    """What is written for an operator means the same as what it was written from, symbols included."""
    mapping = with_values(bank__name="full", kernels__kernel_c_mu=-1.5)
    mapping["symbols"]["BRK.B"] = {"kind": "trade"}
    mapping["symbols"]["S&P 500"] = {"bank": "core"}
    mapping["symbols"]["default"]["frozen_signal_min_steps"] = 9
    assert load(mapping) == load(config_file(load(mapping)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"3",
        b'"core"',
        b"\xff",
        b"[" * 100_000,
        DEFAULTS.canonical_bytes + b" ",
        DEFAULTS.canonical_bytes.replace(b'"sigma_bound":20.0', b'"sigma_bound":20'),
        DEFAULTS.canonical_bytes.replace(b'"sigma_bound":20.0', b'"sigma_bound":NaN'),
        DEFAULTS.canonical_bytes.replace(b'"sigma_bound":20.0', b'"sigma_bound":4.0,"sigma_bound":20.0'),
    ],
)
def test_other_bytes_are_refused(data):
    """An epoch holds canonical bytes or nothing."""
    with pytest.raises(ConfigError):
        from_canonical_bytes(data)


@pytest.mark.parametrize(
    "text",
    [
        "[core",
        "core = ",
        "a = 1 b = 2",
        "a = [1, 2",
        "a = 1\na = 2",
        "\x00",
        packaged_text().replace("[1, 2, 5]", "[1, 2.0]"),
        packaged_text().replace("= 0.01\n", "= nan\n", 1),
    ],
)
def test_text_that_is_not_toml_is_refused(text):
    """Broken TOML is told as a ConfigError; nothing is read as something else."""
    with pytest.raises(ConfigError):
        load(text)


def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path):
    """A missing file, a folder, and bytes that are no text."""
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe9"')
    for path in (tmp_path / "absent.toml", tmp_path, tmp_path / "latin.toml"):
        with pytest.raises(ConfigError, match=path.name):
            load(path)


def test_a_file_is_read(tmp_path):
    """A Path is a file."""
    path = tmp_path / "config.toml"
    path.write_text(packaged_text(), encoding="utf-8")
    assert load(path) == DEFAULTS


def test_protobuf_loads_and_is_refused_where_a_snapshot_is_written():
    """The name is reserved: a file may carry it, no snapshot can be written with it."""
    config = load(with_values(io__snapshot_format="protobuf"))
    with pytest.raises(ConfigError, match=r"reserved.*msgpack"):
        require_writable_format(config)
    require_writable_format(DEFAULTS)


@pytest.mark.parametrize(
    ("path", "structural"),
    [
        ("core.lane_width", True),
        ("kernels.dgm_width_size", True),
        ("kernels.wtmm_buffer_size", True),
        ("orchestration.residual_window_size", True),
        ("bank.name", True),
        ("symbols.EURUSD.bank", True),
        ("symbols.BRK.B.kind", False),
        ("orchestration.cusum_h", False),
        ("kernels.kernel_ridge_lambda", False),
    ],
)
def test_structural_keys_select_an_executable(path, structural):
    """Widths, depths, windows, counts and banks need the two-phase epoch, numbers do not."""
    assert structural == is_structural(path)


def test_an_unknown_path_names_the_nearest():
    """Asking about a key that does not exist is an error with a suggestion."""
    with pytest.raises(ConfigError, match=r"orchestration\.cusum_h"):
        spec_of("orchestration.cusum_hh")


def test_to_mapping_is_a_copy():
    """Changing the mapping leaves the configuration alone."""
    before = copy.deepcopy(DEFAULTS.to_mapping())
    DEFAULTS.to_mapping()["bank"]["volterra_lags"].append(3)
    assert before == DEFAULTS.to_mapping()


def test_no_numerical_library_is_loaded():
    """Every process reads its configuration without waiting for JAX or numpy."""
    modules = "usp.config.model, usp.config.settings, usp.config.reference"
    code = f"import sys, {modules}; print({{'jax', 'numpy'}} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
