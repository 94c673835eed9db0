"""A model that is in no registry: from a local ``config.json``, from its shape, or guessed from a parameter count."""

import json
import os
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, cast

from cloudaccel.errors import ConfigError
from cloudaccel.facts.models import check_arithmetic, parameter_count
from cloudaccel.model.workload import ModelShape

# Width over depth of a plain dense transformer: LLaMA has 128 at every size (arXiv:2302.13971, table 2).
_WIDTH_PER_LAYER = 128
_HEAD_DIM = 128
_GUESSED_VOCAB = 128_256

# Keys of a Hugging Face config.json, the first that is there counts.
_CONFIG_KEYS: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers"),
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads"),
    "head_dim": ("head_dim",),
    "ffn": ("intermediate_size", "n_inner", "ffn_dim"),
    "vocab": ("vocab_size",),
    "context": ("max_position_embeddings", "n_positions", "max_seq_len"),
    "experts": ("n_routed_experts", "num_local_experts", "num_experts"),
    "top_k": ("num_experts_per_tok", "num_experts_per_token"),
    "shared_experts": ("n_shared_experts",),
    "expert_ffn": ("moe_intermediate_size",),
    "dense_layers": ("first_k_dense_replace",),
    "window": ("sliding_window",),
    "latent_dim": ("kv_lora_rank",),
    "latent_rope_dim": ("qk_rope_head_dim",),
    "value_dim": ("v_head_dim",),
    "query_rank": ("q_lora_rank",),
}
_NEEDED = ("layers", "hidden", "heads", "vocab")
_UNGATED = frozenset({"gelu", "relu", "gelu_new", "relu2", "gelu_fast"})
_SHAPE_KEYS = frozenset(f.name for f in fields(ModelShape) if f.type is int or f.name in ("attention", "gated"))


def model_from_config(path: str) -> ModelShape:
    """The shape in a local ``config.json``, or in the folder that holds one. Parameters are counted from the shape.

    Raises
    ------
    ConfigError
        If the file cannot be read or lacks layers, hidden size, heads or vocabulary.
    """
    file = os.path.join(path, "config.json") if os.path.isdir(path) else path
    try:
        with open(file, encoding="utf-8") as handle:
            config = json.load(handle)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: not a readable config.json ({error}).") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{file}: not an object with the model's sizes.")
    whole = cast(dict[str, Any], config)
    inner = whole.get("text_config")  # of a model that also sees or hears
    return _from_config(file, cast(dict[str, Any], inner) if isinstance(inner, dict) else whole)


def _from_config(file: str, config: Mapping[str, Any]) -> ModelShape:
    values = {name: _first(file, config, keys) for name, keys in _CONFIG_KEYS.items()}
    missing = [name for name in _NEEDED if not values[name]]
    if missing:
        keys = ", ".join(_CONFIG_KEYS[name][0] for name in missing)
        raise ConfigError(f"{file}: {keys} missing or 0. Give the shape by hand.")
    values["kv_heads"] = values["kv_heads"] or values["heads"]
    values["head_dim"] = values["head_dim"] or values["hidden"] // values["heads"]
    if values["latent_dim"]:
        plain = int(config.get("qk_nope_head_dim") or 0)
        values["head_dim"] = plain + values["latent_rope_dim"] if plain else values["head_dim"]
    if values["experts"] and not values["expert_ffn"]:
        values["expert_ffn"] = values["ffn"]
    values["ffn"] = values["ffn"] or (0 if values["experts"] else 4 * values["hidden"])
    names: Any = config.get("architectures") or [""]
    activation = str(config.get("hidden_act") or config.get("activation_function") or "silu")
    return _counted(
        {
            **values,
            "id": str(config.get("_name_or_path") or file),
            "architecture": str(names[0]),
            "tied_embeddings": bool(config.get("tie_word_embeddings")),
            "gated": activation not in _UNGATED,
            "attention": _attention(config, values),
            "full_layers": _full_layers(config, values),
            "source": file,
        }
    )


def _first(file: str, config: Mapping[str, Any], keys: tuple[str, ...]) -> int:
    value = next((config[key] for key in keys if config.get(key) is not None), 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{file}: {keys[0]} is {value!r}, a whole number of 0 or more is needed.")
    return value


def _attention(config: Mapping[str, Any], values: Mapping[str, int]) -> str:
    if values["latent_dim"]:
        return "mla"
    if values["window"] and _full_layers(config, values) < values["layers"]:
        return "sliding"
    return "mha" if values["kv_heads"] == values["heads"] else "gqa"


def _full_layers(config: Mapping[str, Any], values: Mapping[str, int]) -> int:
    """Layers that see the whole context, from ``layer_types`` or a stated pattern; all of them when nothing says."""
    kinds: Any = config.get("layer_types")
    if isinstance(kinds, list):
        return cast(list[Any], kinds).count("full_attention")
    every = config.get("sliding_window_pattern")
    if isinstance(every, int) and every > 1:
        return values["layers"] // every
    return values["layers"]


def model_from_shape(shape: Mapping[str, Any]) -> ModelShape:
    """A model from sizes given by hand: layers, hidden, heads, kv_heads, ffn, vocab, experts, attention …

    Raises
    ------
    ConfigError
        If a size is missing, unknown or not a number.
    """
    values: dict[str, Any] = {}
    for key, value in shape.items():
        name = key.replace("-", "_")
        if name not in _SHAPE_KEYS:
            raise ConfigError(f"shape: unknown key {key!r}. Known are {', '.join(sorted(_SHAPE_KEYS))}.")
        values[name] = value if name == "attention" else _whole(key, value)
    missing = [name for name in _NEEDED if not values.get(name)]
    if missing:
        raise ConfigError(f"shape: {', '.join(missing)} must be given.")
    values.setdefault("kv_heads", values["heads"])
    values.setdefault("head_dim", values["hidden"] // values["heads"])
    values.setdefault("ffn", 0 if values.get("experts") else 4 * values["hidden"])
    values.setdefault("context", 0)
    values.setdefault("attention", "mha" if values["kv_heads"] == values["heads"] else "gqa")
    values["gated"] = bool(values.get("gated", 1))
    return _counted({**values, "id": "", "architecture": "", "source": "shape given by the caller"})


def _whole(key: str, value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"shape: {key} is {value!r}, a whole number is needed.") from None
    if number != int(number) or number < 0:
        raise ConfigError(f"shape: {key} is {value!r}, a whole number of 0 or more is needed.")
    return int(number)


def _counted(values: dict[str, Any]) -> ModelShape:
    """The shape with its parameters counted, so that it agrees with itself."""
    rough = ModelShape(family="", params=1.0, params_active=1.0, **values)
    total, active = parameter_count(rough)
    shape = replace(rough, params=total, params_active=active)
    return replace(shape, arithmetic=check_arithmetic(shape))


def model_from_parameters(total: float, active: float | None = None) -> ModelShape:
    """A stand-in for a model of which only the size is known. Its shape is made up; attention FLOPs are left out.

    Parameters
    ----------
    total, active
        Parameters in all and those one token meets (experts); active None means all of them.
    """
    if total <= 0 or (active is not None and not 0 < active <= total):
        raise ConfigError("params must be above 0, and params-active at most params.")
    met = active or total
    layers = max(1, round((met / (12 * _WIDTH_PER_LAYER**2)) ** (1 / 3)))
    heads = max(1, round(layers * _WIDTH_PER_LAYER / _HEAD_DIM / 8)) * 8
    experts = 64 if met < total else 0
    hidden = heads * _HEAD_DIM
    return ModelShape(
        id="",
        family="",
        architecture="",
        params=total,
        params_active=met,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=8,
        head_dim=_HEAD_DIM,
        ffn=0 if experts else round(8 / 3 * hidden),
        vocab=_GUESSED_VOCAB,
        context=0,
        experts=experts,
        top_k=2 if experts else 0,
        expert_ffn=round((total - met) / max(1, layers * experts * 3 * hidden)) if experts else 0,
        attention="gqa",
        arithmetic="guessed",
        source="parameter count given by the caller",
    )
