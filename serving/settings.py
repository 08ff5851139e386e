"""Typed settings of an LM and of a local model server, as a config file states them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class LMSettings(BaseModel):
    """How one role reaches its model.

    Example:
        >>> LMSettings(model="hosted_vllm/smollm2", api_base="http://127.0.0.1:8000/v1").model_type
        'chat'
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    model: str = Field(min_length=1)
    """A LiteLLM model string, for example `openai/gpt-4o-mini` or `hosted_vllm/<served name>`."""
    server: str | None = None
    """The name of an entry of `serve:`; its address is used instead of `api_base`."""
    api_base: str | tuple[str, ...] | None = None
    """The endpoint's address, or several that share the load. None: the provider's own."""
    api_key_env: str | None = None
    """The name of the environment variable that holds the key. Keys themselves never stand in a config."""
    model_type: Literal["chat", "text"] = "chat"
    """`text` for base models, which are sent one raw completion prompt."""
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    """Sampling temperature. None: the provider's default, which reasoning models insist on."""
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    """Nucleus sampling mass. None: the provider's default."""
    max_tokens: int | None = Field(default=None, ge=1)
    """The longest reply, in tokens. None: the provider's default."""
    seed: int | None = None
    """Sampling seed sent with each call, where the provider takes one."""
    structured_output: bool | None = None
    """Whether JSON schemas are sent. None: yes for a local vLLM and where LiteLLM knows that the model takes them."""
    string_limit: int | None = Field(default=None, ge=1)
    """Longest text in one field of a structured reply, in characters; for servers that hold small models to a schema,
    such as vLLM. None: no limit."""
    num_retries: int = Field(default=3, ge=0)
    """How often a call is tried again after a server error, a broken connection or a time-out. Rate limits are waited
    out besides. 0: each call is asked once, and an error of these kinds ends the run."""
    timeout: float = Field(default=120.0, gt=0.0)
    """Seconds that a reply is waited for, and each part of it; then the try has failed."""
    cache: bool = False
    """Whether DSPy's cache may answer. Off, so that a run's counts are what was really asked."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request, sent as they are (vLLM's own options, for example)."""
    input_price: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """Dollars per million tokens read; 0: free. None: as LiteLLM lists it, if it does."""
    output_price: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """Dollars per million tokens written; 0: free. None: as LiteLLM lists it, if it does."""
    hourly_price: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """In place of both: dollars per hour in which the server (all of its addresses) has something to do. Roles that
    share a server share its hours. None: it is not paid by the hour."""

    @field_validator("input_price", "output_price", "hourly_price", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("must be a number")
        return value

    @field_validator("hourly_price")
    @classmethod
    def _one_kind_of_price(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and any(info.data.get(name) is not None for name in ("input_price", "output_price")):
            raise ValueError("must be null beside input_price and output_price: a server has one kind of price")
        return value

    @field_validator("api_base", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


class ServerSettings(BaseModel):
    """One local vLLM process; the official code's serving arguments stand in brackets."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    model: str = Field(min_length=1)
    """A Hugging Face model id or a local folder [base_model_name]."""
    served_model_name: str | None = None
    """The name that clients ask for. None: `model`."""
    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback exposes the model to the network."""
    port: int = Field(default=8000, ge=1, le=65535)
    """TCP port to listen on."""
    python: Path | None = None
    """The interpreter of the environment that holds vLLM. None: this one."""
    download_dir: Path | None = None
    """Where model weights are kept [base_model_download_dir]."""
    cuda_visible_devices: str | None = None
    """GPUs to use, for example `"0,1"` [cuda_visible_devices]. None: as the environment says."""
    num_gpus: int = Field(default=1, ge=1)
    """GPUs that share the model by tensor parallelism [num_gpus]."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0.0, le=1.0)
    """Share of GPU memory that vLLM may take [gpu_memory_utilization]. None: vLLM's default."""
    quantization: str | None = None
    """For example `awq` [is_awq]. None: as the model's own config says."""
    dtype: str | None = None
    """Weight type, for example `float32` for answers that do not depend on batching. None: vLLM's choice."""
    max_model_len: int | None = Field(default=None, ge=1)
    """Longest prompt plus reply, in tokens. None: the model's own limit."""
    enforce_eager: bool = False
    """Skip compilation: starts faster, runs somewhat slower."""
    prefix_caching: bool = True
    """Reuse the computation of shared prompt beginnings."""
    compact_json: bool = True
    """Write structured replies without optional white space, which small models would fill their tokens with."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Further environment variables of the process."""
    extra_args: tuple[str, ...] = ()
    """Further arguments of `vllm serve`, as they are."""
    startup_timeout: float = Field(default=600.0, gt=0.0)
    """Seconds until the server must answer its health check."""

    @property
    def name(self) -> str:
        """The name that clients ask for."""
        return self.served_model_name or self.model

    @property
    def api_base(self) -> str:
        """The address that clients use."""
        return f"http://{self.host}:{self.port}/v1"
