"""Why a vLLM server did not start or died: from its log to one plain sentence with a remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .settings import ServerSettings

TAIL_LINES = 15
"""How many lines of the log an error shows when the cause is not recognised."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LOG_PREFIX = re.compile(r"^(?:\([^)]*\)\s*)?(?:[A-Z]+ [\d-]+ [\d:]+ \[[^\]]*\]\s*)?")


@dataclass(frozen=True, kw_only=True)
class _Cause:
    """One kind of failure that vLLM's log shows."""

    pattern: re.Pattern[str]
    meaning: str
    remedy: str


def _cause(pattern: str, meaning: str, remedy: str) -> _Cause:
    return _Cause(pattern=re.compile(pattern), meaning=meaning, remedy=remedy)


# The first that is found anywhere in the log counts, so what causes other messages stands before them.
_CAUSES = (
    _cause(
        r"[Aa]ddress already in use",
        "its port was taken while it started",
        "set serve.{entry}.port to a free port",
    ),
    _cause(
        r"KV cache is needed, which is larger than|No available memory for the cache blocks",
        "memory is short: too little is left for the KV cache",
        "lower serve.{entry}.max_model_len, or raise serve.{entry}.gpu_memory_utilization; a quantized model or more "
        "GPUs (serve.{entry}.num_gpus) also make room",
    ),
    _cause(
        r"on startup is less than desired|less than requested memory for kv",
        "memory is short: other programs hold what it was told to take",
        "stop them, or lower serve.{entry}.gpu_memory_utilization "
        "(on a CPU: VLLM_CPU_KVCACHE_SPACE in serve.{entry}.environment, in GiB)",
    ),
    _cause(
        r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|can't allocate memory|Cannot allocate memory"
        r"|\bMemoryError\b|std::bad_alloc",
        "memory is short",
        "take a smaller or quantized model (serve.{entry}.model, serve.{entry}.quantization), lower "
        "serve.{entry}.max_model_len, or spread it over more GPUs (serve.{entry}.num_gpus)",
    ),
    _cause(
        r"GatedRepoError|gated repo|401 Client Error|403 Client Error",
        "the model {model!r} may not be downloaded without permission",
        "accept its licence on Hugging Face and set HF_TOKEN",
    ),
    _cause(
        r"RepositoryNotFoundError|Repository Not Found|is not a valid model identifier|Repo id must|HFValidationError"
        r"|couldn't connect to '?https://|LocalEntryNotFoundError|OfflineModeIsEnabled"
        r"|Cannot find an appropriate cached snapshot",
        "the model {model!r} is neither a local folder nor could it be fetched from Hugging Face",
        "check serve.{entry}.model, the network and HF_HUB_OFFLINE, or name a folder",
    ),
    _cause(
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver|libcuda\.so\.1: cannot open",
        "no usable GPU was found",
        "for a machine without one run `make vllm-env` and set serve.{entry}.python to .venv-vllm/bin/python",
    ),
    _cause(
        r"larger than the number of available GPUs|must be divisible by tensor parallel size",
        "the model cannot be spread over {num_gpus} GPUs",
        "set serve.{entry}.num_gpus to a number that this machine has and that divides the attention heads",
    ),
    _cause(
        r"Unknown quantization method|does not match the quantization|quantization is currently not supported",
        "the quantization does not fit the model or the device",
        "leave serve.{entry}.quantization out to take what the model's own config says",
    ),
    _cause(
        r"User-specified max_model_len .* is greater",
        "max_model_len is above what the model can do",
        "lower serve.{entry}.max_model_len",
    ),
    _cause(
        r"error: (?:unrecognized arguments|argument |ambiguous option)",
        "vLLM does not know an argument",
        "check serve.{entry}.extra_args and the values beside it",
    ),
    _cause(
        # vLLM often looks at the exit code too early and prints None.
        r"died unexpectedly \(exit code: (?:-9|None)\)|Failed core proc\(s\): \{[^}\n]*: -9",
        "one of its processes was ended from outside, most likely because the machine's memory ran out",
        "free memory, or take a smaller model or a smaller KV cache (serve.{entry}.max_model_len; on a CPU: "
        "VLLM_CPU_KVCACHE_SPACE in serve.{entry}.environment, in GiB)",
    ),
)


def explain_failure(log: str, *, entry: str, settings: ServerSettings, exit_code: int | None) -> str:
    """Say why a server failed and what to do.

    Args:
        log: What the server wrote, or the end of it.
        entry: The server's name under `serve:`.
        settings: Its settings.
        exit_code: Its exit code (128 + signal number when a signal ended it); None while it still runs.

    Returns:
        One sentence, then the line of the log that shows it, or the log's last lines when nothing was recognised.
        Control characters are taken out: a log holds text of strangers.
    """
    names = {"entry": entry, "model": settings.model, "num_gpus": settings.num_gpus}
    clean = clean_text(log)
    for cause in _CAUSES:
        if found := cause.pattern.search(clean):
            start = clean.rfind("\n", 0, found.start()) + 1
            line = _LOG_PREFIX.sub("", clean[start:].partition("\n")[0]).strip()[:300]
            return f"{cause.meaning.format(**names)}: {cause.remedy.format(**names)}.\n    vLLM said: {line}"
    tail = [line for line in clean.splitlines() if line.strip()][-TAIL_LINES:]
    shown = "".join(f"\n    {line[:300]}" for line in tail) or " (empty)"
    if exit_code == 137:
        return (
            "it was killed (signal 9), most likely because the machine's memory ran out: free memory, or take a "
            f"smaller model or KV cache (serve.{entry}.max_model_len).\n  The end of its log:{shown}"
        )
    ended = "" if exit_code is None else f"it ended with exit code {exit_code}. "
    return f"{ended}The end of its log:{shown}"


def clean_text(text: str) -> str:
    """The text without terminal control sequences and without characters that change the direction of writing."""
    return _CONTROL.sub("", text.replace("\r", "\n"))
