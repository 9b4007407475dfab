"""The tables that both languages share, and path patterns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import VECTORS, client
from tuf.api.metadata import DelegatedRole


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", vectors("paths.json"), ids=json.dumps)
def test_paths(row: dict[str, Any]) -> None:
    if "prefix" in row:
        role = DelegatedRole("r", [], 1, False, None, [row["prefix"]])
        assert role.is_delegated_path(row["path"]) == row["match"]
    else:
        assert client.matches_path(row["path"], row["pattern"]) == row["match"]


def test_codes_are_those_of_the_table() -> None:
    table = {row["code"]: (row["class"], row["exit"]) for row in vectors("codes.json")}
    assert {code: table.get(code) for code in client.CODES} == client.CODES


def frames(direction: str, valid: bool) -> list[Any]:
    rows = vectors("frames.json")
    return [row for row in rows if row["from"] == direction and row["valid"] == valid]


@pytest.mark.parametrize("row", frames("host", True), ids=lambda row: row["name"])
def test_valid_frames_of_the_host(row: dict[str, Any]) -> None:
    frame = client.parse_frame(row["line"].encode())
    frame = frame.get("fetched") or frame
    for name, value in row["meaning"].items():
        assert frame.get(name) == value


@pytest.mark.parametrize("row", frames("host", False), ids=lambda row: row["name"])
def test_invalid_frames_of_the_host(row: dict[str, Any]) -> None:
    with pytest.raises(client.ViolationError):
        client.parse_frame(row["line"].encode())


def test_a_line_that_is_not_utf8() -> None:
    with pytest.raises(client.ViolationError):
        client.parse_frame(b'{"id":1,"method":"\xff"}')
