# SPDX-License-Identifier: MIT
"""An independent witness: was every tick that went in answered exactly once, in order, under the right id?

It shares no code with the pipeline: a plain read_committed consumer, fastavro on the published schemas, and its own
arithmetic. Rules, per (partition, offset, row) of `market.ticks.v1`, heartbeats excepted:

* exactly one verdict in `ticks.validated.v1` or one dead letter in `ticks.rejected.v1`; both for an outlier alone;
* exactly one prediction for each verdict, in the same partition, in the same order, with the value that went in;
* its id is SHA-256 of "partition/offset/row/config hash", first 32 digits, and no id comes twice;
* `state_step` of a symbol counts its accepted ticks, without a jump, while the configuration stays.
"""

import io
import json
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import resources
from typing import Any, NamedTuple, cast

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

TICKS, VALIDATED, REJECTED, PREDICTIONS = (
    "market.ticks.v1", "ticks.validated.v1", "ticks.rejected.v1", "predictions.v1",
)  # fmt: skip
SCHEMAS = (
    "tick",
    "tick_block",
    "validated_tick",
    "silence",
    "config_epoch",
    "epoch_verdict",
    "config_decision",
    "audit_head",
    "dead_letter",
    "prediction",
)
FRAME, FINGERPRINT_BYTES, ROW_BYTES = b"\xc3\x01", 8, 48
SILENCE_S = 20.0
TOLD_FAULTS = 20
Origin = tuple[int, int, int]

read_avro = cast(Callable[..., Any], fastavro.schemaless_reader)  # pyright: ignore[reportUnknownMemberType]


class Seen(NamedTuple):
    """A record: where it lay, and what it holds; `value` is None if the bytes are no record."""

    partition: int
    offset: int
    value: dict[str, Any] | None


class Answer(NamedTuple):
    """What is kept of a verdict: a million of them must fit into memory."""

    price: float
    symbol: str
    accept: bool


@dataclass
class Verdict:
    """Counts, and what is wrong, told by example. `missing` are answers that have not come (yet)."""

    ticks: int = 0
    validated: int = 0
    rejected: int = 0
    predictions: int = 0
    missing: int = 0
    faults: dict[str, int] = field(default_factory=dict[str, int])
    examples: list[str] = field(default_factory=list[str])

    def fault(self, kind: str, where: object) -> None:
        """One more of this kind."""
        self.faults[kind] = self.faults.get(kind, 0) + 1
        if len(self.examples) < TOLD_FAULTS:
            self.examples.append(f"{kind}: {where}")

    @property
    def good(self) -> bool:
        """Nothing is lost, doubled, out of order or misnamed."""
        return not self.missing and not self.faults


def schemas() -> dict[bytes, Any]:
    """The published schemas by the eight bytes that name them on the wire."""
    found: dict[bytes, Any] = {}
    for name in SCHEMAS:
        schema: Any = json.loads((resources.files("usp") / "schemas" / f"{name}.avsc").read_text())
        found[bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))] = parse_schema(schema)
    return found


def opened(data: bytes | None, known: Mapping[bytes, Any]) -> dict[str, Any] | None:
    """The record in single-object encoding with its type; None if these bytes are none."""
    if data is None or data[:2] != FRAME or data[2 : 2 + FINGERPRINT_BYTES] not in known:
        return None
    schema = known[data[2 : 2 + FINGERPRINT_BYTES]]
    body = io.BytesIO(data[2 + FINGERPRINT_BYTES :])
    try:
        value = cast(dict[str, Any], read_avro(body, schema, None))
    except (EOFError, IndexError, ValueError, struct.error):
        return None
    return None if body.read(1) else value | {"type": schema["name"].rpartition(".")[2]}


def reader(servers: str, security: Mapping[str, str]) -> Consumer:
    """A plain consumer of committed records, of no group that anybody knows."""
    return Consumer(
        {
            "bootstrap.servers": servers, "group.id": "usp.verifier", "isolation.level": "read_committed",
            "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "earliest",
            "log_level": 0, **security,
        }
    )  # fmt: skip


def ends_of(servers: str, topic: str, security: Mapping[str, str]) -> dict[int, int]:
    """Where each partition of a topic ends now; what comes later is not judged.

    A reader finds the end itself: some brokers name an offset within their last batch.
    """
    consumer, ends, silent = reader(servers, security), dict[int, int](), 0
    try:
        partitions = consumer.list_topics(topic, timeout=SILENCE_S).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in partitions]
        for place in places:
            place.offset = max(0, consumer.get_watermark_offsets(place, timeout=SILENCE_S)[1] - 1)
        consumer.assign(places)
        while len(ends) < len(places):
            messages = consumer.consume(5000, 1.0)
            silent = 0 if messages else silent + 1
            if silent > SILENCE_S:
                raise TimeoutError(f"found no end of {topic} for {SILENCE_S:.0f} s; expected one of each partition")
            for message in messages:
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:  # the client library's name for it
                    ends.setdefault(cast(int, message.partition()), cast(int, message.offset()))
    finally:
        consumer.close()
    return ends


def read_topic(
    servers: str, topic: str, security: Mapping[str, str], known: Mapping[bytes, Any], ends: Mapping[int, int]
) -> Iterator[Seen]:
    """Every committed record of a topic before `ends`, one by one; KafkaException if the broker is away."""
    consumer = reader(servers, security)
    try:
        open_partitions, silent = {number for number, end in ends.items() if end > 0}, 0
        consumer.assign([TopicPartition(topic, number, 0) for number in open_partitions])
        while open_partitions:
            messages = consumer.consume(5000, 1.0)
            silent = 0 if messages else silent + 1
            if silent > SILENCE_S:
                raise TimeoutError(f"found nothing more in {topic} for {SILENCE_S:.0f} s; expected its end")
            for message in messages:
                error, number = message.error(), cast(int, message.partition())
                if error is None:
                    offset = cast(int, message.offset())
                    if offset < ends[number]:
                        yield Seen(number, offset, opened(message.value(), known))
                    if offset + 1 >= ends[number]:
                        open_partitions.discard(number)
                elif error.code() == KafkaError._PARTITION_EOF:  # the client library's name for it
                    open_partitions.discard(number)
                elif not error.retriable():
                    raise KafkaException(error)
    finally:
        consumer.close()


def origins(tick: Seen) -> list[Origin]:
    """What must be answered: one per tick or row; nothing for a heartbeat. Unreadable bytes answer as row 0."""
    value = tick.value
    if value is None or value["type"] not in ("Tick", "TickBlock"):
        return [(tick.partition, tick.offset, 0)]
    if value["kind"] == "heartbeat":
        return []
    rows = 1 if value["type"] == "Tick" else len(value["rows"]) // ROW_BYTES
    return [(tick.partition, tick.offset, row) for row in range(max(1, rows))]


def origin_of(value: Mapping[str, Any]) -> Origin:
    """The position that a verdict or a prediction names."""
    return (value["origin_partition"], value["origin_offset"], value["origin_row"])


def verify(servers: str, security: Mapping[str, str]) -> Verdict:
    """Read the four topics and judge. The ends are looked up against the stream, so that no cause is missed."""
    known = schemas()
    ends = {name: ends_of(servers, name, security) for name in (PREDICTIONS, VALIDATED, REJECTED, TICKS)}
    return judged({name: read_topic(servers, name, security, known, end) for name, end in ends.items()})


def judged(read: Mapping[str, Iterable[Seen]]) -> Verdict:
    """The verdict on what was read; each topic is gone through once."""
    verdict = Verdict()
    validated = verdicts_of(read[VALIDATED], verdict)
    check_answers(read[TICKS], validated, letters_of(read[REJECTED], verdict), verdict)
    check_predictions(read[PREDICTIONS], validated, verdict)
    return verdict


def verdicts_of(records: Iterable[Seen], verdict: Verdict) -> dict[Origin, Answer]:
    """The verdicts by origin, in the order of the log."""
    found: dict[Origin, Answer] = {}
    for record in records:
        value = record.value
        if value is None:
            verdict.fault("unreadable verdict", f"{VALIDATED}/{record.partition}@{record.offset}")
        elif value["type"] == "ValidatedTick":
            verdict.validated += 1
            origin = origin_of(value)
            if origin in found:
                verdict.fault("verdict twice", origin)
            if origin[0] != record.partition:
                verdict.fault("verdict in another partition", origin)
            found[origin] = Answer(value["price"], sys.intern(value["symbol"]), value["accept"])
    return found


def letters_of(records: Iterable[Seen], verdict: Verdict) -> Counter[Origin]:
    """How many dead letters name each origin."""
    found: Counter[Origin] = Counter()
    for record in records:
        value = record.value
        if value is None:
            verdict.fault("unreadable dead letter", f"{REJECTED}/{record.partition}@{record.offset}")
        elif value["source_topic"] == TICKS:
            verdict.rejected += 1
            found[value["source_partition"], value["source_offset"], value["source_row"]] += 1
    return found


def check_answers(
    ticks: Iterable[Seen], validated: Mapping[Origin, Answer], letters: Counter[Origin], verdict: Verdict
) -> None:
    """One answer for each tick: a verdict, a dead letter, or both for an outlier."""
    known: set[Origin] = set()
    blocks: set[tuple[int, int]] = set()
    for tick in ticks:
        for origin in origins(tick):
            known.add(origin)
            verdict.ticks += 1
            found, refused = validated.get(origin), letters[origin] or letters[origin[0], origin[1], 0]
            if found is None and not refused:
                verdict.missing += 1
                verdict.examples += [f"no answer: {origin}"] if len(verdict.examples) < TOLD_FAULTS else []
            elif letters[origin] > 1:
                verdict.fault("dead letter twice", origin)
            elif found is not None and bool(letters[origin]) == found.accept:
                verdict.fault("accepted and refused" if found.accept else "outlier without a dead letter", origin)
        blocks.add((tick.partition, tick.offset))
    for origin in validated:
        if origin not in known:
            verdict.fault("verdict on no tick", origin)
    for origin in letters:
        if origin[:2] not in blocks:
            verdict.fault("dead letter of no tick", origin)


def check_predictions(records: Iterable[Seen], validated: Mapping[Origin, Answer], verdict: Verdict) -> None:
    """One prediction for each verdict, rightly named, in order, with steps that count."""
    answered: set[Origin] = set()
    ids: set[str] = set()
    newest: dict[int, tuple[int, int]] = {}
    steps: dict[tuple[int, str], tuple[str, int]] = {}
    for record in records:
        value = record.value
        if value is None:
            verdict.fault("unreadable prediction", f"{PREDICTIONS}/{record.partition}@{record.offset}")
            continue
        verdict.predictions += 1
        origin = origin_of(value)
        tick = validated.get(origin)
        if origin in answered:
            verdict.fault("prediction twice", origin)
        if value["record_id"] in ids:
            verdict.fault("id twice", value["record_id"])
        if value["record_id"] != expected_id(origin, value["config_hash"]):
            verdict.fault("wrong id", value["record_id"])
        if tick is None:
            verdict.fault("prediction of no verdict", origin)
        elif tick != (value["value"], value["symbol"], value["accepted"]):
            verdict.fault("prediction of another value", origin)
        if origin[0] != record.partition or origin[1:] <= newest.get(origin[0], (-1, -1)):
            verdict.fault("prediction out of order", origin)
        newest[origin[0]] = origin[1:]
        answered.add(origin)
        ids.add(value["record_id"])
        check_step(value, steps, verdict)
    for origin in validated:
        if origin not in answered:
            verdict.missing += 1
            verdict.examples += [f"no prediction: {origin}"] if len(verdict.examples) < TOLD_FAULTS else []


def expected_id(origin: Origin, config_hash: str) -> str:
    """The id that the README promises."""
    return sha256(f"{origin[0]}/{origin[1]}/{origin[2]}/{config_hash}".encode()).hexdigest()[:32]


def check_step(value: Mapping[str, Any], steps: dict[tuple[int, str], tuple[str, int]], verdict: Verdict) -> None:
    """Steps of a symbol go up by one with each accepted tick; a change of configuration may begin anew."""
    owner = (value["origin_partition"], value["symbol"])
    config, before = steps.get(owner, (value["config_hash"], 0))
    if config == value["config_hash"] and value["state_step"] != before + int(value["accepted"]):
        verdict.fault("jump of state_step", f"{owner}: {before} to {value['state_step']}")
    steps[owner] = (value["config_hash"], value["state_step"])
