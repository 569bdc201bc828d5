# SPDX-License-Identifier: MIT
"""Trace ids from a tick to its prediction and its alerts, in record headers (W3C Trace Context, level 1).

A producer that traces puts `traceparent` (and `tracestate`) into the headers of its ticks. What a stage publishes about
a tick carries the same trace id and a span id of this stage, made from the parent's: headers are no part of the value,
but a replay should not invent new ones either. Without such headers nothing is done.
"""

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from ..io.bus import Headers, RawRecord
from .contract import Output, Record, Send

PARENT, STATE = "traceparent", "tracestate"
FORM = re.compile(rb"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
LONGEST_STATE = 512


class Origin(NamedTuple):
    """Partition and offset of the market tick that a record is about."""

    partition: int
    offset: int


def traced(
    stage: str, raw: Sequence[RawRecord], records: Sequence[Record], outputs: Sequence[Output]
) -> Sequence[Output]:
    """The outputs, with the trace of the tick that each is about."""
    if not any(record.headers for record in raw):
        return outputs
    spans = spans_of(stage, raw, records)
    return [continued(output, spans) for output in outputs] if spans else outputs


def spans_of(stage: str, raw: Sequence[RawRecord], records: Sequence[Record]) -> Mapping[Origin, Headers]:
    """The headers of this stage's span for every traced tick of a batch."""
    values = {(record.partition, record.offset): record.value for record in records}
    spans: dict[Origin, Headers] = {}
    for record in raw:
        headers = span(stage, record.headers)
        if headers:
            place = Origin(record.partition.number, record.offset)
            spans[origin_of(values.get((record.partition, record.offset))) or place] = headers
    return spans


def span(stage: str, headers: Headers) -> Headers:
    """The headers of a span below the one that the record carries; nothing if it carries none that is well formed."""
    given = dict(headers)
    parent = given.get(PARENT, b"")
    if not FORM.fullmatch(parent):
        return ()
    version, trace, above, flags = parent.split(b"-")[:4]
    own = blake2b(trace + above + stage.encode(), digest_size=8).hexdigest().encode()
    state = given.get(STATE, b"")
    kept = ((STATE, state),) if 0 < len(state) <= LONGEST_STATE else ()
    return ((PARENT, b"-".join((b"00" if version != b"00" else version, trace, own, flags))), *kept)


def continued(output: Output, spans: Mapping[Origin, Headers]) -> Output:
    """The output with the trace of its tick, if that is traced."""
    if not isinstance(output, Send):
        return output
    headers = spans.get(origin_of(output.value) or source_of(output.value) or Origin(-1, -1))
    return output._replace(headers=(*output.headers, *headers)) if headers else output


def origin_of(value: Any) -> Origin | None:
    """The tick that a verdict, a prediction or an alert names."""
    offset = getattr(value, "origin_offset", None)
    return None if offset is None else Origin(value.origin_partition, offset)


def source_of(value: Any) -> Origin | None:
    """The record that a dead letter was made of."""
    offset = getattr(value, "source_offset", None)
    return None if offset is None else Origin(value.source_partition, offset)
