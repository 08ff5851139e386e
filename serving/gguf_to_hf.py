"""Re-writes a GGUF file of a Llama-shaped model as a folder that vLLM and transformers read.

    python gguf_to_hf.py MODEL.gguf FOLDER

vLLM reads no GGUF by itself. The weights are expanded to bfloat16; tokenizer and chat template come out of the same
file. It runs as a script inside the server environment, which holds what it imports, and not `drpo`.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_IN_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_CONTROL_TOKEN = 3  # GGUF's token type of markers like <|im_start|>

Field = Callable[[str], Any]


def convert(source: Path, folder: Path) -> None:
    """Write the model folder.

    Args:
        source: A GGUF file of architecture `llama` with a byte-level BPE tokenizer.
        folder: The folder to fill; made if missing.

    Raises:
        ValueError: The file holds another kind of model or tokenizer.
    """
    from gguf import GGUFReader  # type: ignore[import-not-found]

    reader = GGUFReader(source)

    def field(name: str) -> Any:
        return reader.fields[name].contents() if name in reader.fields else None

    if field("general.architecture") != "llama" or field("tokenizer.ggml.model") != "gpt2":
        raise ValueError(
            f"{source}: architecture {field('general.architecture')!r} with tokenizer "
            f"{field('tokenizer.ggml.model')!r}; only 'llama' with 'gpt2' (byte-level BPE) can be converted"
        )
    folder.mkdir(parents=True, exist_ok=True)
    names = _write_weights(reader, field, folder)
    _write_config(field, folder, tied="lm_head.weight" not in names)
    _write_tokenizer(field, folder)


def _write_weights(reader: Any, field: Field, folder: Path) -> set[str]:
    import torch  # type: ignore[import-not-found]
    from gguf import dequantize
    from safetensors.torch import save_file  # type: ignore[import-not-found]

    heads = {
        "attn_q": field("llama.attention.head_count"),
        "attn_k": field("llama.attention.head_count_kv") or field("llama.attention.head_count"),
    }
    tensors = {}
    for tensor in reader.tensors:
        parts = tensor.name.removesuffix(".weight").split(".")
        kind = parts[-1]
        name = f"model.layers.{parts[1]}.{_IN_LAYER[kind]}" if parts[0] == "blk" else _OUTSIDE[kind]
        weight = torch.tensor(dequantize(tensor.data, tensor.tensor_type))
        if kind in heads:
            # GGUF puts the two rows that rotate together side by side, Hugging Face half a head apart.
            pairs = weight.unflatten(0, (heads[kind], -1, 2))
            weight = pairs.transpose(1, 2).reshape(weight.shape)
        tensors[f"{name}.weight"] = weight.to(torch.bfloat16).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return set(tensors)


def _write_config(field: Field, folder: Path, *, tied: bool) -> None:
    special = {f"{short}_token_id": field(f"tokenizer.ggml.{long}_token_id") for short, long in _SPECIAL.items()}
    heads = field("llama.attention.head_count")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": len(field("tokenizer.ggml.tokens")),
        "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": field("llama.attention.head_count_kv") or heads,
        "max_position_embeddings": field("llama.context_length"),
        "rms_norm_eps": float(f"{field('llama.attention.layer_norm_rms_epsilon'):.6g}"),  # stored in single precision
        "rope_theta": field("llama.rope.freq_base") or 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        **special,
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", special)


_SPECIAL = {"bos": "bos", "eos": "eos", "pad": "padding"}


def _write_tokenizer(field: Field, folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens, kinds = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    split: Any = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if field("tokenizer.ggml.pre") == "smollm":  # this family reads numbers digit by digit
        split = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), split])
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    tokenizer.save(str(folder / "tokenizer.json"))

    template = field("tokenizer.chat_template")
    special = {
        f"{short}_token": tokens[number]
        for short, long in (_SPECIAL | {"unk": "unknown"}).items()
        if (number := field(f"tokenizer.ggml.{long}_token_id")) is not None
    }
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": field("llama.context_length"),
            "clean_up_tokenization_spaces": False,
            "chat_template": template,
            **special,
        },
    )
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except (OSError, ValueError, KeyError) as problem:
        sys.exit(f"gguf_to_hf: {problem}")
