"""Reads a job (YAML, JSON or a mapping) strictly: unknown keys are refused, and no scalar changes its meaning.

YAML is read with every scalar as text, so ``NO`` stays Norway and ``1e3`` is a number only where a number is meant. The
YAML library is imported here and nowhere else, since most plans come from flags.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from cloudaccel import units
from cloudaccel.errors import ConfigError, QueryError
from cloudaccel.facts.models import resolve_model
from cloudaccel.model.workload import METHODS, PRECISIONS, TASKS, ModelShape, ServeDemand, Workload
from cloudaccel.untrusted import check_yaml, json_of
from cloudaccel.workloads.given_model import model_from_config, model_from_parameters, model_from_shape

INSTALL = "pip install 'cloudaccel[plan]'"
MAX_JOB_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """A job as read: what is to be done, the model, and the keys as they were given."""

    workload: Workload
    model: ModelShape
    given: Mapping[str, Any]


def read_job(path: Path, overrides: Mapping[str, Any] | None = None) -> Job:
    """The job in a file; `overrides` go over what it says.

    Raises
    ------
    ConfigError
        If the file cannot be read, or what it says cannot be used; the message names the file.
    """
    given = {_key(key): value for key, value in _load(path).items()}
    given.update({_key(key): value for key, value in (overrides or {}).items()})
    try:
        return parse_job(given)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}", choices=error.choices) from error


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JOB_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_JOB_BYTES:,} bytes, which no job is.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}).") from error
    loaded = _json(path, text) if path.suffix.lower() == ".json" else _yaml(path, text)
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: not a job. A job is 'key: value' lines, such as 'task: finetune'.")
    return {str(key): value for key, value in cast(dict[Any, Any], loaded).items()}


def _json(path: Path, text: str) -> object:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        _refuse_twice(path, [key for key, _value in found])
        return dict(found)

    try:
        return json_of(text, text_of_number=str, of_pairs=pairs)
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON ({error}).") from error


def _yaml(path: Path, text: str) -> object:
    try:
        import yaml  # heavy, and only files in YAML need it
    except ImportError:
        raise ConfigError(f"{path}: reading YAML needs a library. {INSTALL}, or write the job as JSON.") from None

    class Strict(yaml.BaseLoader):  # every scalar stays text
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            _refuse_twice(path, [str(key.value) for key, _value in node.value])
            return super().construct_mapping(node, deep=deep)

    try:
        check_yaml(text)
        return yaml.load(text, Loader=Strict)  # noqa: S506  (a BaseLoader makes text, lists and mappings only)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not YAML ({error}).") from error


def _refuse_twice(path: Path, keys: list[str]) -> None:
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ConfigError(f"{path}: {', '.join(twice)} is there twice.")


def parse_job(given: Mapping[str, Any]) -> Job:
    """A job from a mapping with the keys of ``job.yaml``; values may be text or numbers.

    Raises
    ------
    ConfigError
        If a key is unknown, a value cannot be read, or something needed is missing.
    UnknownName
        If no model has that name.
    """
    keys = {_key(key): value for key, value in given.items() if value is not None}
    unknown = [key for key in keys if key not in _KEYS]
    if unknown:
        near = get_close_matches(unknown[0], _KEYS, 1)
        hint = f" Did you mean {near[0]}?" if near else f" Known are {', '.join(sorted(_KEYS))}."
        raise ConfigError(f"unknown key {unknown[0]!r}.{hint}", choices=near)
    if "task" not in keys:
        raise ConfigError(f"task is missing: one of {', '.join(TASKS)}.")
    try:
        values = {key: _KEYS[key](key, value) for key, value in keys.items()}
        model = _model(values)
        if values["task"] == "serve" and model.published:  # nobody serves 8-bit weights in twice the memory unasked
            values.setdefault("dtype", model.published)
        return Job(_workload(values), model, dict(given))
    except QueryError as error:
        if error.exit_code != ConfigError.exit_code:
            raise
        raise ConfigError(str(error)) from error
    except ValueError as error:
        raise ConfigError(f"{error}.") from error


def _key(key: str) -> str:
    return str(key).strip().lower().replace("_", "-")


# -- values ------------------------------------------------------------------------------------------------------------


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key}: {value!r} is no text.")
    return value.strip()


def _word(allowed: tuple[str, ...]) -> Callable[[str, Any], str]:
    def read(key: str, value: Any) -> str:
        word = _text(key, value).lower().replace("-", "_")
        if word not in allowed:
            near = get_close_matches(word, allowed, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{key}: {value!r} is none of {', '.join(allowed)}.{hint}", choices=near)
        return word

    return read


# Ten thousand times what the largest published runs processed, and far below any share of an hour: what is beyond is a
# slip of the keyboard, and would only overflow later, where no message can name the key.
_MOST, _LEAST = 1e18, 1e-9


def _number(key: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(str(value).replace("_", ""))
    except (TypeError, ValueError):
        raise ConfigError(f"{key}: {value!r} is no number. Write it as 200e6 or 4096.") from None
    if not math.isfinite(number) or number < 0:
        raise ConfigError(f"{key}: {value!r} must be a number of 0 or more.")
    if number > _MOST or 0 < number < _LEAST:
        raise ConfigError(f"{key}: {value!r} is beyond any real job. Write a number between {_LEAST:g} and {_MOST:g}.")
    return number


def _positive(key: str, value: Any) -> float:
    number = _number(key, value)
    if number <= 0:
        raise ConfigError(f"{key}: {value!r} must be above 0.")
    return number


def _count(key: str, value: Any) -> int:
    number = _positive(key, value)
    if number != int(number):
        raise ConfigError(f"{key}: {value!r} must be a whole number.")
    return int(number)


def _share(key: str, value: Any) -> float:
    text = str(value).strip()
    number = _number(key, text[:-1]) / 100 if text.endswith("%") else _number(key, text)
    if number > 1:
        raise ConfigError(f"{key}: {value!r} is a share: 0 to 1, or 0 % to 100 %.")
    return number


def _words(key: str, value: Any) -> tuple[str, ...]:
    found: list[Any] = (
        value.split(",") if isinstance(value, str) else list(cast(list[Any], value)) if _is_list(value) else []
    )
    if not found:
        raise ConfigError(f"{key}: {value!r} is no list. Write it as [bf16, flash-attn].")
    return tuple(_text(key, word) for word in found)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _duration(key: str, value: Any) -> float:
    return units.parse_duration_s(str(value), key)


def _latency(key: str, value: Any) -> float:
    """Seconds, alone or with a unit: the time of one token is never minutes."""
    return _duration(key, value) if str(value).strip()[-1:].isalpha() else _positive(key, value)


def _size_gb(key: str, value: Any) -> float:
    size, binary = units.parse_size(str(value), key)
    return size * 1.073741824 if binary else size


def _mapping(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: {value!r} is no mapping. Write it as {{name: value}}.")
    return {str(name): content for name, content in cast(dict[Any, Any], value).items()}


def _policy(key: str, value: Any) -> tuple[tuple[str, str], ...]:
    """What is allowed; a text or a list alone names packs. A name nobody reads is refused: it would forbid nothing."""
    pairs = {"packs": value} if isinstance(value, str) or _is_list(value) else _mapping(key, value)
    for name in pairs:
        if name not in POLICY_KEYS:
            near = get_close_matches(name, POLICY_KEYS, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Keys are {', '.join(POLICY_KEYS)}."
            raise ConfigError(f"{key}: no key {name!r}. {hint}", choices=near)
    return tuple((name, ",".join(_words(key, v)) if _is_list(v) else _text(name, v)) for name, v in pairs.items())


def _data(key: str, value: Any) -> tuple[float, str | None]:
    size, _at, place = _text(key, value).partition("@")
    return _size_gb(key, size), place or None


def _money(key: str, value: Any) -> Any:
    amount, currency = units.parse_money(str(value), key)
    return amount, currency or "USD"


# Under `policy`: plain filters on places; then the packs to judge by and what they ask. Flags have the same names.
POLICY_FILTERS = ("residency", "country", "region", "provider")
POLICY_KEYS = (
    *POLICY_FILTERS,
    *("packs", "headquarters", "users", "sector", "data-class", "stated", "operator-jurisdiction", "require-cert"),
    "allow-status",
)
_KEYS: dict[str, Callable[[str, Any], Any]] = {
    "task": _word(TASKS),
    "model": _text,
    "shape": _mapping,
    "params": _positive,
    "params-active": _positive,
    "method": _word(METHODS),
    "dtype": _word(PRECISIONS),
    "tokens": _positive,
    "seq": _count,
    "batch": _count,
    "stack": _text,
    "parallel": _word(("ddp", "any")),
    "recompute": _word(("none", "selective", "full")),
    "rank-lora": _count,
    "requires": _words,
    "cores": _count,
    "deadline": _duration,
    "budget": _money,
    "disk": _size_gb,
    "data": _data,
    "policy": _policy,
    "requests-per-s": _positive,
    "tokens-per-month": _positive,
    "input-tokens": _count,
    "output-tokens": _count,
    "cached-share": _share,
    "ttft": _duration,
    "tpot": _latency,
    "context": _count,
    "concurrency": _count,
    "utilization": _share,
    "hours-on": _positive,
    "dtype-kv": _word(PRECISIONS),
    "prefill-chunk": _count,
}
# Key -> field; keys of the same meaning and name are not repeated.
_WORKLOAD = {
    "task": "task", "method": "method", "dtype": "precision", "tokens": "tokens", "seq": "sequence_tokens",
    "batch": "batch_sequences", "stack": "stack", "parallel": "parallel", "recompute": "recompute",
    "rank-lora": "lora_rank", "requires": "requires", "cores": "cores", "deadline": "deadline_s", "disk": "disk_gb",
    "policy": "policy",
}  # fmt: skip
_SERVE = {
    "requests-per-s": "requests_per_s", "tokens-per-month": "tokens_per_month", "input-tokens": "input_tokens",
    "output-tokens": "output_tokens", "cached-share": "cached_share", "ttft": "ttft_s", "tpot": "tpot_s",
    "context": "context", "concurrency": "concurrency", "utilization": "utilisation",
    "hours-on": "hours_on_per_month", "dtype-kv": "kv_precision", "prefill-chunk": "prefill_chunk_tokens",
}  # fmt: skip


def _workload(values: Mapping[str, Any]) -> Workload:
    serving = values["task"] == "serve"
    misplaced = sorted(set(values) & (set() if serving else set(_SERVE)))
    if misplaced:
        raise ConfigError(f"{', '.join(misplaced)}: only a serve job has it.")
    if values.get("method", "full") != "full" and values["task"] != "finetune":
        raise ConfigError(f"method {values['method']}: only a finetune job has one.")
    if not serving and values.get("dtype") == "int4":
        raise ConfigError(
            "dtype int4: nothing trains in 4-bit integers. --method qlora keeps frozen weights in 4 bits, at bf16."
        )
    if not serving and "tokens" not in values:
        raise ConfigError("tokens is missing: how many tokens are processed, epochs included, such as 200e6.")
    given: dict[str, Any] = {_WORKLOAD[key]: value for key, value in values.items() if key in _WORKLOAD}
    if given.get("parallel") == "any":
        given["parallel"] = None
    if "budget" in values:
        given["budget"], given["budget_currency"] = values["budget"]
    if "data" in values:
        given["data_gb"], given["data_place"] = values["data"]
    if serving:
        given["serve"] = ServeDemand(**{_SERVE[key]: value for key, value in values.items() if key in _SERVE})
    return Workload(model=values.get("model", ""), **given)


def _model(values: Mapping[str, Any]) -> ModelShape:
    """The model by exactly one of its ways: a name or a config.json, a shape, or a parameter count."""
    ways = [key for key in ("model", "shape", "params") if key in values]
    if not ways:
        raise ConfigError("model is missing: a name, a local config.json, a shape, or params.")
    if "params" in values and "model" not in values and "shape" not in values:
        return model_from_parameters(values["params"], values.get("params-active"))
    if "params-active" in values or len(ways) > 1:
        raise ConfigError(
            f"the model is given by {' and '.join(ways)}: keep one. model is for a model of the registry or a "
            "config.json, shape and params for any other."
        )
    if "shape" in values:
        return model_from_shape(values["shape"])
    name = values["model"]
    if name.endswith(".json") or (os.sep in name and os.path.isfile(os.path.join(name, "config.json"))):
        return model_from_config(name)
    return resolve_model(name)
