"""The model registry: shapes of published models, parameter counts recomputed from the shape, licences.

Each row of ``models.csv`` has its source and date. The count is recomputed when the table is read, and a row whose
arithmetic does not come out is marked so, never silently used as if it did.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from typing import Any

from cloudaccel.errors import ConfigError, UnknownName
from cloudaccel.facts.loader import numbered_rows, table_path
from cloudaccel.model.workload import ModelShape

MODELS_TABLE = "models.csv"

_COUNTS = (
    "layers",
    "hidden",
    "heads",
    "kv_heads",
    "head_dim",
    "ffn",
    "vocab",
    "context",
    "experts",
    "top_k",
    "shared_experts",
    "expert_ffn",
    "dense_layers",
    "window",
    "full_layers",
    "query_rank",
    "latent_dim",
    "latent_rope_dim",
    "value_dim",
)
_TEXTS = (
    "id",
    "family",
    "architecture",
    "attention",
    "licence",
    "commercial_use",
    "source",
    "as_of",
    "note",
    "published",
)
_COLUMNS = (*_COUNTS, *_TEXTS, "params_b", "params_active_b", "tied_embeddings", "gated", "released", "aliases")
ATTENTION_KINDS = ("mha", "gqa", "mla", "sliding", "hybrid")
_ALLOWED = {
    "attention": frozenset(ATTENTION_KINDS),
    "commercial_use": frozenset({"yes", "no", "conditions", ""}),
    "tied_embeddings": frozenset({"y", "n"}),
    "gated": frozenset({"y", "n"}),
    "published": frozenset({"fp8", ""}),
}
TOTAL_TOLERANCE = 0.025  # docs/explanation/sizing.md: 101 of 122 rows within it
ACTIVE_TOLERANCE = 0.20  # makers leave embeddings or the head out of "active": up to 16 % (gpt-oss-20b)

# Families that are no decoders of text, by the words of a name. Their steps, and what they keep, are not modelled.
_OTHER_KINDS = {
    "an encoder": frozenset({
        "bert", "roberta", "deberta", "electra", "e5", "bge", "gte", "minilm", "mpnet", "nomic", "modernbert",
    }),
    "an encoder and a decoder": frozenset({"t5", "bart", "pegasus", "marian", "nllb", "m2m"}),
    "a model of images": frozenset({
        "vit", "clip", "siglip", "dino", "dinov2", "resnet", "resnet50", "swin", "convnext", "sam", "sdxl", "sd3",
        "diffusion", "flux", "dit", "unet", "detr", "yolo",
    }),
    "a model of sound": frozenset({"whisper", "wav2vec2", "hubert", "musicgen", "encodec", "bark"}),
}  # fmt: skip
# Decoders of text, whatever else their name says: embeddings and eyes are made of them.
_DECODERS = re.compile(r"llama|mistral|mixtral|qwen|gemma|gpt|phi|deepseek")
OTHER_KIND_HELP = (
    "Only decoders of text are modelled. --params N (110e6, say) plans it as a decoder of that size, which is rough; "
    "--measured N, of a short run, makes the hours yours."
)

# Words of a name that change neither shape nor size; taken off its end before two names are compared.
_SAME_SHAPE = re.compile(r"[-_ ](hf|instruct|base|it|chat|pt|v0\.\d+)$")


def parameter_count(shape: ModelShape) -> tuple[float, float]:
    """Parameters in all and those one token meets, computed from the shape (biases, norms of heads left out)."""
    h = shape.hidden
    per_layer = _attention_parameters(shape) + 2 * h
    matrices = 3 if shape.gated else 2
    expert = matrices * h * shape.expert_ffn
    dense = matrices * h * shape.ffn
    moe_layers = shape.layers - shape.dense_layers if shape.experts else 0
    dense_layers = shape.layers - moe_layers
    ends = h * shape.vocab * (1 if shape.tied_embeddings else 2) + h
    common = shape.layers * per_layer + dense_layers * dense + ends
    router = h * shape.experts
    total = common + moe_layers * ((shape.experts + shape.shared_experts) * expert + router)
    active = common + moe_layers * ((shape.top_k + shape.shared_experts) * expert + router)
    return float(total), float(active)


def _attention_parameters(shape: ModelShape) -> int:
    h, wide = shape.hidden, shape.heads * shape.head_dim
    if shape.attention != "mla":
        return h * (2 * wide + 2 * shape.kv_heads * shape.head_dim)
    queries = h * shape.query_rank + shape.query_rank * wide if shape.query_rank else h * wide
    plain = shape.head_dim - shape.latent_rope_dim
    keys = h * (shape.latent_dim + shape.latent_rope_dim)
    values = shape.latent_dim * shape.heads * (plain + shape.value_dim)
    return queries + keys + values + shape.heads * shape.value_dim * h


def check_arithmetic(shape: ModelShape) -> str:
    """``ok``, ``off`` or ``unchecked``: whether the shape gives the parameters that are stated."""
    if shape.attention == "hybrid":
        return "unchecked"
    total, active = parameter_count(shape)
    good = (
        abs(total / shape.params - 1) <= TOTAL_TOLERANCE and abs(active / shape.params_active - 1) <= ACTIVE_TOLERANCE
    )
    return "ok" if good else "off"


def _shape(row: dict[str, str]) -> ModelShape:
    for column, words in _ALLOWED.items():
        if row[column] not in words:
            raise ValueError(f"{column} {row[column]!r} is none of {', '.join(sorted(words))}")
    counts: dict[str, Any] = {name: int(row[name]) if row[name] else 0 for name in _COUNTS}
    texts: dict[str, Any] = {name: row[name] for name in _TEXTS}
    shape = ModelShape(
        params=float(row["params_b"]) * 1e9,
        params_active=float(row["params_active_b"]) * 1e9,
        tied_embeddings=row["tied_embeddings"] == "y",
        gated=row["gated"] == "y",
        **counts,
        **texts,
    )
    return replace(shape, arithmetic=check_arithmetic(shape))


def load_models(table: str = MODELS_TABLE) -> tuple[dict[str, ModelShape], dict[str, str]]:
    """Shapes by id, in table order, and ids by alias; read and checked anew.

    Raises
    ------
    ConfigError
        If a cell is wrong or an id comes twice, with file and line.
    """
    shapes: dict[str, ModelShape] = {}
    aliases: dict[str, str] = {}
    for line, row in numbered_rows(table, _COLUMNS):
        try:
            shape = _shape(row)
        except ValueError as error:
            raise ConfigError(f"{table_path(table)}, line {line}: {error}") from error
        if shape.id in shapes:
            raise ConfigError(f"{table_path(table)}, line {line}: {shape.id} is there twice")
        shapes[shape.id] = shape
        aliases.update({_key(alias): shape.id for alias in row["aliases"].split("|") if alias})
    return shapes, aliases


@cache
def _registry() -> tuple[dict[str, ModelShape], dict[str, str]]:
    shapes, aliases = load_models()
    index: dict[str, str] = {}
    for model_id in shapes:
        index.setdefault(_key(model_id.rpartition("/")[2]), model_id)
    index.update(aliases)
    return shapes, index


def models() -> Mapping[str, ModelShape]:
    """All models of the registry by id. Read it, never change it."""
    return _registry()[0]


def resolve_model(name: str) -> ModelShape:
    """The model that `name` means: its id, an alias, or the id without its owner, in any case.

    ``meta-llama/Llama-3-70B``, ``llama-3-70b-instruct`` and ``Meta-Llama-3-70B`` are one shape.

    Raises
    ------
    UnknownName
        If there is none; `choices` are the nearest names.
    """
    shapes, index = _registry()
    if name in shapes:
        return shapes[name]
    owner, _, rest = name.strip().rpartition("/")
    found = index.get(_key(rest))
    if found is not None and (not owner or found.lower().startswith(owner.lower() + "/")):
        return shapes[found]
    raise _unknown(name, found, index)


def other_kind(name: str) -> str | None:
    """What a model is by its name where that says it is no decoder of text: ``an encoder``, ``a model of images`` …"""
    text = name.lower()
    if _DECODERS.search(text):
        return None
    words = [re.sub(r"^[a-z]+(?=bert$)", "", word) for word in re.split(r"[^a-z0-9]+", text)]  # distilbert
    words += [re.sub(r"^[a-z]+(?=t5$)", "", word) for word in words]
    return next((kind for kind, known in _OTHER_KINDS.items() if not known.isdisjoint(words)), None)


def _key(name: str) -> str:
    text = name.lower().strip().removeprefix("meta-").replace("_", "-").replace(" ", "-")
    while (shorter := _SAME_SHAPE.sub("", text)) != text:
        text = shorter
    return text


def _unknown(name: str, same: str | None, index: Mapping[str, str]) -> UnknownName:
    near = [same] if same else [index[key] for key in get_close_matches(_key(name.rpartition("/")[2]), index, 5, 0.6)]
    kind = None if same else other_kind(name)
    if kind is not None:
        raise UnknownName(f"no model of the registry is called {name!r}: by its name {kind}. {OTHER_KIND_HELP}")
    choices = tuple(dict.fromkeys(near))[:3]
    hint = f" Did you mean {' or '.join(choices)}?" if choices else ""
    return UnknownName(
        f"no model of the registry is called {name!r}.{hint} "
        "Another model is given by the path of its config.json, by --params N, or by its shape in a job file.",
        choices=choices,
    )
