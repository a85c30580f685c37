"""What a schema cannot see in an action that asks a language model, and in where its answer goes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from routinectl.core import permissions, prompt
from routinectl.core.problem import Path, Problem, did_you_mean, path_text
from routinectl.core.routine import Doc
from routinectl.core.settings import Settings


def check(doc: Doc, settings: Settings) -> Iterator[Problem]:
    """Yield the faults of an effective document in what concerns models and outputs."""
    yield from _model(doc, settings)
    yield from _output(doc)


DATES = re.compile(r"\{slot:([^{}]*)\}")


def _model(doc: Doc, settings: Settings) -> Iterator[Problem]:
    """Refuse what a prompt cannot do, a model that the workspace does not have, and budgets that nobody could keep."""
    asked = doc["action"].get("prompt")
    if asked is None:
        for key in [key for key in ("tokens", "cost_usd") if key in doc.get("budget", {})]:
            yield Problem(f"budget.{key} caps what a model is asked, and this action asks none", ("budget", key), f"remove budget.{key}")
        return
    path: Path = ("action", "prompt")
    if ("text" in asked) == ("file" in asked):
        yield Problem("a prompt has a text or a file, one of the two", path, "prompt: {text: Summarise yesterday's notes.}")
    name = asked.get("model", prompt.DEFAULT_MODEL)
    model = settings.models.get(name)
    if model is None:
        example = "models: {default: {provider: openai, model: gpt-5-mini, api_key: {env: OPENAI_API_KEY}}}"
        known = did_you_mean(name, settings.models) if settings.models else ""
        yield Problem(f"routinectl.yaml has no model '{name}'", (*path, "model"), known or f"{example} in routinectl.yaml")
    budget = doc.get("budget", {})
    capped: list[Path] = [("budget", "cost_usd")] if "cost_usd" in budget else []
    capped += [("budget", "per_day", "cost_usd")] if "cost_usd" in budget.get("per_day", {}) else []
    for where in capped if model is not None and model.price is None else ():
        message = f"the price of the model '{name}' is not known, so that no budget of money can be kept"
        yield Problem(message, where, f"models: {{{name}: {{price: {{input: 0.25, output: 2.0}}}}}} in routinectl.yaml")
    for index, text in enumerate([*asked.get("context", ()), *([asked["file"]] if "file" in asked else [])]):
        where = (*path, "context", index) if index < len(asked.get("context", ())) else (*path, "file")
        why = permissions.refusal_of(text, writing=False)
        if why:
            yield Problem(f"{path_text(where)} '{text}' {why}", where, "context: ['workspace:daily/']")
    for key in [key for key in ("shell", "stdin", "umask", "workdir", "env", "secrets") if key in doc["action"]]:
        yield Problem(f"action.{key} is for programs, and a prompt starts none", ("action", key), f"remove {key}")
    if doc.get("permissions", {}).get("level", "read_only") != "read_only":
        yield Problem("a prompt has no tools, so that it is always read_only", ("permissions", "level"), "remove permissions.level")
    for key in [key for key in ("file", "command") if key in doc.get("expect", {})]:
        yield Problem(f"expect.{key} is for programs, and a prompt starts none", ("expect", key), f"remove expect.{key}")


def _output(doc: Doc) -> Iterator[Problem]:
    text = doc["action"].get("output")
    if text is None:
        return
    path: Path = ("action", "output")
    for form in DATES.findall(text):
        if not form or "/" in form:
            yield Problem(f"action.output: '{{slot:{form}}}' has no date in it", path, "output: out/review-{slot:%Y-%m-%d}.md")
    plain = DATES.sub("x", text)
    if "{" in plain or "}" in plain:
        yield Problem("action.output knows {slot:%Y-%m-%d} and nothing else in braces", path, "output: out/review-{slot:%Y-%m-%d}.md")
    why = permissions.refusal_of(plain, writing=True)
    if why or plain.endswith("/"):
        yield Problem(f"action.output '{text}' {why or 'is a folder'}", path, "output: out/review-{slot:%Y-%m-%d}.md")
