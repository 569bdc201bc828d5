# SPDX-License-Identifier: MIT
"""Rules between keys. Each names the keys it reads; it is skipped while one of them is itself at fault."""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from .errors import Problem, shown
from .keys import Interval, Key, KeySpec
from .search import PREFIX

Values = Mapping[str, Any]

# left, relation, right: every line must hold.
ORDERS = """
orchestration.sinkhorn_epsilon_min              <= orchestration.sinkhorn_epsilon_0
orchestration.entropy_window_bounds_min         <= orchestration.entropy_window
orchestration.entropy_window                    <= orchestration.entropy_window_bounds_max
orchestration.learning_rate_minimum             <= orchestration.learning_rate
orchestration.entropy_gamma_min                 <= orchestration.entropy_threshold
orchestration.entropy_threshold                 <= orchestration.entropy_gamma_max
orchestration.entropy_volatility_low_threshold  <  orchestration.entropy_volatility_high_threshold
orchestration.entropy_ratio_min                 <= orchestration.entropy_ratio_max
orchestration.stiffness_min_low                 <  orchestration.stiffness_min_high
kernels.stiffness_low                           <  kernels.stiffness_high
kernels.kurtosis_min                            <  kernels.kurtosis_max
kernels.wtmm_q_min                              <  kernels.wtmm_q_max
kernels.wtmm_h_min                              <  kernels.wtmm_h_max
kernels.wtmm_scale_min                          <  kernels.wtmm_buffer_size
bank.interval_window                            <  orchestration.residual_window_size
io.outlier_history_min                          <= io.outlier_history_window
validation.validation_holder_exponent_min       <  validation.validation_holder_exponent_max
meta_optimization.n_startup_trials              <= meta_optimization.n_trials
"""

# every order in the list on the left must exist in the lattice on the right.
LATTICES = {
    "bank.lattice_orders": "bank.lattice_order",
    "bank.huber_orders": "bank.lattice_order",
    "bank.restart_orders": "bank.lattice_order",
    "bank.forgetting_orders": "bank.fast_order",
}


@dataclass(frozen=True)
class Rule:
    """`holds` is asked with the values of all keys; when it says no, the first of `keys` is named as the fault."""

    keys: tuple[str, ...]
    holds: Callable[[Values], bool]
    expected: str


def order_rules() -> Iterator[Rule]:
    for line in ORDERS.strip().splitlines():
        left, relation, right = line.split()
        yield Rule((left, right), ordered(left, relation, right), f"{relation} {right}")


def ordered(left: str, relation: str, right: str) -> Callable[[Values], bool]:
    compare = {"<": operator.lt, "<=": operator.le}[relation]
    return lambda values: compare(values[left], values[right])


def lattice_rules() -> Iterator[Rule]:
    for orders, lattice in LATTICES.items():
        yield Rule((orders, lattice), bounded(orders, lattice), f"no order above {lattice}")


def bounded(orders: str, lattice: str) -> Callable[[Values], bool]:
    return lambda values: deepest(values[orders]) <= values[lattice]


def deepest(orders: Any) -> int:
    return max(map(deepest, cast("tuple[Any, ...]", orders))) if isinstance(orders, tuple) else orders


def structure_rules() -> Iterator[Rule]:
    yield Rule(
        ("kernels.base_min_signal_length", "bank.rkhs_lags"),
        lambda values: values["kernels.base_min_signal_length"] >= values["bank.rkhs_lags"] + 2,
        "at least bank.rkhs_lags + 2",
    )
    yield Rule(
        ("bank.forgetting_orders", "bank.forgetting"),
        lambda values: len(values["bank.forgetting_orders"]) == len(values["bank.forgetting"]),
        "one list of orders per factor of bank.forgetting",
    )
    yield Rule(
        ("bank.holder_hysteresis", "orchestration.holder_threshold", "validation.validation_holder_exponent_max"),
        lambda values: (
            values["orchestration.holder_threshold"] + values["bank.holder_hysteresis"]
            < values["validation.validation_holder_exponent_max"]
        ),
        "less than what is left between the two, or the circuit breaker never releases",
    )


RULES = (*order_rules(), *lattice_rules(), *structure_rules())


def broken_rules(values: Values, keys: Mapping[str, KeySpec]) -> Iterator[Problem]:
    """All rules between keys that `values` (by path) breaks; `keys` are the declared keys by path."""
    for rule in (*RULES, *search_rules(keys)):
        if all(path in values for path in rule.keys) and not rule.holds(values):
            others = ", ".join(f"{path} = {values[path]!r}" for path in rule.keys[1:])
            found = shown(values[rule.keys[0]]) + (f" with {others}" if others else "")
            yield Problem(rule.keys[0], found, rule.expected, "Change one of the keys named here.")


def search_rules(keys: Mapping[str, KeySpec]) -> Iterator[Rule]:
    """The search space is made of intervals that the searched keys themselves allow."""
    searched = {spec.name.removeprefix(PREFIX): path for path, spec in keys.items() if spec.name.startswith(PREFIX)}
    for name, path in searched.items():
        allowed = next(spec for spec in keys.values() if spec.name == name)
        expected = f"[low, high] with low below high, both {allowed.expected}"
        yield Rule((path,), searchable(path, allowed.key), expected)
    for tier in ("meta_optimization.fast_tier", "meta_optimization.log_scaled"):
        yield Rule((tier,), named(tier, set(searched)), f"the X of {PREFIX}X keys, each once")


def searchable(path: str, key: Key) -> Callable[[Values], bool]:
    def holds(values: Values) -> bool:
        low, high = values[path]
        powers = not key.power_of_two or (low.bit_count() == 1 and high.bit_count() == 1)
        return low < high and low in Interval(key.range) and high in Interval(key.range) and powers

    return holds


def named(path: str, known: set[str]) -> Callable[[Values], bool]:
    return lambda values: set(values[path]) <= known and len(set(values[path])) == len(values[path])
