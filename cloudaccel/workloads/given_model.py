"""A model that is in no registry: from a local ``config.json``, from its shape, or guessed from a parameter count."""

import os
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, cast

from cloudaccel.errors import ConfigError
from cloudaccel.facts.models import ATTENTION_KINDS, OTHER_KIND_HELP, check_arithmetic, other_kind, parameter_count
from cloudaccel.model.workload import ModelShape
from cloudaccel.untrusted import json_of

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
# A gate makes three matrices of two. The activation tells, but some families leave it out of the file, or gate GELU.
_UNGATED = frozenset({"gelu", "relu", "gelu_new", "relu2", "gelu_fast"})
_UNGATED_FAMILIES = ("Falcon", "RW", "GPT", "Bloom", "MPT", "Mpt", "OPT", "PhiFor", "Starcoder2")
_GATED_FAMILIES = ("Gemma",)
_TIED_FAMILIES = ("Gemma", "GPT2", "OPT", "Bloom", "Falcon", "MPT", "Mpt", "Cohere")  # tied unless the file says no
# Every how many layers experts stand in for the dense part.
_EXPERT_PERIODS = ("expert_layer_period", "interleave_moe_layer_step", "decoder_sparse_step")
# Every how many layers attention sees everything, in models whose other layers keep a constant state.
_ATTENTION_PERIODS = ("full_attention_interval", "attn_layer_period")
# What only models with such layers have in their file.
_STATE_KEYS = ("mamba_d_state", "ssm_cfg", "linear_conv_kernel_dim", "linear_attn_config", "hybrid_override_pattern")
_DIFFUSERS = ("UNet", "Flux", "SD3", "DiT", "Autoencoder", "PixArt")  # classes of files without sizes of a decoder
_SHAPE_KEYS = frozenset(f.name for f in fields(ModelShape) if f.type is int or f.name in ("attention", "gated"))
_MOST = 10**12  # of any size: a million times the largest vocabulary, and far from where floats overflow


def model_from_config(path: str) -> ModelShape:
    """The shape in a local ``config.json``, or in the folder that holds one. Parameters are counted from the shape.

    Raises
    ------
    ConfigError
        If the file cannot be read, lacks layers, hidden size, heads or vocabulary, or is of no decoder of text.
    """
    file = os.path.join(path, "config.json") if os.path.isdir(path) else path
    try:
        with open(file, encoding="utf-8") as handle:
            config = json_of(handle.read())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: not a readable config.json ({error}).") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{file}: not an object with the model's sizes.")
    whole = cast(dict[str, Any], config)
    inner = whole.get("text_config")  # of a model that also sees or hears
    _check_kind(file, cast(dict[str, Any], inner) if isinstance(inner, dict) else whole)
    return _from_config(file, cast(dict[str, Any], inner) if isinstance(inner, dict) else whole)


def _check_kind(file: str, config: Mapping[str, Any]) -> None:
    """Refuses what is no decoder of text: it keeps no cache of keys and values, and its parameters count otherwise."""
    if config.get("is_decoder") is True:
        return
    kind = other_kind(str(config.get("model_type") or ""))
    if kind is None and str(config.get("_class_name", "")).startswith(_DIFFUSERS):
        kind = "a model of images"
    if kind is None and config.get("is_encoder_decoder") is True:
        kind = "an encoder and a decoder"
    if kind is None and not config.get("model_type"):
        names: Any = config.get("architectures") or [""]
        kind = other_kind(re.split(r"For|Model|LMHead", str(names[0]))[0])
    if kind is not None:
        raise ConfigError(f"{file}: {kind}. {OTHER_KIND_HELP}")


def _from_config(file: str, config: Mapping[str, Any]) -> ModelShape:
    values = {name: _first(file, config, keys) for name, keys in _CONFIG_KEYS.items()}
    missing = [name for name in _NEEDED if not values[name]]
    if missing:
        keys = ", ".join(_CONFIG_KEYS[name][0] for name in missing)
        raise ConfigError(f"{file}: {keys} missing or 0. Give the shape by hand.")
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        values["kv_heads"] = 1
    values["kv_heads"] = values["kv_heads"] or values["heads"]
    if not values["head_dim"] and values["hidden"] % values["heads"]:
        raise ConfigError(f"{file}: hidden_size {values['hidden']} does not divide by {values['heads']} heads.")
    values["head_dim"] = values["head_dim"] or values["hidden"] // values["heads"]
    if values["latent_dim"]:
        plain = _first(file, config, ("qk_nope_head_dim",))
        values["head_dim"] = plain + values["latent_rope_dim"] if plain else values["head_dim"]
    if values["experts"]:
        _experts(file, config, values)
    values["ffn"] = values["ffn"] or (0 if values["experts"] else 4 * values["hidden"])
    names: Any = config.get("architectures") or [""]
    return _counted(
        {
            **values,
            "id": str(config.get("_name_or_path") or file),
            "architecture": str(names[0]),
            "tied_embeddings": bool(config.get("tie_word_embeddings", str(names[0]).startswith(_TIED_FAMILIES))),
            "gated": _gated(config, str(names[0])),
            "source": file,
            **_attention(file, config, values),
        }
    )


def _gated(config: Mapping[str, Any], architecture: str) -> bool:
    if architecture.startswith(_GATED_FAMILIES):
        return True
    keys = ("hidden_act", "activation_function", "hidden_activation", "activation")
    activation = next((str(config[key]) for key in keys if config.get(key)), "silu")
    return activation not in _UNGATED and not architecture.startswith(_UNGATED_FAMILIES)


def _experts(file: str, config: Mapping[str, Any], values: dict[str, int]) -> None:
    """Fills in width of experts, shared ones, and the layers that have none."""
    wide: Any = config.get("intermediate_size_mlp")  # of the layers without experts, where they differ
    values["expert_ffn"] = values["expert_ffn"] or values["ffn"]
    values["ffn"] = wide if isinstance(wide, int) else values["ffn"]
    shared = _first(file, config, ("shared_expert_intermediate_size",))
    if shared and values["expert_ffn"] and not values["shared_experts"]:
        values["shared_experts"] = max(1, round(shared / values["expert_ffn"]))
    period = next((config[key] for key in _EXPERT_PERIODS if config.get(key)), 1)
    if isinstance(period, int) and period > 1:
        values["dense_layers"] = values["layers"] - values["layers"] // period


def _first(file: str, config: Mapping[str, Any], keys: tuple[str, ...]) -> int:
    value = next((config[key] for key in keys if config.get(key) is not None), 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST:
        raise ConfigError(f"{file}: {keys[0]} is {value!r}, a whole number of 0 or more is needed.")
    return value


def _attention(file: str, config: Mapping[str, Any], values: Mapping[str, int]) -> dict[str, Any]:
    """Kind of attention, layers that see the whole context, and the window of the others."""
    layers = values["layers"]
    if values["latent_dim"]:
        return {"attention": "mla", "full_layers": layers, "window": 0}
    full, hybrid = _full_layers(config, layers)
    if full is None:
        raise ConfigError(
            f"{file}: some layers keep a constant state, and it does not say how many see the whole context. "
            "Give the shape by hand, with attention hybrid and full_layers."
        )
    if hybrid:
        return {"attention": "hybrid", "full_layers": full, "window": 0}
    if values["window"] and full < layers:
        return {"attention": "sliding", "full_layers": full}
    return {"attention": "mha" if values["kv_heads"] == values["heads"] else "gqa", "full_layers": layers, "window": 0}


def _full_layers(config: Mapping[str, Any], layers: int) -> tuple[int | None, bool]:
    """Layers that see the whole context (None: it cannot be told), and whether others keep a constant state."""
    kinds: Any = config.get("layer_types") or config.get("layers_block_type")
    if isinstance(kinds, list):
        names = [str(kind) for kind in cast(list[Any], kinds)]
        full = sum(name in ("full_attention", "attention") for name in names)
        return full, any("sliding" not in name for name in names if name not in ("full_attention", "attention"))
    marks: Any = config.get("attn_type_list")  # 1: softmax, 0: linear
    if isinstance(marks, list):
        return cast(list[Any], marks).count(1), 0 in marks
    every: Any = next((config[key] for key in _ATTENTION_PERIODS if config.get(key)), None)
    if isinstance(every, int):
        return layers // every, every > 1
    if any(config.get(key) for key in _STATE_KEYS):
        return None, True
    return _outside_windows(config, layers), False


def _outside_windows(config: Mapping[str, Any], layers: int) -> int:
    """Layers without a sliding window; all, which needs the most memory, when the file does not say of which."""
    if not config.get("sliding_window") or config.get("use_sliding_window") is False:
        return layers
    every: Any = config.get("sliding_window_pattern")
    if isinstance(every, int) and every > 1:
        return layers // every
    first: Any = config.get("max_window_layers")
    if config.get("use_sliding_window") and isinstance(first, int):
        return min(first, layers)
    return layers


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
    if not 0 <= number < _MOST or number != int(number):
        raise ConfigError(f"shape: {key} is {value!r}, a whole number of 0 or more is needed.")
    return int(number)


def _counted(values: dict[str, Any]) -> ModelShape:
    """The shape with its parameters counted, so that it agrees with itself."""
    rough = ModelShape(family="", params=1.0, params_active=1.0, **values)
    _check(rough)
    total, active = parameter_count(rough)
    shape = replace(rough, params=total, params_active=active)
    return replace(shape, arithmetic=check_arithmetic(shape))


def _check(shape: ModelShape) -> None:
    """Refuses a shape that no model can have, before its numbers mean something else."""
    wrong: list[str] = []
    if shape.attention not in ATTENTION_KINDS:
        wrong.append(f"attention {shape.attention!r} is none of {', '.join(ATTENTION_KINDS)}")
    if not shape.head_dim:
        wrong.append("head_dim must be above 0")
    if shape.attention == "hybrid" and not shape.full_layers:
        wrong.append("attention hybrid needs full_layers: layers that see the whole context")
    if shape.heads % max(1, shape.kv_heads):
        wrong.append(f"{shape.heads} heads cannot share {shape.kv_heads} key-value heads evenly")
    if shape.attention == "mla" and not shape.latent_dim:
        wrong.append("attention mla needs latent_dim")
    if shape.attention == "sliding" and not shape.window:
        wrong.append("attention sliding needs window, and full_layers (layers that see everything)")
    if shape.full_layers > shape.layers or shape.dense_layers > shape.layers:
        wrong.append("full_layers and dense_layers are at most layers")
    if shape.experts and not (0 < shape.top_k <= shape.experts and shape.expert_ffn):
        wrong.append("experts need top_k (at most experts) and expert_ffn")
    if wrong:
        raise ConfigError(f"{shape.source}: {'; '.join(wrong)}. Correct the shape.")


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
