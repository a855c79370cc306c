"""Fine-tune a translation model (NLLB, mBART) from one language to another on lines with common ids, such as a Bible.

    python examples/translation.py --model nllb-cha --source eng_Latn=eng_Latn.tsv --target cha_Latn=cha_Latn.tsv \\
        --output_dir translator --max_steps 2000

The files have lines `id<TAB>text` (plain, .gz or .zst); before each stands the token of its language. The last pairs are
held out. Needs `pip install 'ofa-transformers[training]'`.
"""

import argparse
from pathlib import Path

import torch
from datasets import Dataset
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from ofa_transformers.text.segments import text_by_id


def named(value: str) -> tuple[str, Path]:
    language, mark, file = value.partition("=")
    if not (language and mark and file):
        raise argparse.ArgumentTypeError("write LANGUAGE=FILE, for example eng_Latn=eng_Latn.tsv")
    return language, Path(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="translation model: a folder or a Hub id")
    parser.add_argument("--source", required=True, type=named, help="LANGUAGE=FILE, by the tokenizer's language code")
    parser.add_argument("--target", required=True, type=named, help="LANGUAGE=FILE")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--max_steps", type=int, default=1000)
    parser.add_argument("--batch_size", type=int, default=16, help="pairs")
    parser.add_argument("--learning_rate", type=float, default=3e-4)
    parser.add_argument("--max_length", type=int, default=128, help="tokens")
    parser.add_argument("--test_size", type=int, default=50, help="pairs that are held out")
    arguments = parser.parse_args()

    (source, source_file), (target, target_file) = arguments.source, arguments.target
    theirs, ours = text_by_id(source_file), text_by_id(target_file)
    ids = [key for key in theirs if key in ours]
    pairs = Dataset.from_dict({"source": [theirs[key] for key in ids], "target": [ours[key] for key in ids]})
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    tokenizer.src_lang, tokenizer.tgt_lang = source, target
    code = tokenizer.convert_tokens_to_ids(target)
    model = AutoModelForSeq2SeqLM.from_pretrained(arguments.model, dtype="float32")
    model.generation_config.forced_bos_token_id = code  # translations begin with their language

    def encode(batch: dict) -> dict:
        return tokenizer(
            batch["source"], text_target=batch["target"], truncation=True, max_length=arguments.max_length
        )

    encoded = pairs.map(encode, batched=True, remove_columns=pairs.column_names)
    first = len(ids) - arguments.test_size
    trainer = Seq2SeqTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(
            output_dir=arguments.output_dir,
            max_steps=arguments.max_steps,
            per_device_train_batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            warmup_steps=arguments.max_steps // 10,
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=encoded.select(range(first)),
        eval_dataset=encoded.select(range(first, len(ids))),
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
    )
    trainer.log_metrics("before", trainer.evaluate(metric_key_prefix="before"))
    trainer.train()
    trainer.log_metrics("test", trainer.evaluate(metric_key_prefix="test"))
    trainer.save_model()
    for row in pairs.select(range(first, min(first + 3, len(ids)))):
        batch = tokenizer(row["source"], return_tensors="pt", truncation=True, max_length=arguments.max_length)
        with torch.no_grad():
            made = model.generate(**batch.to(model.device), max_new_tokens=arguments.max_length, num_beams=2)
        print(f"{source}: {row['source']}\n{target}: {tokenizer.decode(made[0], skip_special_tokens=True)}")


if __name__ == "__main__":
    main()
