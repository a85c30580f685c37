"""A talk with a model that may call tools: what was said so far, one more turn, and the results of its calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from routinectl.core import foreign
from routinectl.core.agent import Tool
from routinectl.core.prompt import Message, estimate
from routinectl.models.ask import believable, fault_of

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse


@dataclass(frozen=True, slots=True)
class Call:
    """A tool that the model would like called; `fault` says why its arguments cannot be used."""

    id: str
    tool: str
    arguments: dict[str, Any]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One turn of the model: a text, calls of tools, or both. Tokens as in `ask.Reply`."""

    text: str
    calls: list[Call]
    sent: int
    answered: int
    finish: str
    raw: ModelResponse


@dataclass(slots=True)
class Talk:
    """Everything that was said. `tokens` is about what sending all of it takes."""

    instructions: str
    question: str
    messages: list[ModelMessage] = field(default_factory=list)
    tokens: int = 0
    _news: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from pydantic_ai.messages import ModelRequest, UserPromptPart

        self.messages = [ModelRequest(parts=[UserPromptPart(self.question)], instructions=self.instructions)]
        self.tokens = estimate(self.instructions) + estimate(self.question)
        self._news = {"instructions": self.instructions, "text": self.question}

    def news(self) -> dict[str, Any]:
        """Return what is sent for the first time with the next turn, for the record."""
        found, self._news = self._news, {}
        return found

    def add_results(self, results: Sequence[tuple[Call, str, str]], reply: Reply) -> None:
        """Add a turn and what its calls came to (done, failed, denied or suggested, and a text)."""
        from pydantic_ai.messages import ModelRequest, ToolReturnPart

        answered = {call.id for call, _, _ in results}
        texts = [(call, text if outcome in ("done", "suggested") else f"{outcome}: {text}") for call, outcome, text in results]
        texts += [(call, "denied: too many calls in one turn") for call in reply.calls if call.id not in answered]
        parts = [ToolReturnPart(_wire_name(call.tool), text, call.id) for call, text in texts]
        self.messages += [reply.raw, ModelRequest(parts=parts, instructions=self.instructions)]
        self.tokens += reply.answered + sum(estimate(text) for _, text in texts)


def take(model: Any, talk: Talk, tools: Sequence[Tool], max_tokens: int, seconds: float) -> Reply:
    """Have the model take one turn. Raises ModelError."""
    from pydantic_ai.direct import model_request_sync
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.tools import ToolDefinition

    offered = [
        ToolDefinition(name=_wire_name(tool.name), description=tool.description, parameters_json_schema=tool.schema) for tool in tools
    ]
    try:
        response = model_request_sync(model, talk.messages, model_settings={"max_tokens": max_tokens, "timeout": seconds},
                                      model_request_parameters=ModelRequestParameters(function_tools=offered))  # fmt: skip
    except Exception as error:  # noqa: BLE001  # each provider has errors of its own, and none of them is ours
        raise fault_of(error) from None
    text = response.text or ""
    calls = [_call(part.tool_call_id, part.tool_name, part.args) for part in response.tool_calls]
    whole = text + "".join(json.dumps(call.arguments) for call in calls)
    sent, answered, _ = believable(
        response.usage.input_tokens, response.usage.output_tokens, Message(talk.instructions, talk.question), whole
    )
    return Reply(text, calls, sent, answered, str(response.finish_reason or ""), response)


def _wire_name(tool: str) -> str:
    """Return a tool's name as providers allow it: without a dot."""
    return tool.replace(".", "_", 1)


def _call(call_id: str, name: str, given: Any) -> Call:
    tool = name.replace("_", ".", 1)
    try:
        arguments = given if isinstance(given, dict) else foreign.parse(given or "{}")
    except ValueError:
        return Call(call_id, tool, {}, "its arguments are no JSON")
    return Call(call_id, tool, arguments) if isinstance(arguments, dict) else Call(call_id, tool, {}, "its arguments are no object")
