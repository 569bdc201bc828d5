# SPDX-License-Identifier: MIT
"""The text of runbooks/settings.md: every setting in a table, made from its declaration."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from .deployment import SETTING_KEYS, SETTING_SECTIONS, DeploymentSettings
from .keys import KeySpec
from .model import KEYS, SECTIONS, SYMBOL_KEYS, ModelConfig, packaged_defaults
from .symbols import DEFAULT
from .template import toml_value

LockList: TypeAlias = Mapping[str, Sequence[str]]
MutationSchema: TypeAlias = Mapping[str, Mapping[str, Any]]

PAGE = """\
# Settings

Two kinds. The *model configuration* decides the numbers of a prediction: it is hashed, every prediction names the hash,
and it changes at run time through the governor alone. *Deployment settings* say where one process finds its broker,
Redis, folders and ports; they are never hashed. This page is made from the declarations in `config/`; a test keeps it
fresh.

In a range, `[` and `]` include the end, `(` and `)` exclude it. Nothing has a hidden default: a config.toml without one
of its keys, or with a key that is not listed here, is refused with all its problems at once.

## Model configuration: config.toml

Override a key with the variable `USP_<SECTION>__<KEY>`, such as `USP_ORCHESTRATION__CUSUM_H=6`: one double underscore,
any case after `USP_`, lists as `[1, 2]` or `1,2`. The governor applies and audits overrides when it composes an epoch;
no other process reads them.

*At run time*: **locked** keys never change; **mutable** keys may, inside the range given, through `usp config propose`;
**two-phase** ones select another compiled program, which every orchestrator compiles first. A **fixed** key changes
with the file, at a start. `locked` and `mutable` stand in `io/config_mutation.py`, not in the file that they protect.
{model}
A table `[symbols."NAME"]` names only what differs for that symbol; the rest comes from `[symbols.default]`, and
`frozen_signal_min_steps` and `bank` from `[io]` and `[bank]` if it does not name them either.

## Deployment settings: deployment.toml, .env, environment

The weakest first: the defaults below, `deployment.toml` (optional), `.env`, the environment (`USP_<SECTION>__<KEY>`,
such as `USP_BUS__BOOTSTRAP_SERVERS=kafka:9092`). Credentials are refused in deployment.toml: they come from `.env` or
the environment, and no log or output shows them.
{deployment}
Options of librdkafka that begin with `security.`, `sasl.`, `ssl.` or `enable.ssl.` are passed on: in deployment.toml
under `[bus.security]` by their own names (`"security.protocol" = "SASL_SSL"`), in the environment with underscores
(`USP_BUS__SECURITY_PROTOCOL`, `USP_BUS__SASL_PASSWORD`).
"""


def settings_page(locked: LockList, mutable: MutationSchema) -> str:
    """The text of runbooks/settings.md. `locked` and `mutable` are the governor's lists of io/config_mutation.py."""
    return PAGE.format(model=model_tables(packaged_defaults(), locked, mutable), deployment=deployment_tables())


def model_tables(defaults: ModelConfig, locked: LockList, mutable: MutationSchema) -> str:
    """One table per section of the model configuration."""
    mapping = defaults.to_mapping()
    groups = [(name, [s for s in KEYS.values() if s.section == name], mapping[name]) for name in SECTIONS]
    groups.append(("symbols", list(SYMBOL_KEYS), mapping["symbols"][DEFAULT]))
    headers = ("key", "meaning", "unit", "default", "may be", "at run time")
    text = ""
    for section, specs, values in groups:
        rows = [(*described(spec, values[spec.name]), change_rule(spec, locked, mutable)) for spec in specs]
        text += f"\n### [{section}]\n\n{table(headers, rows)}"
    return text


def deployment_tables() -> str:
    """One table per section of the deployment settings."""
    defaults = DeploymentSettings()
    text = ""
    for section in SETTING_SECTIONS:
        specs = [spec for spec in SETTING_KEYS.values() if spec.section == section]
        rows = [described(spec, getattr(getattr(defaults, section), spec.name)) for spec in specs]
        text += f"\n### [{section}]\n\n{table(('key', 'meaning', 'unit', 'default', 'may be'), rows)}"
    return text


def described(spec: KeySpec, value: Any) -> tuple[str, str, str, str, str]:
    meaning = spec.key.doc + (" (credential: environment alone)" if spec.key.secret else "")
    return f"`{spec.name}`", meaning, spec.key.unit, f"`{toml_value(value)}`", spec.expected


def change_rule(spec: KeySpec, locked: LockList, mutable: MutationSchema) -> str:
    """How a key may change at run time."""
    if spec.name in locked.get(spec.section, ()):
        return "locked"
    if spec.path in mutable:
        low, high = mutable[spec.path]["range"]
        return f"mutable, {low:g} to {high:g}" + (", two-phase" if spec.key.structural else "")
    return "fixed"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
