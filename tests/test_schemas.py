"""The schemas: documented to the last key, and the fast check agrees with jsonschema."""

from __future__ import annotations

import copy
import json

import jsonschema
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from routinectl.core.schema import compile_schema, faults
from routinectl.files import schemas

GOOD = {
    "schema": 1, "name": "x", "tags": ["a"], "timezone": "UTC", "triggers": [{"cron": "* * * * *"}, {"weekly": {"days": ["mon", 2], "time": "9:00"}}],
    "misfire": {"policy": "skip", "grace": "1m", "max": 3}, "concurrency": {"policy": "allow", "max": 2}, "timeout": "5m", "approval": "none",
    "action": {"command": ["a", "b"], "env": {"A": "x", "B": 1}, "secrets": {"T": {"env": "T"}}, "umask": "077"}, "budget": {"output": "1MiB"},
}  # fmt: skip
ODD = st.sampled_from(
    [None, True, False, 0, 1, -1, 1.0, 2.5, "", "x", "5m", "skip", [], {}, ["x"], [1], {"x": 1}, {"env": "A"}, {"when": "none"}, 10**12]
)


def keys(schema, path=""):
    for name, value in schema.get("properties", {}).items():
        yield f"{path}.{name}", value
        yield from keys(value, f"{path}.{name}")
    for part in (schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", ())):
        if isinstance(part, dict):
            yield from keys(part, path + "[]")


@pytest.mark.parametrize("name", schemas.NAMES)
def test_every_key_has_a_description_and_an_example(name):
    found = [
        path for path, value in keys(schemas.load(name)) if not value.get("description") or not ("examples" in value or "const" in value)
    ]
    assert found == []


@pytest.mark.parametrize("name", schemas.NAMES)
def test_schemas_are_draft_2020_12_and_their_examples_satisfy_them(name):
    schema = schemas.load(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for path, value in keys(schema):
        for example in value.get("examples", ()):
            assert compile_schema(value)(example), (path, example)


def paths(value, path=()):
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(item, (*path, key))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_fast_check_agrees_with_jsonschema(data):
    doc = copy.deepcopy(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.sampled_from(list(paths(doc))))
        odd = copy.deepcopy(data.draw(ODD))
        if not where:
            continue
        target = doc
        for part in where[:-1]:
            target = target[part]
        if isinstance(target, dict) and data.draw(st.booleans()):
            target[data.draw(st.sampled_from(["x", "cron", "name", "max", "1a"]))] = odd
        else:
            target[where[-1]] = odd
    schema = schemas.load("routine")
    slow = jsonschema.Draft202012Validator(schema).is_valid(doc)

    assert schemas.accepts("routine")(doc) == slow
    assert bool(faults(schema, doc)) == (not slow), doc


def test_the_schemas_lie_where_an_editable_install_and_a_wheel_find_them():
    assert schemas.path_of("routine") == ROOT / "schemas/routine.schema.json"
    assert json.loads((ROOT / "schemas/routine.schema.json").read_text())["title"]
