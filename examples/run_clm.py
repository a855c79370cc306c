"""Continue the pretraining of a decoder (GPT-2, Llama, Mistral, Qwen3 ...) on text of many languages, with Trainer.

    python examples/run_clm.py --model_name_or_path adapted-gpt2 --train text/ --validation heldout/ \
        --output_dir continued --max_steps 10000 --per_device_train_batch_size 8 --gradient_accumulation_steps 32 \
        --learning_rate 5e-5 --warmup_steps 500 --eval_strategy steps --eval_steps 1000 --save_steps 1000 --bf16

As run_mlm.py, except for the loss: every token is predicted from those before it.
"""

import sys

from transformers import HfArgumentParser
from transformers.utils import logging

from ofa_transformers.training import DataArguments, ModelArguments, PretrainingArguments, pretrain


def main() -> None:
    logging.set_verbosity_info()
    parser = HfArgumentParser((ModelArguments, DataArguments, PretrainingArguments))
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        arguments = parser.parse_json_file(json_file=sys.argv[1])
    else:
        arguments = parser.parse_args_into_dataclasses()
    pretrain(*arguments, causal=True)


if __name__ == "__main__":
    main()
