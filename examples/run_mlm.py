"""Continue the pretraining of a masked LM on text of many languages, with Trainer.

    python examples/run_mlm.py --model_name_or_path adapted --train text/ --validation heldout/ \
        --output_dir continued --max_steps 10000 --per_device_train_batch_size 32 --gradient_accumulation_steps 8 \
        --learning_rate 5e-5 --warmup_steps 500 --eval_strategy steps --eval_steps 1000 --save_steps 1000 --bf16

`text/` holds one file a language, named by it (deu_Latn.txt.gz). Started again with the same arguments, an interrupted
run goes on from its last checkpoint. On several GPUs: `accelerate launch --config_file
examples/accelerate_configs/ddp.yaml examples/run_mlm.py ...`. All that it does is in `ofa_transformers.training`;
docs/continued-pretraining.md explains the options, and run_mlm_no_trainer.py has the loop in plain sight.
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
    pretrain(*arguments)


if __name__ == "__main__":
    main()
