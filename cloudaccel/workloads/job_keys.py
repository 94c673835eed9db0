"""The keys of a job file in words: the help of the flags and the reference are made of this table."""

from collections.abc import Mapping

# Key -> what it says, and an example of its value. On the command line each is a flag of the same name, but `shape`
# and `policy`.
JOB_KEYS: Mapping[str, tuple[str, str]] = {
    "task": ("pretrain, continued_pretrain, finetune or serve", "finetune"),
    "model": ("name in the registry, or a config.json", "llama-3-70b"),
    "shape": ("the model as the keys of a config.json, when it is in no registry", "{layers: 32, hidden: 4096}"),
    "params": ("parameters, for a model that is in no registry", "7e9"),
    "params-active": ("with params: parameters that one token meets, in a mixture of experts", "3e9"),
    "method": ("of fine-tuning: full, lora, qlora or dpo", "lora"),
    "dtype": ("number format of the weights at work", "bf16"),
    "tokens": ("tokens to process, epochs included", "200e6"),
    "seq": ("sequence length in tokens", "4096"),
    "batch": ("sequences in one step over all accelerators", "64"),
    "stack": ("training or serving software, when speeds of it are known", "nemo"),
    "parallel": ("ddp: the stack keeps a whole copy on each accelerator; any (default): the best split", "ddp"),
    "recompute": ("activations computed again: none, selective or full", "selective"),
    "rank-lora": ("rank of the adapters of LoRA", "16"),
    "requires": ("features that the accelerator must have", "[bf16, flash-attn]"),
    "cores": ("cores of one accelerator chip that the job uses, where that is a choice", "2"),
    "deadline": ("time until it must be done, start-up included", "24h"),
    "budget": ("most that it may cost in all", "300 USD"),
    "disk": ("disk of that size beside the machines", "500GB"),
    "data": ("data to bring in, and where it lies", "10TB@PROVIDER:REGION"),
    "policy": ("packs to judge by; or keys: packs, the facts they ask, filters on places", "[eu-gdpr]"),
    "requests-per-s": ("serve: requests per second at the busiest", "20"),
    "tokens-per-month": ("serve: tokens a month, in and out", "4e9"),
    "input-tokens": ("serve: tokens of one prompt", "2000"),
    "output-tokens": ("serve: tokens of one answer", "300"),
    "cached-share": ("serve: share of the prompt that is found in the cache", "30%"),
    "ttft": ("serve: longest time to the first token", "500ms"),
    "tpot": ("serve: longest time for each further token", "50ms"),
    "context": ("serve: longest context in tokens", "8192"),
    "concurrency": ("serve: requests at work at once", "64"),
    "utilization": ("serve: share of the time switched on that is used", "40%"),
    "hours-on": ("serve: hours switched on in a month, of 730", "730"),
    "dtype-kv": ("serve: number format of the key-value cache", "fp8"),
    "prefill-chunk": ("serve: tokens of a prompt that are taken in at once", "8192"),
}
