"""What a schema cannot see in an action that asks a language model, and in where its answer goes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from routinectl.core import agent, permissions, prompt
from routinectl.core.problem import Path, Problem, did_you_mean, path_text
from routinectl.core.routine import Doc
from routinectl.core.settings import Settings


def check(doc: Doc, settings: Settings) -> Iterator[Problem]:
    """Yield the faults of an effective document in what concerns models and outputs."""
    yield from _model(doc, settings)
    yield from _output(doc)


DATES = re.compile(r"\{slot:([^{}]*)\}")


def _model(doc: Doc, settings: Settings) -> Iterator[Problem]:
    """Refuse what a model cannot do, a model that the workspace does not have, and budgets that nobody could keep."""
    kind = next((kind for kind in ("prompt", "agent") if kind in doc["action"]), "")
    if not kind:
        for key in [key for key in ("tokens", "cost_usd") if key in doc.get("budget", {})]:
            yield Problem(f"budget.{key} caps what a model is asked, and this action asks none", ("budget", key), f"remove budget.{key}")
        if "tools" in doc.get("permissions", {}):
            yield Problem(
                "permissions.tools are an agent's, and this action has none", ("permissions", "tools"), "remove permissions.tools"
            )
        return
    asked, path = doc["action"][kind], ("action", kind)
    if "cli" in asked:
        yield from _cli(doc, asked)
        return
    if kind == "prompt":
        yield from _prompt(doc, asked)
    elif "use" not in asked:  # what a saved agent has, is known when it is read; here names can only narrow
        yield from agent.tool_faults(doc.get("permissions", {}).get("tools", ()), ("permissions", "tools"), agent.TOOLS)
    if "use" not in asked or "model" in asked:
        yield from _known(doc, settings, asked.get("model", prompt.DEFAULT_MODEL), path)
    for index, text in enumerate(asked.get("context", ())):
        why = permissions.refusal_of(text, writing=False)
        if why:
            yield Problem(
                f"{path_text((*path, 'context', index))} '{text}' {why}", (*path, "context", index), "context: ['workspace:daily/']"
            )
    unused = ("shell", "stdin", "umask", "workdir", "env", "secrets") if kind == "prompt" else ("shell", "stdin", "umask")
    for key in [key for key in unused if key in doc["action"]]:
        yield Problem(f"action.{key} is for programs, and this action starts none", ("action", key), f"remove {key}")
    for key in [key for key in ("file", "command") if key in doc.get("expect", {})]:
        yield Problem(f"expect.{key} is for programs, and this action starts none", ("expect", key), f"remove expect.{key}")


def _cli(doc: Doc, asked: Doc) -> Iterator[Problem]:
    """Refuse what cannot be kept for an agent that is somebody else's program: its turns and calls are its own affair."""
    path: Path = ("action", "agent")
    for key in [key for key in asked if key not in ("cli", "task", "title")]:
        yield Problem(f"action.agent.{key} is for agents of ours; cli is a program of its own", (*path, key), f"remove {key}")
    for key in [key for key in ("tokens", "cost_usd") if key in doc.get("budget", {})]:
        yield Problem(f"budget.{key} cannot be counted for a program of its own", ("budget", key), "budget: {cpu: 5m}, and timeout")
    granted = permissions.read(doc)
    if granted.tools is not None:
        yield Problem("permissions.tools are of agents of ours; cli is a program of its own", ("permissions", "tools"), "remove tools")
    if granted.network and granted.external != "allow":
        message = "what a program of its own sends cannot be looked at: with the network it may do anything outside"
        yield Problem(message, ("permissions", "network"), "external: allow, if that is meant, or network: false")


def _prompt(doc: Doc, asked: Doc) -> Iterator[Problem]:
    path: Path = ("action", "prompt")
    if ("text" in asked) == ("file" in asked):
        yield Problem("a prompt has a text or a file, one of the two", path, "prompt: {text: Summarise yesterday's notes.}")
    why = permissions.refusal_of(asked["file"], writing=False) if "file" in asked else ""
    if why:
        yield Problem(f"action.prompt.file '{asked['file']}' {why}", (*path, "file"), "file: prompt.md")
    if doc.get("permissions", {}).get("level", "read_only") != "read_only":
        yield Problem("a prompt has no tools, so that it is always read_only", ("permissions", "level"), "remove permissions.level")
    if "tools" in doc.get("permissions", {}):
        yield Problem("a prompt has no tools; an agent has", ("permissions", "tools"), "action: {agent: {task: ...}}")


def _known(doc: Doc, settings: Settings, name: str, path: Path) -> Iterator[Problem]:
    """Refuse a model that is not there, and a budget of money where its price is not."""
    model = settings.models.get(name)
    if model is None:
        example = "models: {default: {provider: openai, model: gpt-5-mini, api_key: {env: OPENAI_API_KEY}}}"
        known = did_you_mean(name, settings.models) if settings.models else ""
        yield Problem(f"routinectl.yaml has no model '{name}'", (*path, "model"), known or f"{example} in routinectl.yaml")
        return
    budget = doc.get("budget", {})
    capped: list[Path] = [("budget", "cost_usd")] if "cost_usd" in budget else []
    capped += [("budget", "per_day", "cost_usd")] if "cost_usd" in budget.get("per_day", {}) else []
    for where in capped if model.price is None else ():
        message = f"the price of the model '{name}' is not known, so that no budget of money can be kept"
        yield Problem(message, where, f"models: {{{name}: {{price: {{input: 0.25, output: 2.0}}}}}} in routinectl.yaml")


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
