"""The model registry and models given by hand."""

import json
from math import isclose
from pathlib import Path

import pytest

from cloudaccel.errors import ConfigError, UnknownName
from cloudaccel.facts.models import load_models, models, parameter_count, resolve_model
from cloudaccel.workloads.given_model import model_from_config, model_from_parameters, model_from_shape


def test_counts_are_recomputed_and_rows_that_do_not_check_are_marked() -> None:
    kinds = [shape.arithmetic for shape in models().values()]
    assert kinds.count("ok") >= 100
    for shape in models().values():
        total, _active = parameter_count(shape)
        if shape.arithmetic == "ok":
            assert isclose(total, shape.params, rel_tol=0.025)
    assert resolve_model("nvidia/Llama-3_3-Nemotron-Super-49B-v1").arithmetic == "off"
    assert resolve_model("qwen3.5-27b").arithmetic == "unchecked"


def test_every_row_has_licence_source_and_date() -> None:
    for shape in models().values():
        assert shape.licence, shape.id
        assert shape.commercial_use in ("yes", "no", "conditions"), shape.id
        assert shape.source, shape.id
        assert shape.as_of, shape.id


@pytest.mark.parametrize(
    "name",
    ["meta-llama/Llama-3-70B", "llama-3-70b", "LLAMA-3-70B-Instruct", "meta-llama/Meta-Llama-3-70B", "llama3-70b"],
)
def test_names_of_one_shape(name: str) -> None:
    assert resolve_model(name).id == "meta-llama/Meta-Llama-3-70B"


def test_experts_total_and_active() -> None:
    shape = resolve_model("deepseek-v3")
    assert (shape.params, shape.params_active) == (671e9, 37.6e9)


@pytest.mark.parametrize("name", ["llama-3-71b", "somebody/llama-3-70b", "lama-3-70b"])
def test_near_names_are_suggested(name: str) -> None:
    with pytest.raises(UnknownName, match="Did you mean") as error:
        resolve_model(name)
    assert "meta-llama/Meta-Llama-3-70B" in error.value.choices
    assert error.value.exit_code == 5


def test_bad_row_names_file_and_line(tmp_path: Path) -> None:
    path = Path(__file__).parents[3] / "cloudaccel/facts/models.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    bad = tmp_path / "models.csv"
    bad.write_text("\n".join([lines[0], lines[1].replace(",32,", ",x,", 1)]), encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2"):
        load_models(str(bad))


def test_config_json(tmp_path: Path) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 32,
        "hidden_size": 4096,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "vocab_size": 128256,
        "max_position_embeddings": 8192,
        "hidden_act": "silu",
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shape = model_from_config(str(tmp_path))
    assert isclose(shape.params, 8.03e9, rel_tol=0.001)
    assert (shape.attention, shape.architecture) == ("gqa", "LlamaForCausalLM")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"num_hidden_layers": "many"}', '{"num_hidden_layers": -1}'])
def test_unusable_config_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        model_from_config(str(tmp_path))


def test_config_json_of_latent_attention_with_experts(tmp_path: Path) -> None:
    config = {
        "num_hidden_layers": 61,
        "hidden_size": 7168,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "intermediate_size": 18432,
        "moe_intermediate_size": 2048,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "first_k_dense_replace": 3,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "vocab_size": 129280,
        "max_position_embeddings": 163840,
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shape = model_from_config(str(tmp_path / "config.json"))
    assert shape.attention == "mla"
    assert isclose(shape.params, 671e9, rel_tol=0.01)
    assert isclose(shape.params_active, 37.6e9, rel_tol=0.02)


def test_shape_and_parameters_by_hand() -> None:
    sizes = {"layers": "32", "hidden": 4096, "heads": 32, "kv-heads": 8, "ffn": 14336, "vocab": 128256}
    assert isclose(model_from_shape(sizes).params, 8.03e9, rel_tol=0.001)
    with pytest.raises(ConfigError, match="unknown key"):
        model_from_shape({**sizes, "licence": "x"})
    with pytest.raises(ConfigError, match="must be given"):
        model_from_shape({"layers": 3})
    guess = model_from_parameters(70e9)
    assert (guess.params, guess.arithmetic) == (70e9, "guessed")
    assert isclose(parameter_count(guess)[0], 70e9, rel_tol=0.2)
    with pytest.raises(ConfigError):
        model_from_parameters(7e9, 8e9)


def test_every_id_and_alias_means_its_own_row() -> None:
    for model_id in models():
        assert resolve_model(model_id).id == model_id
        assert resolve_model(model_id.rpartition("/")[2]).params == models()[model_id].params
