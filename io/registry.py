# SPDX-License-Identifier: MIT
"""The Confluent wire format: a zero byte, the schema's id in a registry (4 bytes, big-endian), the Avro body.

Topics carry several record types, so schemas are registered under the record's full name (RecordNameStrategy). Ids
never change their meaning, so each is asked for once.
"""

import base64
import json
import time
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from typing import Any, NamedTuple, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from fastavro.schema import SchemaParseException, UnknownType

from ..schemas import Schema, fingerprint_of, schema_of
from ..schemas.records import RECORDS
from .avro import HEADER_BYTES, MARKER
from .kafka_client import BusUnavailable
from .wire import SINGLE_OBJECT, Wire

MAGIC = b"\x00"
PREFIX_BYTES = 5
CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
ANSWER_S = 5.0
PAUSES_S = (0.0, 0.3, 1.0)
NOT_THERE = 404


class RegistryUnavailable(BusUnavailable):
    """The registry did not answer, or refused; the message never holds its credentials."""


class Answer(NamedTuple):
    """What the registry said."""

    status: int
    document: Mapping[str, Any]


class RegistryClient:
    """The three questions that are asked of a schema registry, over HTTP."""

    def __init__(self, url: str) -> None:
        """`url` may hold credentials before its host: they become basic authentication."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RegistryUnavailable("found a registry address of another kind; expected http:// or https:// and host")
        host = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self.headers = {"Content-Type": CONTENT_TYPE, "Accept": CONTENT_TYPE}
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()

    def id_of(self, subject: str, schema: Schema) -> int:
        """The id of a schema, which is registered if it is new: a user who may only read needs it to be there."""
        body = {"schema": json.dumps(schema.json), "schemaType": "AVRO"}
        where = f"/subjects/{quote(subject, safe='')}"
        answer = self.ask(where, body)
        if answer.status == NOT_THERE:
            answer = self.ask(f"{where}/versions", body)
        found = answer.document.get("id")
        if answer.status != 200 or not isinstance(found, int):
            raise self.refused(f"registering {subject}", answer)
        return found

    def fingerprint_of(self, number: int) -> bytes | None:
        """The fingerprint of the schema with this id; None if there is none, or none in Avro."""
        answer = self.ask(f"/schemas/ids/{number}")
        if answer.status == NOT_THERE:
            return None
        if answer.status != 200:
            raise self.refused(f"looking for schema {number}", answer)
        try:
            return fingerprint_of(json.loads(answer.document["schema"]))
        except (KeyError, TypeError, ValueError, SchemaParseException, UnknownType):
            return None

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One question, put again after a pause when the registry is away or busy. Raises RegistryUnavailable."""
        found = ""
        for pause_s in PAUSES_S:
            time.sleep(pause_s)
            try:
                answer = self.answer(path, body)
            except (URLError, HTTPException, OSError, ValueError) as fault:
                found = str(getattr(fault, "reason", fault)) or type(fault).__name__
                continue
            if answer.status < 500 and answer.status != 429:
                return answer
            found = f"status {answer.status}"
        raise RegistryUnavailable(
            f"asking the schema registry at {self.url}: found {found}; expected an answer: start it, correct"
            " USP_SCHEMA_REGISTRY_URL, or unset it to use single-object encoding"
        )

    def answer(self, path: str, body: Mapping[str, Any] | None) -> Answer:
        """One question, put once."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data=data, headers=self.headers)  # noqa: S310  # http or https: see __init__
        try:
            with urlopen(request, timeout=ANSWER_S) as reply:  # noqa: S310
                return Answer(reply.status, json.load(reply))
        except HTTPError as fault:
            return Answer(fault.code, error_document(fault.read()))

    def refused(self, doing: str, answer: Answer) -> RegistryUnavailable:
        """The registry's own words, and what may help."""
        said = str(answer.document.get("message", "no reason"))[:500]
        advice = {
            401: "expected it to accept these credentials",
            403: "expected the right to register schemas, or an administrator who has registered them",
            409: "expected the schema to be compatible with those registered: use another registry, or delete them",
        }.get(answer.status, "expected success")
        return RegistryUnavailable(
            f"{doing}: found status {answer.status} ({said}) from the schema registry at {self.url}; {advice}"
        )


def error_document(body: bytes) -> Mapping[str, Any]:
    """The document of an error answer; proxies in between answer in other forms."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


class RegistryWire:
    """Frames with the ids of a registry. Not ours to frame, and passed as it is: whatever has no known schema."""

    def __init__(self, client: RegistryClient, schemas: Iterable[Schema]) -> None:
        """Registers the schemas. Raises RegistryUnavailable."""
        self.client = client
        self.prefixes: dict[bytes, bytes] = {}
        self.headers: dict[bytes, bytes | None] = {}
        for schema in schemas:
            prefix = MAGIC + client.id_of(subject_of(schema), schema).to_bytes(4, "big")
            self.prefixes[schema.fingerprint] = prefix
            self.headers[prefix] = MARKER + schema.fingerprint

    def outward(self, value: bytes | None) -> bytes | None:
        """See `Wire.outward`."""
        if value is None or value[:2] != MARKER:
            return value
        prefix = self.prefixes.get(value[2:HEADER_BYTES])
        return value if prefix is None else prefix + value[HEADER_BYTES:]

    def inward(self, value: bytes | None) -> bytes | None:
        """See `Wire.inward`; an id that was not met before is asked for. Raises RegistryUnavailable.

        A registry that is away must not decide what a record is: the process ends, and its restart reads it again.
        """
        if value is None or value[:1] != MAGIC or len(value) < PREFIX_BYTES:
            return value
        prefix = value[:PREFIX_BYTES]
        if prefix not in self.headers:
            fingerprint = self.client.fingerprint_of(int.from_bytes(prefix[1:], "big"))
            self.headers[prefix] = None if fingerprint is None else MARKER + fingerprint
        header = self.headers[prefix]
        return value if header is None else header + value[PREFIX_BYTES:]


def subject_of(schema: Schema) -> str:
    """The record's full name."""
    return f"{schema.json['namespace']}.{schema.json['name']}"


def open_wire(url: str) -> Wire:
    """The wire that the settings ask for: with a registry's address its format, else single-object encoding.

    Raises RegistryUnavailable.
    """
    if not url:
        return SINGLE_OBJECT
    return RegistryWire(RegistryClient(url), [schema_of(record) for record in RECORDS])
