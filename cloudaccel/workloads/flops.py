"""Floating-point operations of training, by method and attention kind.

Per token, forward and backward: k * N_active + (k / 6) * 12 * sum over layers of (attention width * tokens seen), the
convention of PaLM (arXiv:2204.02311, appendix B), which counts attention as if it were not causal. It is the convention
of the published MFU figures that the priors rest on, so it must stay.
"""

from cloudaccel.model.workload import ModelShape, Workload

# Multiples of the active parameters per token. Full: forward 2, gradients of activations 2, of weights 2 (Kaplan,
# arXiv:2001.08361). LoRA: no gradients of frozen weights; NVIDIA's tables give 278 GFLOP a token for 69.5e9 parameters.
# DPO: 6 and the reference model's forward 2, on the chosen and the rejected answer.
PER_PARAMETER = {"full": 6.0, "lora": 4.0, "qlora": 4.0, "dpo": 8.0}
# Dequantisation makes QLoRA slower than LoRA for the same FLOPs: litgpt on A100 1.6 (7B) and 2.1 (13B), on A10G 1.4,
# torchtune on RTX 4090 1.28 (docs/explanation/sizing.md, 2026-11).
QLORA_SLOWDOWN = 1.5


def attention_flops_per_token(model: ModelShape, sequence_tokens: int) -> float:
    """The 12 * L * width * s term of one token, with windows and constant-state layers taken into account."""
    if model.arithmetic == "guessed":
        return 0.0
    width = model.heads * model.head_dim
    if model.attention == "mla":
        width = model.heads * (model.head_dim + model.value_dim) / 2
    return 12.0 * width * _token_layers(model, sequence_tokens)


def _token_layers(model: ModelShape, sequence_tokens: int) -> float:
    """Sum over layers of the tokens that one token can attend to."""
    if model.attention not in ("sliding", "hybrid"):
        return float(model.layers * sequence_tokens)
    narrow = model.layers - model.full_layers
    return float(model.full_layers * sequence_tokens + narrow * min(model.window, sequence_tokens))


def flops_per_token(model: ModelShape, sequence_tokens: int, method: str = "full") -> float:
    """FLOPs of one token, forward and backward.

    Parameters
    ----------
    method
        ``full``, ``lora``, ``qlora`` or ``dpo``.
    """
    k = PER_PARAMETER[method]
    return k * model.params_active + k / 6.0 * attention_flops_per_token(model, sequence_tokens)


def training_flops(workload: Workload, model: ModelShape) -> float:
    """FLOPs of the whole run. The tokens are those processed, epochs included."""
    return flops_per_token(model, workload.sequence_tokens, workload.method) * (workload.tokens or 0.0)


def implied_mfu(flops: float, accelerator_hours: float, peak_tflops: float) -> float:
    """Share of the dense peak that a run reached over `accelerator_hours`, stops included."""
    return flops / (accelerator_hours * 3600.0 * peak_tflops * 1e12)
