"""JSON Schema for definitions: a fast yes or no, and faults in words where the answer is no.

`compile_schema` turns the few words that our schemas use into closures, because a start with 10 000 definitions cannot
wait for a general validator; it only ever says yes or no. The faults come from jsonschema, imported when there are
some, and are translated here. A test holds that both always agree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from routinectl.core.problem import Path, Problem, did_you_mean, path_text

Accepts = Callable[[Any], bool]
Schema = Mapping[str, Any]

_TYPES: dict[str, Accepts] = {
    "object": lambda value: type(value) is dict,
    "array": lambda value: type(value) is list,
    "string": lambda value: type(value) is str,
    "boolean": lambda value: value is True or value is False,
    "integer": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
    "number": lambda value: type(value) is int or type(value) is float,
    "null": lambda value: value is None,
}
_ARTICLES = {"object": "a mapping", "array": "a list", "string": "text", "boolean": "true or false",
             "integer": "a whole number", "number": "a number", "null": "nothing"}  # fmt: skip
_NOTES = frozenset({"$schema", "$id", "title", "description", "examples", "default", "x-branch", "x-kind"})


def compile_schema(schema: Schema) -> Accepts:
    """Return a function that says whether a value satisfies the schema. Raises ValueError for a word we do not use."""
    checks = [_COMPILERS[word](schema) for word in schema if word not in _NOTES and word not in _TOGETHER]
    if _TOGETHER & schema.keys():
        checks.append(_object(schema))
    if len(checks) == 1:
        return checks[0]
    steps = tuple(checks)
    return lambda value: all(step(value) for step in steps)


_TOGETHER = {"properties", "additionalProperties", "required", "propertyNames", "minProperties", "maxProperties"}


def _type(schema: Schema) -> Accepts:
    kinds = schema["type"]
    if isinstance(kinds, str):
        return _TYPES[kinds]
    options = tuple(_TYPES[kind] for kind in kinds)
    return lambda value: any(option(value) for option in options)


def _enum(schema: Schema) -> Accepts:
    values = [(type(value), value) for value in schema["enum"]]
    return lambda value: (type(value), value) in values


def _const(schema: Schema) -> Accepts:
    wanted = schema["const"]
    return lambda value: value == wanted and isinstance(value, bool) is isinstance(wanted, bool)  # 1 is not true, and is 1.0


def _any_of(schema: Schema) -> Accepts:
    options = tuple(compile_schema(option) for option in schema["anyOf"])
    return lambda value: any(option(value) for option in options)


def _items(schema: Schema) -> Accepts:
    accepts = compile_schema(schema["items"])
    return lambda value: type(value) is not list or all(accepts(item) for item in value)


def _pattern(schema: Schema) -> Accepts:
    matches = re.compile(schema["pattern"]).search
    return lambda value: type(value) is not str or matches(value) is not None


def _bound(word: str) -> Callable[[Schema], Accepts]:
    def bind(schema: Schema) -> Accepts:
        limit = schema[word]
        return {
            "minimum": lambda value: type(value) not in (int, float) or value >= limit,
            "maximum": lambda value: type(value) not in (int, float) or value <= limit,
            "minLength": lambda value: type(value) is not str or len(value) >= limit,
            "maxLength": lambda value: type(value) is not str or len(value) <= limit,
            "minItems": lambda value: type(value) is not list or len(value) >= limit,
            "maxItems": lambda value: type(value) is not list or len(value) <= limit,
        }[word]

    return bind


def _object(schema: Schema) -> Accepts:
    known = {key: compile_schema(value) for key, value in schema.get("properties", {}).items()}
    extra = schema.get("additionalProperties", True)
    other: Accepts = compile_schema(extra) if isinstance(extra, dict) else lambda value: bool(extra)
    names = compile_schema(schema["propertyNames"]) if "propertyNames" in schema else None
    required = tuple(schema.get("required", ()))
    low, high = schema.get("minProperties", 0), schema.get("maxProperties", 1 << 30)

    def accepts(value: Any) -> bool:
        if type(value) is not dict:
            return True
        if not low <= len(value) <= high or any(key not in value for key in required):
            return False
        return all(known.get(key, other)(item) and (names is None or names(key)) for key, item in value.items())

    return accepts


_COMPILERS: dict[str, Callable[[Schema], Accepts]] = {
    "type": _type, "enum": _enum, "const": _const, "anyOf": _any_of, "items": _items, "pattern": _pattern,
    **{word: _bound(word) for word in ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")},
}  # fmt: skip


def faults(schema: Schema, value: Any) -> list[Problem]:
    """Return every fault of a value, in the order of the file; empty when the schema accepts it."""
    import jsonschema  # costs 70 ms, and only a fault needs it

    validator = jsonschema.Draft202012Validator(schema)
    found = [problem for error in validator.iter_errors(value) for problem in _problems(error, ())]
    unique = {(problem.path, problem.message): problem for problem in found}
    return list(unique.values())


def _problems(error: Any, above: Path) -> Iterator[Problem]:
    path: Path = (*above, *error.path)
    where = path_text(path)
    word, value, instance = error.validator, error.validator_value, error.instance
    if path[-2:-1] == ("secrets",) and word in ("type", "enum"):
        # Whatever stands there may be the secret itself: it must not be said again.
        yield Problem(
            f"{where} must be a reference, not a literal; secrets are never in definitions",
            path,
            f"{path[-1]}: {{file: workspace:secrets/token}}",
        )
    elif word == "additionalProperties" and isinstance(error.schema.get("properties"), Mapping):
        yield from _unknown_keys(error.schema, instance, path)
    elif word == "anyOf":
        yield from _branch(error, path)
    elif word == "required":
        yield from (
            Problem(f"'{key}' is missing{' in ' + where if where else ''}", path, _example(error.schema, key))
            for key in value
            if key not in instance
        )
    elif "propertyNames" in error.schema_path or "propertyNames" in error.absolute_schema_path:
        yield Problem(f"'{instance}' cannot be a name here", path, "letters, digits and _ only")
    else:
        yield Problem(_say(word, value, instance, where, error.schema), path, _hint(error.schema, where))


def _unknown_keys(schema: Schema, instance: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    known = list(schema["properties"])
    for key in instance:
        if key not in known:
            place = f" in {path_text(path)}" if path else ""
            meant = _KEY_HINTS.get(str(key)) if not path else None
            hint = meant or did_you_mean(str(key), known) or f"the keys here are {', '.join(known)}"
            yield Problem(f"unknown key '{key}'{place}", (*path, key), hint)


_KEY_HINTS = {
    "on": "`triggers:` says when; `notify: {on: [...]}` says of what to tell",
    "cron": 'triggers: [{cron: "0 9 * * *"}]',
    "schedule": 'triggers: [{schedule: "every day at 9:00"}]',
    "every": "triggers: [{every: 5m}]",
    "command": "action: {command: [...]}",
    "env": "action: {command: [...], env: {...}}",
    "prompt": "action: {prompt: {text: ...}}",
}


def _branch(error: Any, path: Path) -> Iterator[Problem]:
    """Report the faults of the one option whose type fits, so that nobody reads the faults of the others."""
    fitting = [option for option in error.validator_value if _type(option)(error.instance)] if all(
        "type" in option for option in error.validator_value) else []  # fmt: skip
    enum = [option for option in error.validator_value if "enum" in option]
    if len(fitting) == 1:
        index = error.validator_value.index(fitting[0])
        for inner in error.context:
            if inner.schema_path[0] == index:
                yield from _problems(inner, path)
        return
    if isinstance(error.instance, str) and enum:
        yield Problem(_say("enum", enum[0]["enum"], error.instance, path_text(path), enum[0]), path, _hint(enum[0], path_text(path)))
        return
    kinds = " or ".join(
        dict.fromkeys(_ARTICLES[option["type"]] if isinstance(option.get("type"), str) else "one of a list of words"
                      for option in error.validator_value))  # fmt: skip
    yield Problem(f"{path_text(path)} must be {kinds}, not {found(error.instance)}", path, "")


def found(value: Any) -> str:
    """Return what a person wrote, in words: `text 'abc'`, `the number 5`, `a list`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value[:60]}'" + ("..." if len(value) > 60 else "")
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "a list" if isinstance(value, list) else "a mapping"


def _say(word: str, wanted: Any, value: Any, where: str, schema: Schema) -> str:
    name = where or "a definition"
    if word == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        text = " or ".join(_ARTICLES[kind] for kind in kinds)
        return f"{name} must be {text}, not {found(value)}"
    if word == "enum":
        return f"{name} is {found(value)}; allowed are {', '.join(map(str, wanted))}"
    if word == "pattern":
        if schema.get("x-kind") == "duration":
            return f"{name} is {found(value)}, which is not a duration"
        return f"{name} is {found(value)}, which does not have the form {wanted}"
    bounds = {"minimum": "at least", "maximum": "at most", "minLength": "at least", "maxLength": "at most",
              "minItems": "at least", "maxItems": "at most", "minProperties": "at least", "maxProperties": "at most"}  # fmt: skip
    units = {"Length": " characters", "Items": " items", "Properties": " keys", "imum": ""}
    if word in bounds:
        unit = next(text for tail, text in units.items() if word.endswith(tail))
        if word == "minLength" and wanted == 1:
            return f"{name} is empty"
        if not unit:
            return f"{name} must be {bounds[word]} {wanted}, not {value}"
        return f"{name} must have {bounds[word]} {wanted}{unit[:-1] if wanted == 1 else unit}"
    if word == "const":
        return f"{name} must be {found(wanted) if isinstance(wanted, bool) else wanted}, not {found(value)}"
    return f"{name} is not as it should be ({word})"


def _hint(schema: Schema, where: str) -> str:
    if not where:
        return "the least that is one:  triggers: [{daily: '09:00'}]  and, on the next line,  action: {command: [echo, hello]}"
    if not schema.get("examples"):
        return ""
    key = where.rpartition(".")[2].partition("[")[0]
    return f"{key}: {_flow(schema['examples'][0])}" if key else ""


def _example(schema: Schema, key: str) -> str:
    examples = schema.get("properties", {}).get(key, {}).get("examples")
    return f"{key}: {_flow(examples[0])}" if examples else ""


def _flow(value: Any) -> str:
    """Return a value as one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    plain = re.fullmatch(r"[A-Za-z0-9_./][A-Za-z0-9_./ -]*", text) and (not isinstance(value, str) or not re.fullmatch(r"[-+0-9.]+", text))
    return text if plain or not isinstance(value, str) else f'"{text}"'
