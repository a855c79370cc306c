"""Tokenizers of every kind whose model can be extended or trimmed, of the tests' text."""

import json

import conftest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from ofa_transformers.tokenization import train_tokenizer


OLD = conftest.TEXT[:11]

# Llama 3 and Qwen cut words like this, then write bytes
_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"


def model_of(tokenizer):
    return json.loads(tokenizer.backend_tokenizer.to_str())["model"]


def _llama3_style(ignore_merges=True):
    """Special tokens past the end of the model's own vocabulary, which a tokenizer.json does not number."""
    source = model_of(conftest.build_byte_bpe())
    own = {token: i for i, token in enumerate(t for t in source["vocab"] if t[0] != "<" or len(t) == 1)}
    merges = [tuple(merge) for merge in source["merges"] if "".join(merge) in own]
    tokenizer = Tokenizer(models.BPE(own, merges, ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>"])
    tokenizer.add_tokens(["<tool_call>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", len(own))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>"
    )


def _gpt2():
    model = model_of(conftest.build_byte_bpe())
    return GPT2Tokenizer(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]], unk_token="<unk>",
                         bos_token="<s>", eos_token="</s>")  # fmt: skip


def _roberta():
    model = model_of(conftest.build_byte_bpe())
    return RobertaTokenizer(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]])


def _xlm_roberta():
    vocabulary = [tuple(piece) for piece in model_of(conftest.build_unigram())["vocab"]]
    return XLMRobertaTokenizer(vocab=[*vocabulary, ("<mask>", 0.0)])


def _bert():
    tokenizer = BertTokenizer(vocab=model_of(conftest.build_wordpiece())["vocab"], do_lower_case=False)
    tokenizer.add_tokens(["Wasserfall"])
    return tokenizer


def _llama2():
    model = model_of(conftest.build_sentencepiece_bpe())
    return LlamaTokenizer(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]])


def _mask_past_the_end():
    """As `train_tokenizer` makes it: the mask's id is not the model's."""
    return train_tokenizer({"old": OLD}, 200)


BUILDERS = conftest.TOKENIZER_BUILDERS | {
    "llama3": _llama3_style,
    "qwen": lambda: _llama3_style(ignore_merges=False),
    "gpt2": _gpt2,
    "roberta": _roberta,
    "xlm_roberta": _xlm_roberta,
    "bert": _bert,
    "llama2": _llama2,
    "mask_past_the_end": _mask_past_the_end,
}
