# SPDX-License-Identifier: MIT
"""From forecasts to rows: one for each series and model, as tables, CSV and JSON show them."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from .metrics import Forecasts, Score, error_of, losses, ratio, regret, score
from .series import Metric, Series

LAST_VALUE = "last_value"
OURS = "usp_"


@dataclass(frozen=True)
class Row:
    """One model on one series. `error` is RMSE or MAE, whichever the series is scored by; ratios are of that error.

    Intervals of peers are adaptive conformal ones around their forecast. Regrets are those of `metrics.regret`.
    """

    series: str
    seed: int | None
    model: str
    metric: Metric
    steps: int
    error: float
    rmse: float
    mae: float
    to_last_value: float | None
    to_best_peer: float | None
    best_peer: str
    to_bayes: float | None
    coverage: float
    winkler: float
    winkler_to_last_value: float | None
    regret_kernel: float | None
    regret_expert: float | None

    @property
    def label(self) -> str:
        """Name and seed of the series."""
        return self.series if self.seed is None else f"{self.series}.{self.seed}"

    @property
    def is_ours(self) -> bool:
        """True for our banks."""
        return self.model.startswith(OURS)


def rows_of(series: Series, found: Mapping[str, Forecasts], burn_in: int) -> list[Row]:
    """The rows of one series, in the order of `found`, which must hold the last value."""
    scores = {model: score(series.values, each, series.metric, burn_in) for model, each in found.items()}
    last = scores[LAST_VALUE]
    peers = {model: each for model, each in scores.items() if not model.startswith(OURS)}
    best = min(peers, key=lambda model: peers[model].loss)
    bayes = bayes_loss(series, burn_in)
    rows: list[Row] = []
    for model, each in scores.items():
        best_kernel, best_expert = best_in_hindsight(series, found[model], burn_in)
        rows.append(
            Row(
                series=series.name,
                seed=series.seed,
                model=model,
                metric=series.metric,
                steps=each.steps,
                error=error_of(each.loss, series.metric),
                rmse=each.rmse,
                mae=each.mae,
                to_last_value=errors_ratio(each, last.loss, series.metric),
                to_best_peer=errors_ratio(each, peers[best].loss, series.metric),
                best_peer=best,
                to_bayes=None if bayes is None else errors_ratio(each, bayes, series.metric),
                coverage=each.coverage,
                winkler=each.winkler,
                winkler_to_last_value=ratio(each.winkler, last.winkler),
                regret_kernel=None if best_kernel is None else regret(each.loss, best_kernel, last.loss),
                regret_expert=None if best_expert is None else regret(each.loss, best_expert, last.loss),
            )
        )
    return rows


def errors_ratio(found: Score, reference_loss: float, metric: Metric) -> float | None:
    """Ratio of the errors behind two losses."""
    return ratio(error_of(found.loss, metric), error_of(reference_loss, metric))


def bayes_loss(series: Series, burn_in: int) -> float | None:
    """Mean loss of the Bayes forecast on the same path, where there is one."""
    if series.bayes is None:
        return None
    return float(np.mean(losses((series.values - series.bayes)[burn_in:], series.metric)))


def best_in_hindsight(series: Series, found: Forecasts, burn_in: int) -> tuple[float | None, float | None]:
    """Least mean loss of a single kernel, and of a single kernel or expert within one."""
    if found.kernels is None:
        return None, None
    of_kernels = [float(np.mean(losses((series.values - k)[burn_in:], series.metric))) for k in found.kernels]
    of_experts = [] if found.expert_losses is None else [float(loss) for loss in found.expert_losses]
    return min(of_kernels), min([*of_kernels, *of_experts])


def as_csv(rows: Iterable[Row]) -> str:
    """All rows with a header; what cannot be said is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([each.name for each in fields(Row)])
    writer.writerows(["" if value is None else value for value in asdict(row).values()] for row in rows)
    return text.getvalue()


def by_series(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by label, in order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.label, []).append(row)
    return found
