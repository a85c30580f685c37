"""One question to a language model, over pydantic-ai: what it answered, and how many tokens that took.

Nothing is tried again behind our back: each try is reserved and counted by whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from routinectl.core.prompt import Message, estimate


class ModelError(Exception):
    """The model did not answer; `again` says whether trying once more may help."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `sent` and `answered` are tokens: what the provider says, or an estimate where that cannot be true."""

    text: str
    sent: int
    answered: int
    finish: str
    estimated: bool


def connect(provider: str, model: str, base_url: str, key: str) -> Any:
    """Return pydantic-ai's model. Raises ModelError when the provider is not known or its package is missing."""
    from pydantic_ai.models import infer_model
    from pydantic_ai.providers import infer_provider_class

    try:
        kind = infer_provider_class(provider)
        options: dict[str, Any] = {"api_key": key or "none"} | ({"base_url": base_url} if base_url else {})
        kind_of_client = _client(provider, options)
        made = kind_of_client if kind_of_client is not None else kind(**options)
        chat = "openai-chat" if provider == "openai" else provider
        return infer_model(f"{chat}:{model}", provider_factory=lambda name: made)
    except (ImportError, ValueError, TypeError) as error:
        raise ModelError(f"the provider {provider} cannot be used: {error}", again=False) from None


def _client(provider: str, options: dict[str, Any]) -> Any:
    """Return a provider whose client tries nothing again by itself, for those two that would."""
    if provider in ("openai", "openai-chat"):
        from openai import AsyncOpenAI
        from pydantic_ai.providers.openai import OpenAIProvider

        return OpenAIProvider(openai_client=AsyncOpenAI(max_retries=0, **options))
    if provider == "anthropic":
        from anthropic import AsyncAnthropic
        from pydantic_ai.providers.anthropic import AnthropicProvider

        return AnthropicProvider(anthropic_client=AsyncAnthropic(max_retries=0, **options))
    return None


def ask(model: Any, message: Message, max_tokens: int, seconds: float) -> Reply:
    """Ask once, and wait at most so long. Raises ModelError."""
    from pydantic_ai.direct import model_request_sync
    from pydantic_ai.messages import ModelRequest, UserPromptPart
    from pydantic_ai.models import ModelRequestParameters

    request = ModelRequest(parts=[UserPromptPart(message.text)], instructions=message.instructions)
    try:
        response = model_request_sync(model, [request], model_settings={"max_tokens": max_tokens, "timeout": seconds},
                                      model_request_parameters=ModelRequestParameters())  # fmt: skip
    except Exception as error:  # noqa: BLE001  # each provider has errors of its own, and none of them is ours
        raise fault_of(error) from None
    text = response.text or ""
    sent, answered, estimated = believable(response.usage.input_tokens, response.usage.output_tokens, message, text)
    return Reply(text, sent, answered, str(response.finish_reason or ""), estimated)


def believable(sent: int, answered: int, message: Message, text: str) -> tuple[int, int, bool]:
    """Return the tokens that a provider claims, or estimates where it claims less than can be true."""
    least_sent, least_answered = message.tokens // 4, estimate(text) // 4
    if sent >= least_sent and answered >= least_answered:
        return sent, answered, False
    return max(sent, message.tokens), max(answered, estimate(text)), True


def fault_of(error: Exception) -> ModelError:
    """Return what went wrong in words of ours, whatever library said it."""
    from pydantic_ai.exceptions import ModelAPIError  # the way there, or what came back; OSError: a socket's own

    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return ModelError(f"the model's server answered {status}: {_short(error)}", again=status in (408, 409, 429) or status >= 500)
    return ModelError(f"the model could not be asked: {_short(error)}", again=isinstance(error, (ModelAPIError, OSError)))


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
