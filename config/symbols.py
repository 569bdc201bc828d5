# SPDX-License-Identifier: MIT
"""What may differ per symbol: tables [symbols.default] and [symbols."NAME"]."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from .keys import Key

DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class SymbolOverride:
    """The keys of one symbol; what its table does not name is taken from [symbols.default]."""

    kind: Annotated[
        Literal["any", "trade", "quote", "spread"],
        Key("kind of ticks to expect; any, trade and quote need a price above 0, a spread (or rate) does not"),
    ]
    nominal_interval_ns: Annotated[
        int, Key("usual time between two ticks; 0 = learned from the symbol's own gaps", "ns", "[0, 31622400000000000]")
    ]
    frozen_signal_min_steps: Annotated[
        int,
        Key(
            "equal values in a row that raise the frozen alarm",
            "values",
            "[5, 100000]",
            inherits="io.frozen_signal_min_steps",
        ),
    ]
    bank: Annotated[
        Literal["core", "full"], Key("set of experts of the kernels", structural=True, inherits="bank.name")
    ]


@dataclass(frozen=True)
class SymbolTable(Mapping[str, SymbolOverride]):
    """The entry in force for *any* symbol by `table[symbol]`; iteration and `in` see the listed symbols alone."""

    default: SymbolOverride
    listed: Mapping[str, SymbolOverride] = field(hash=False)

    def __getitem__(self, symbol: str) -> SymbolOverride:
        return self.listed.get(symbol, self.default)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self.listed

    def __iter__(self) -> Iterator[str]:
        return iter(self.listed)

    def __len__(self) -> int:
        return len(self.listed)
