"""Encoders: texts to unit vectors whose dot product says how alike two texts are.

    name                                     encoder                      needs
    None, "lexical"                          LexicalEncoder               nothing
    "sentence-transformers/all-MiniLM-L6-v2" SentenceTransformerEncoder   the extra `embeddings`
    "sentence-transformers:BAAI/bge-small-en-v1.5", or a model folder     the extra `embeddings`
    "litellm:openai/text-embedding-3-small"  LiteLLMEncoder               what that provider needs

A saved program records an encoder's `spec()`: what decides its vectors, and never an endpoint or a key.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..errors import ConfigError, MissingDependencyError, ProgramFileError
from .lexical import LexicalEncoder
from .text import JSON

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    """Shape [texts, dimensions]: one row of length 1 per text; a blank text has the zero row."""


@runtime_checkable
class Encoder(Protocol):
    """What makes two queries comparable; any object with these two methods will do."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text, of length 1 (a blank text: of length 0), the same for the same text."""
        ...

    def spec(self) -> dict[str, JSON]:
        """Return what decides the vectors, with a `kind`, for a saved program to record."""
        ...


def as_encoder(value: Encoder | str | None) -> Encoder:
    """Return the encoder that a name stands for (see the table above); an encoder is returned as it is.

    Raises:
        ConfigError: If it is neither a known name, a folder, nor an encoder.

    Example:
        >>> as_encoder("lexical")
        LexicalEncoder(dimensions=1024)
        >>> as_encoder("litellm:openai/text-embedding-3-small").spec()["model"]
        'openai/text-embedding-3-small'
    """
    if value is None or value == "lexical":
        return LexicalEncoder()
    if isinstance(value, str):
        kind, _, model = value.partition(":")
        if kind == "litellm" and model:
            return LiteLLMEncoder(model)
        if kind == "sentence-transformers" and model:
            return SentenceTransformerEncoder(model)
        if value.startswith("sentence-transformers/") or (value and Path(value).is_dir()):
            return SentenceTransformerEncoder(value)
    elif isinstance(value, Encoder) and not isinstance(value, type):
        return value
    raise ConfigError(
        f"encoder={value!r}: give 'lexical', 'sentence-transformers:<model>', an existing model folder, "
        "'litellm:<model>', or an object with the methods encode and spec"
    )


def encoder_from_spec(spec: object) -> Encoder:
    """Return the encoder that a saved program records.

    Endpoints and keys are never saved. A `LiteLLMEncoder` that had its own `api_base` comes back without one and
    refuses to encode, so that no text goes to another server than it was meant for: build the program with
    `encoder=LiteLLMEncoder(model, api_base=...)` and load into it, or call the predictor's `use_encoder`.

    Raises:
        ProgramFileError: If the kind is unknown or the record incomplete.
    """
    kind = spec.get("kind") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(kind, str) or kind not in _KINDS:
        raise ProgramFileError(
            f"the saved program's encoder {spec!r} is not one of {', '.join(_KINDS)}; if it is your own, build the "
            "program with it and load into that, else upgrade drpo-dspy"
        )
    make, names = _KINDS[kind]
    arguments = {str(name): value for name, value in spec.items() if name != "kind"}
    try:
        # Only what `spec` writes: a file from elsewhere must not choose where texts, or a key, are sent.
        if unknown := set(arguments) - names:
            raise ConfigError(f"it has the unknown keys {sorted(unknown)!r}")
        return make(**arguments)
    except (TypeError, ConfigError) as error:
        raise ProgramFileError(f"the saved program's encoder {dict(spec)!r} cannot be made: {error}") from None


@dataclass(frozen=True)
class SentenceTransformerEncoder:
    """Compare texts by meaning with a sentence-transformers model, run in this process.

    The model is loaded at the first use, once per process, and encodes one batch at a time.

    Args:
        model: A Hugging Face id or a folder. It is saved with a program as written.
        device: Where it runs, as torch names it. Not saved.
        batch_size: Texts per pass, at least 1. Not saved.

    Raises:
        ConfigError: If an argument is out of range; from `encode` also if the model cannot be loaded.
        MissingDependencyError: From `encode`, if sentence-transformers is not installed.
    """

    model: str
    device: str = field(default="cpu", kw_only=True)
    batch_size: int = field(default=32, kw_only=True)

    def __post_init__(self) -> None:
        _check_model(self.model, self.batch_size)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors of shape [texts, dimensions]; what exceeds the model's window is cut off."""
        loaded, lock = _sentence_transformer(self.model, self.device)
        with lock:  # fast tokenizers fail when two threads use one
            rows = loaded.encode(
                [_sendable(text) for text in texts],
                batch_size=self.batch_size,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        return _unit_rows(rows, texts)

    def spec(self) -> dict[str, JSON]:
        """Return kind and model."""
        return {"kind": "sentence-transformers", "model": self.model}


@dataclass(frozen=True)
class LiteLLMEncoder:
    """Compare texts by meaning with any embedding model that LiteLLM reaches, a local vLLM included.

    Args:
        model: LiteLLM model string, such as `openai/text-embedding-3-small` or `hosted_vllm/<served name>`.
        api_base: URL of the server, None for the provider's own. Never saved.
        api_key_env: Name of the environment variable that holds the key, None for the provider's usual one. Never
            saved.
        batch_size: Texts per request, at least 1. Not saved.
        max_characters: Longer texts are cut to this, because providers refuse what exceeds the model's window (often
            8,192 tokens). At least 1.
        timeout: Seconds to wait for one request.
        own_endpoint: That a saved encoder had its own `api_base`; set when loading.

    Raises:
        ConfigError: If an argument is out of range; from `encode` also if `api_base` or the key is missing.
        dspy.utils.exceptions.LMError: From `encode`, if the server does not answer or refuses, after 3 retries.

    Example:
        >>> LiteLLMEncoder("hosted_vllm/minilm", api_base="http://localhost:8001/v1").spec()["model"]
        'hosted_vllm/minilm'
    """

    model: str
    api_base: str | None = field(default=None, kw_only=True, repr=False)
    api_key_env: str | None = field(default=None, kw_only=True)
    batch_size: int = field(default=64, kw_only=True)
    max_characters: int = field(default=8000, kw_only=True)
    timeout: float = field(default=60.0, kw_only=True)
    own_endpoint: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        _check_model(self.model, self.batch_size)
        if not _is_count(self.max_characters, 1, 10**9):
            raise ConfigError(f"max_characters={self.max_characters!r}: give an integer of at least 1")
        object.__setattr__(self, "own_endpoint", bool(self.own_endpoint) or self.api_base is not None)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors of shape [texts, dimensions], asking for `batch_size` of them at a time."""
        # Providers refuse empty inputs; the row of a blank text is set to zero afterwards.
        inputs = [_sendable(text)[: self.max_characters] if text.strip() else "." for text in texts]
        batches = (inputs[start : start + self.batch_size] for start in range(0, len(inputs), self.batch_size))
        return _unit_rows([row for batch in batches for row in self._request(batch)], texts)

    def spec(self) -> dict[str, JSON]:
        """Return kind, model, the length texts are cut to, and whether an endpoint has to be given again."""
        return {
            "kind": "litellm",
            "model": self.model,
            "max_characters": self.max_characters,
            "own_endpoint": self.own_endpoint,
        }

    def _request(self, batch: list[str]) -> list[list[float]]:
        from dspy.utils.exceptions import LMError, is_retryable_lm_error

        pauses = [4.0, 2.0, 1.0]
        while True:  # LiteLLM retries by itself for some providers only
            try:
                return self._ask(batch)
            except LMError as error:
                if not pauses or not is_retryable_lm_error(error):
                    raise
                time.sleep(min(error.retry_after or pauses[-1], 60.0))
                pauses.pop()

    def _ask(self, batch: list[str]) -> list[list[float]]:
        if self.own_endpoint and self.api_base is None:
            raise ConfigError(
                f"the encoder {self.model!r} was saved with an endpoint of its own, which no file keeps: give it "
                "again by encoder=LiteLLMEncoder(model, api_base=...) when building the program, or by use_encoder(...)"
            )
        key = None
        if self.api_key_env is not None and not (key := os.environ.get(self.api_key_env)):
            raise ConfigError(f"api_key_env={self.api_key_env!r}: this environment variable is not set; export it")
        from dspy.clients.engines.litellm_errors import litellm_errors
        from dspy.clients.errors import error_boundary

        with error_boundary(self.model, unexpected=True), litellm_errors(model=self.model):
            import litellm

            litellm.suppress_debug_info = True  # else it prints advertisements on every error
            reply = litellm.embedding(
                model=self.model,
                input=batch,
                api_base=self.api_base,
                api_key=key,
                timeout=self.timeout,
                encoding_format="float",
                drop_params=True,
                caching=False,
            )
            if len(reply.data) != len(batch):
                raise ValueError(f"asked for {len(batch)} embeddings, got {len(reply.data)}")
            return [item["embedding"] for item in sorted(reply.data, key=lambda item: int(item["index"]))]


_KINDS: dict[str, tuple[Callable[..., Encoder], set[str]]] = {
    "lexical": (LexicalEncoder, {"dimensions", "version"}),
    "sentence-transformers": (SentenceTransformerEncoder, {"model"}),
    "litellm": (LiteLLMEncoder, {"model", "max_characters", "own_endpoint"}),
}
"""The `kind` of a spec -> what makes that encoder, and from which other keys of the spec."""

_loading = threading.Lock()
_loaded: dict[tuple[str, str], tuple[Any, threading.Lock]] = {}


def _sentence_transformer(model: str, device: str) -> tuple[Any, threading.Lock]:
    """Return the model, loaded on the first call of this process, and the lock under which to use it."""
    with _loading:
        if (model, device) not in _loaded:
            try:
                from sentence_transformers import SentenceTransformer
            except ImportError as error:
                raise MissingDependencyError(
                    f'encoder {model!r} needs sentence-transformers: pip install "drpo-dspy[embeddings]" ({error})'
                ) from error
            try:
                loaded = SentenceTransformer(model, device=device)
            except (OSError, ValueError, RuntimeError) as error:
                raise ConfigError(
                    f"the sentence-transformers model {model!r} cannot be loaded on {device!r}: {error}; give the id "
                    "of one on the Hugging Face hub or the folder of one on this machine"
                ) from error
            _loaded[model, device] = loaded, threading.Lock()
        return _loaded[model, device]


def _unit_rows(rows: Any, texts: Sequence[str]) -> Vectors:
    import numpy as np

    matrix = np.asarray(rows, dtype=np.float64).reshape(len(texts), -1 if texts else 0)
    matrix[[not text.strip() for text in texts]] = 0.0
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0)
    return unit.astype(np.float32)


def _sendable(text: str) -> str:
    # Half a surrogate pair has no UTF-8 form; tokenizers and HTTP clients fail on it.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _check_model(model: object, batch_size: object) -> None:
    if not isinstance(model, str) or not model.strip():
        raise ConfigError(f"model={model!r}: give the name of an embedding model")
    if not _is_count(batch_size, 1, 10**6):
        raise ConfigError(f"batch_size={batch_size!r}: give an integer of at least 1")


def _is_count(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
