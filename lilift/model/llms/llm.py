"""The decoder: any causal LLM that transformers can load, frozen, in 4 bits, with a LoRA adapter for the second stage.

No model family is named here. What differs between families (how embeddings are scaled, how hidden states become logits, which
tokens begin and end a text) is asked of the model itself, by tiny probes when it is loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import bitsandbytes
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from lilift.model.llms import unsloth_backend
from lilift.model.seeding import seeded
from lilift.model.sources import check_tokenizer, loading, model_folder_or_hub
from lilift.recipe.errors import ModelError, RecipeError
from lilift.recipe.schema import Dtype, LLMSettings, LoraSettings

PROBE_TOKENS = 5
# Where an LLM's weights lie in the files of a multimodal checkpoint, and under which names the LLM alone has them.
_INSIDE_MULTIMODAL = {
    "^language_model.model": "model",
    "^language_model.lm_head": "lm_head",
    "^model.language_model": "model",
}


@dataclass(frozen=True)
class LLMTokens:
    """The LLM's special tokens.

    Attributes:
        bos: stands before every text, or None for an LLM that was trained without such a token.
        eos: ends a response; training teaches it.
        stop: every token that ends generation.

    A padding token is not needed: padding is never embedded, attended to or scored.
    """

    bos: int | None
    eos: int
    stop: tuple[int, ...]


@dataclass(frozen=True)
class OutputHead:
    """How hidden states become logits: ``softcap * tanh(scale * (W h + b) / softcap)``.

    Attributes:
        linear: W [V, D] and b.
        scale: a factor on the logits (Cohere, Granite).
        softcap: bounds the logits (Gemma 2); None for no bound.
    """

    linear: nn.Linear
    scale: float
    softcap: float | None

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] to [..., V]."""
        logits: Tensor = self.linear(hidden) * self.scale
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


def load_llm_tokenizer(settings: LLMSettings) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a recipe's LLM.

    Raises:
        ModelError: it cannot be found or used.
    """
    location = model_folder_or_hub(settings.model)
    with loading(settings.model, what="LLM's tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            location, revision=settings.revision, trust_remote_code=settings.trust_remote_code
        )
        check_tokenizer(tokenizer, settings.model, what="LLM")
    return tokenizer


def load_llm(
    settings: LLMSettings, *, device: torch.device, longest_trained: int | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the frozen LLM of a recipe and its tokenizer.

    Args:
        settings: of the LLM.
        device: where to.
        longest_trained: positions of the longest row, if it is loaded to be trained: then through `settings.backend`.

    Raises:
        ModelError: it cannot be found or loaded, or cannot read embeddings in place of tokens.
        EnvironmentUnfit: the backend cannot be used here.
    """
    tokenizer = load_llm_tokenizer(settings)
    by_unsloth = longest_trained is not None and settings.backend == "unsloth"
    if longest_trained is not None and by_unsloth:
        llm = unsloth_backend.load_for_training(settings, longest=longest_trained, device=device)
    else:
        llm = _load_with_transformers(settings, device)
    # Answers must not depend on the sampling and penalties that some models bring as defaults; the stop tokens are kept.
    llm.generation_config = GenerationConfig(do_sample=False, eos_token_id=llm.generation_config.eos_token_id)
    if settings.gradient_checkpointing:
        enable_gradient_checkpointing(llm)
    with loading(settings.model, what="LLM"):
        check_reads_embeddings(llm, settings.model)
        if by_unsloth:
            unsloth_backend.check_gradient_reaches_inputs(llm, backbone_of(llm), settings.model)
    return llm, tokenizer


def _load_with_transformers(settings: LLMSettings, device: torch.device) -> PreTrainedModel:
    location = model_folder_or_hub(settings.model)
    hub = {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
    with loading(settings.model, what="LLM"):
        whole = AutoConfig.from_pretrained(location, **hub)
        config = without_dropout(text_part(whole))
        llm, report = AutoModelForCausalLM.from_pretrained(
            location,
            config=config,
            key_mapping=None if config is whole else dict(_INSIDE_MULTIMODAL),
            dtype=getattr(torch, settings.dtype),
            quantization_config=quantization(settings),
            device_map={"": device},
            use_safetensors=True,
            output_loading_info=True,
            **hub,
        )
    if report["missing_keys"]:
        raise ModelError(
            f"the weights of the LLM are incomplete: {min(report['missing_keys'])} is missing",
            where=settings.model,
            remedy="download it again, or check that the folder holds this model's weights",
        )
    llm.requires_grad_(False).eval()
    keep_autograd_on_cpu(llm)
    return llm


def text_part(config: PreTrainedConfig) -> PreTrainedConfig:
    """The configuration of the LLM alone: a checkpoint may hold a vision tower too (Gemma 3 from 4B), which is not read."""
    text = config.get_text_config(decoder=True)
    return text if type(text) in MODEL_FOR_CAUSAL_LM_MAPPING else config


def enable_gradient_checkpointing(llm: PreTrainedModel) -> None:
    """Keep one hidden state a layer while training, and compute the rest again in the backward pass."""
    # Later versions of transformers call it by another name.
    enable = getattr(llm, "activation_checkpointing_enable", None) or llm.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def quantization(settings: LLMSettings) -> BitsAndBytesConfig | None:
    """How bitsandbytes is to quantise the weights: NF4 with double quantisation (QLoRA, arXiv 2305.14314)."""
    return nf4(settings.dtype) if settings.quantization == "nf4" else None


def nf4(dtype: Dtype, *, skip: list[str] | None = None) -> BitsAndBytesConfig:
    """NF4 with double quantisation.

    Args:
        dtype: the precision that is computed in.
        skip: names of layers that stay as they are; left out, the output head.
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
        llm_int8_skip_modules=skip,  # its name is older than the 4 bits that it serves as well
    )


def without_dropout(config: PreTrainedConfig) -> PreTrainedConfig:
    """Set every dropout of a configuration to 0: what is frozen is trained against as it is, and a loss can be repeated."""
    for part in (config, config.get_text_config()):
        for name, value in part.to_dict().items():
            if isinstance(value, float) and ("dropout" in name or name.endswith(("_pdrop", "_drop"))):
                setattr(part, name, 0.0)
    return config


def keep_autograd_on_cpu(llm: nn.Module) -> None:
    """Keep 4-bit layers differentiable on CPUs with AVX512-BF16.

    There bitsandbytes repacks the weights at the first forward pass in evaluation mode, for a kernel without a backward pass;
    training after an evaluation would then silently learn nothing.
    """
    for module in llm.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def special_tokens(llm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> LLMTokens:
    """The special tokens of an LLM, as its tokenizer and generation settings use them.

    Raises:
        ModelError: nothing says which token ends a text.
    """
    return tokens_of(llm.generation_config.eos_token_id, tokenizer, name)


def tokens_of(declared_eos: int | Sequence[int] | None, tokenizer: PreTrainedTokenizerBase, name: str) -> LLMTokens:
    """The special tokens, where the model itself is not loaded.

    Args:
        declared_eos: what its generation settings say.
        tokenizer: its tokenizer.
        name: the model in errors.

    Raises:
        ModelError: nothing says which token ends a text.
    """
    declared = [] if declared_eos is None else [declared_eos] if isinstance(declared_eos, int) else list(declared_eos)
    eos = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else next(iter(declared), None)
    if eos is None:
        raise ModelError(
            "the LLM has no end-of-sequence token", where=name, remedy="set `eos_token` in its tokenizer_config.json"
        )
    return LLMTokens(bos=first_token(tokenizer), eos=eos, stop=tuple(dict.fromkeys([eos, *declared])))


def first_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """What the tokenizer puts before every text. Some have a BOS token and never do; the model has not seen it there."""
    begins = tokenizer("a").input_ids[:1]
    return tokenizer.bos_token_id if begins == [tokenizer.bos_token_id] else None


def backbone_of(llm: PreTrainedModel) -> nn.Module:
    """The decoder without its head, which gives hidden states; LoRA layers inside it are used."""
    backbone: nn.Module = llm.get_decoder()
    return backbone


@torch.no_grad()
def check_reads_embeddings(llm: PreTrainedModel, name: str) -> None:
    """Check that embeddings can stand in for token ids: a few models read the ids elsewhere too.

    Raises:
        ModelError: they cannot.
    """
    ids = _probe_ids(llm)
    by_id = llm(input_ids=ids, use_cache=False).logits
    by_embedding = llm(inputs_embeds=llm.get_input_embeddings()(ids), use_cache=False).logits
    if not _close(by_id, by_embedding):
        raise ModelError("the LLM reads more than its input embeddings", where=name, remedy="choose another LLM")


@torch.no_grad()
def find_output_head(llm: PreTrainedModel) -> OutputHead | None:
    """The LLM's head, if it is a plain linear layer with at most a scale and a soft cap; None if it is anything else.

    Tried on a few tokens against the model's own logits, because families differ (scaled, capped, normalised, adapted heads)
    and a wrong convention would train silently on a wrong loss.
    """
    linear = llm.get_output_embeddings()
    if type(linear) is not nn.Linear:
        return None
    embeddings = llm.get_input_embeddings()(_probe_ids(llm))
    expected = llm(inputs_embeds=embeddings, use_cache=False).logits
    hidden = backbone_of(llm)(inputs_embeds=embeddings, use_cache=False).last_hidden_state
    if hidden.shape[-1] != linear.in_features:
        return None
    config = llm.config.get_text_config()
    softcap = getattr(config, "final_logit_softcapping", None)
    # Cohere multiplies its logits by `logit_scale`, Granite divides them by `logits_scaling`.
    factor, divisor = (float(getattr(config, name, None) or 1.0) for name in ("logit_scale", "logits_scaling"))
    for scale in sorted({1.0, factor, 1.0 / divisor}):
        head = OutputHead(linear, scale, softcap)
        if _close(head.logits(hidden), expected):
            return head
    return None


def add_lora(llm: PreTrainedModel, settings: LoraSettings, *, seed: int) -> PeftModel:
    """Add a LoRA adapter (arXiv 2106.09685) whose start depends on the seed alone; the adapter's weights are float32.

    Nothing else is touched: peft's preparation for quantised training would widen embeddings and norms to float32, at the cost
    of 1 to 3 GiB on models of 7 billion parameters.

    Raises:
        RecipeError: no layer of the LLM fits `target_modules`.
    """
    targets = settings.target_modules
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    return add_adapter(llm, config, seed=seed)


def add_adapter(llm: PreTrainedModel, config: LoraConfig, *, seed: int = 0) -> PeftModel:
    """Add an adapter by peft's own configuration.

    Raises:
        RecipeError: no layer of the LLM fits its `target_modules`.
    """
    try:
        with seeded(seed), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in words that it means to give up
            warnings.filterwarnings("ignore", message="fan_in_fan_out")  # set rightly by peft itself, for GPT-2's layers
            return get_peft_model(llm, config)
    except ValueError as error:
        raise RecipeError(
            f"LoRA cannot be added to these layers ({str(error).split('.')[0]})",
            where="transfer.lora.target_modules",
            remedy="write `all-linear`, or names of the LLM's linear layers",
        ) from error


def _probe_ids(llm: PreTrainedModel) -> Tensor:
    """A few token ids from all over the vocabulary, [1, P]."""
    embeddings = llm.get_input_embeddings()
    return torch.linspace(0, embeddings.num_embeddings - 1, PROBE_TOKENS, device=embeddings.weight.device).long()[None]


def _close(logits: Tensor, expected: Tensor) -> bool:
    """Equal up to a few roundings of their precision, measured by the largest logit."""
    tolerance = 32 * torch.finfo(expected.dtype).eps * expected.abs().max().clamp_min(1e-3)
    return logits.shape == expected.shape and bool((logits - expected).abs().max() <= tolerance)
