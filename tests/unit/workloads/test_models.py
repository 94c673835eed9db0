"""The model registry and models given by hand."""

import json
from math import isclose
from pathlib import Path

import pytest

from cloudaccel.errors import ConfigError, UnknownName
from cloudaccel.facts.models import load_models, models, other_kind, parameter_count, resolve_model
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


PLAIN = {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "vocab_size": 32000}


@pytest.mark.parametrize(
    ("config", "params", "attention", "full_layers"),
    [
        # published: GPT-2 124M, Falcon 6.92B, Gemma-3 27.0B (text), Jamba 51.6B, Qwen3-Next 80B, MiniMax-Text 456B
        ({"architectures": ["GPT2LMHeadModel"], "n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 1024,
          "vocab_size": 50257, "activation_function": "gelu_new"}, 0.124e9, "mha", 12),
        ({"architectures": ["FalconForCausalLM"], "num_hidden_layers": 32, "hidden_size": 4544, "multi_query": True,
          "num_attention_heads": 71, "new_decoder_architecture": False, "vocab_size": 65024}, 6.92e9, "gqa", 32),
        ({"architectures": ["Gemma3ForCausalLM"], "num_hidden_layers": 62, "hidden_size": 5376, "head_dim": 128,
          "num_attention_heads": 32, "num_key_value_heads": 16, "intermediate_size": 21504, "vocab_size": 262208,
          "sliding_window": 1024, "sliding_window_pattern": 6}, 27.0e9, "sliding", 10),
        ({"architectures": ["JambaForCausalLM"], **PLAIN, "vocab_size": 65536, "num_key_value_heads": 8,
          "intermediate_size": 14336, "num_experts": 16, "num_experts_per_tok": 2, "expert_layer_period": 2,
          "attn_layer_period": 8, "mamba_d_state": 16}, 51.6e9, "hybrid", 4),
        ({"architectures": ["Qwen3NextForCausalLM"], "num_hidden_layers": 48, "hidden_size": 2048, "head_dim": 256,
          "num_attention_heads": 16, "num_key_value_heads": 2, "vocab_size": 151936, "full_attention_interval": 4,
          "num_experts": 512, "num_experts_per_tok": 10, "moe_intermediate_size": 512, "intermediate_size": 5120,
          "shared_expert_intermediate_size": 512}, 80e9, "hybrid", 12),
        ({"architectures": ["MiniMaxText01ForCausalLM"], "num_hidden_layers": 80, "hidden_size": 6144, "head_dim": 128,
          "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 200064, "intermediate_size": 9216,
          "num_local_experts": 32, "num_experts_per_tok": 2, "attn_type_list": ([0] * 7 + [1]) * 10},
         456e9, "hybrid", 10),
        ({**PLAIN, "intermediate_size": 14336, "num_key_value_heads": 8, "sliding_window": 4096}, 7.24e9, "gqa", 32),
        ({**PLAIN, "intermediate_size": 14336, "num_key_value_heads": 8, "sliding_window": 4096,
          "use_sliding_window": True, "max_window_layers": 8}, 7.24e9, "sliding", 8),
    ],
)  # fmt: skip
def test_config_json_of_odd_kinds(
    tmp_path: Path, config: dict[str, object], params: float, attention: str, full_layers: int
) -> None:
    """Believed wrongly: what a file leaves out or spells its own way makes the model half again as large."""
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shape = model_from_config(str(tmp_path))
    assert isclose(shape.params, params, rel_tol=0.05)
    assert (shape.attention, shape.full_layers) == (attention, full_layers)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"num_key_value_heads": 5}, "32 heads cannot share 5 key-value heads"),
        ({"hidden_size": 4100, "num_attention_heads": 33}, "does not divide by 33 heads"),
        ({"mamba_d_state": 16}, "how many see the whole context"),
        ({"num_experts": 8, "intermediate_size": 1024}, "top_k"),
        ({"num_experts": 8, "num_experts_per_tok": 9, "intermediate_size": 1024}, "top_k"),
    ],
)
def test_config_json_that_no_model_can_have(tmp_path: Path, more: dict[str, object], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(PLAIN | more), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        model_from_config(str(tmp_path))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"kv_heads": 3}, "evenly"),
        ({"attention": "mla"}, "latent_dim"),
        ({"attention": "sliding"}, "window"),
        ({"attention": "hybrid", "full_layers": 33}, "at most layers"),
        ({"attention": "hybrid"}, "full_layers"),
        ({"attention": "psychic"}, "attention"),
        ({"experts": 8}, "top_k"),
        ({"head_dim": 0}, "head_dim"),
    ],
)
def test_shape_that_no_model_can_have(more: dict[str, object], message: str) -> None:
    sizes = {"layers": 32, "hidden": 4096, "heads": 32, "vocab": 32000}
    with pytest.raises(ConfigError, match=message):
        model_from_shape({**sizes, **more})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bert-base", "an encoder"),
        ("distilbert-base-uncased", "an encoder"),
        ("intfloat/e5-large-v2", "an encoder"),
        ("BAAI/bge-m3", "an encoder"),
        ("google/flan-t5-xl", "an encoder and a decoder"),
        ("vit-large", "a model of images"),
        ("stable-diffusion-xl", "a model of images"),
        ("sdxl", "a model of images"),
        ("black-forest-labs/FLUX.1-dev", "a model of images"),
        ("whisper-large-v3", "a model of sound"),
    ],
)
def test_what_is_no_decoder_of_text_is_said_to_be_none(name: str, kind: str) -> None:
    """He would have believed that whisper-large is a spelling of Mistral-Large, and planned that."""
    with pytest.raises(UnknownName, match=kind) as raised:
        resolve_model(name)
    assert "--params" in str(raised.value)
    assert not raised.value.choices


@pytest.mark.parametrize("name", ["e5-mistral-7b", "gpt-bert", "unheard-of-7b"])
def test_other_names_are_only_unknown(name: str) -> None:
    with pytest.raises(UnknownName, match="path of its config"):
        resolve_model(name)


def test_no_model_of_the_registry_is_taken_for_another_kind() -> None:
    assert [one for one in models() if other_kind(one)] == []


ENCODER = {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12, "vocab_size": 30522}


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({**ENCODER, "model_type": "bert"}, "an encoder"),
        ({**ENCODER, "architectures": ["BertForMaskedLM"]}, "an encoder"),
        ({**ENCODER, "model_type": "xlm-roberta"}, "an encoder"),
        ({"model_type": "t5", "d_model": 512, "num_layers": 6}, "an encoder and a decoder"),
        ({**ENCODER, "model_type": "unheard-of", "is_encoder_decoder": True}, "an encoder and a decoder"),
        ({"model_type": "vit", "hidden_size": 768}, "a model of images"),
        ({"_class_name": "UNet2DConditionModel"}, "a model of images"),
        ({"model_type": "whisper", "d_model": 1280, "is_encoder_decoder": True}, "a model of sound"),
    ],
)
def test_a_config_json_of_no_decoder_is_refused(tmp_path: Path, config: dict[str, object], kind: str) -> None:
    """He would have believed that BERT has 132 M parameters, and needs a cache of keys and values to be served."""
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ConfigError, match=kind + r"\. Only decoders"):
        model_from_config(str(tmp_path))


def test_an_encoder_run_as_a_decoder_is_one(tmp_path: Path) -> None:
    config = {**ENCODER, "model_type": "bert", "is_decoder": True}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert model_from_config(str(tmp_path)).layers == 12
