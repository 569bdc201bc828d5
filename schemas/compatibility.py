# SPDX-License-Identifier: MIT
"""May a reader with the new schema read what a writer with the old schema wrote?

The rules are those of Avro's "Schema Resolution" (Avro 1.11 specification); only what the schemas of this
package use is known here: primitives, enums, arrays, maps, unions and records.
"""

from typing import Any, cast

PROMOTIONS = {"int": {"long", "float", "double"}, "long": {"float", "double"}, "float": {"double"}}


def problems(reader: Any, writer: Any, where: str = "") -> list[str]:
    """Why `reader` cannot read data of `writer`; empty if it can."""
    if isinstance(writer, list):
        return [p for branch in cast("list[Any]", writer) for p in problems(reader, branch, where)]
    if isinstance(reader, list):
        tried = [problems(branch, writer, where) for branch in cast("list[Any]", reader)]
        return [] if [] in tried else [f"{where}: {name_of(writer)} was written, the reader's union has no such branch"]
    if name_of(reader) != name_of(writer):
        promoted = name_of(reader) in PROMOTIONS.get(name_of(writer), set())
        return [] if promoted else [f"{where}: {name_of(writer)} was written, {name_of(reader)} is read"]
    return problems_inside(reader, writer, where)


def name_of(schema: Any) -> str:
    """`long`, `array`, or for named types their own name."""
    if isinstance(schema, str):
        return schema
    return schema["name"] if schema["type"] in ("record", "enum") else schema["type"]


def problems_inside(reader: Any, writer: Any, where: str) -> list[str]:
    """The problems below the top of two schemas of the same name."""
    if isinstance(reader, str):
        return []
    match reader["type"]:
        case "array":
            return problems(reader["items"], writer["items"], f"{where}[]")
        case "map":
            return problems(reader["values"], writer["values"], f"{where}{{}}")
        case "enum":
            lost = set(writer["symbols"]) - set(reader["symbols"])
            return [f"{where}: enum symbol {symbol!r} is gone" for symbol in sorted(lost)]
        case "record":
            return problems_of_fields(reader, writer, where)
        case _:
            return []


def problems_of_fields(reader: Any, writer: Any, where: str) -> list[str]:
    """A field that only the reader has needs a default; a shared one must resolve."""
    written = {field["name"]: field for field in writer["fields"]}
    found: list[str] = []
    for field in reader["fields"]:
        path = f"{where}.{field['name']}"
        if field["name"] in written:
            found += problems(field["type"], written[field["name"]]["type"], path)
        elif "default" not in field:
            found.append(f"{path}: is new and has no default")
    return found
