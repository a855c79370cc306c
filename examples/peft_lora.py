"""Continue the pretraining of an adapted masked LM with LoRA (PEFT): a few per cent of the parameters are trained.

    python examples/peft_lora.py --model adapted --text text.txt --output_dir lora [--train_embeddings]

`all-linear` gives every linear layer of the body an adapter. The factors of the embeddings are no linear layers to PEFT,
so they stay as they are. With --train_embeddings they are trained in full and saved with the adapter; PEFT then trains
those of the input and of the output apart, and the merged checkpoint has them untied (`trainable_token_indices` of PEFT
doesn't work with tied factors). Writes the adapter to `lora/`, and the merged checkpoint to `lora/merged/`. Needs
`pip install 'ofa-transformers[peft,training]'`.
"""

import argparse

from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

import ofa_transformers  # noqa: F401 (registers the factorized models)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint: a folder or a Hub id")
    parser.add_argument("--text", required=True, help="plain text, one passage a line")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--rank", type=int, default=8, help="of the adapters")
    parser.add_argument("--train_embeddings", action="store_true", help="train both factors of the embeddings as well")
    parser.add_argument("--max_steps", type=int, default=100)
    parser.add_argument("--batch_size", type=int, default=16, help="passages")
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    arguments = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    # Checkpoints may be in half precision, in which small steps are lost.
    model = AutoModelForMaskedLM.from_pretrained(arguments.model, dtype="float32")
    embeddings, projection = model.get_input_embeddings(), model.get_output_embeddings()
    names = [name.split(".")[-1] for name, module in model.named_modules() if module in (embeddings, projection)]
    config = LoraConfig(
        r=arguments.rank,
        lora_alpha=2 * arguments.rank,
        target_modules="all-linear",
        modules_to_save=names if arguments.train_embeddings else None,
    )
    model = get_peft_model(model, config)
    model.print_trainable_parameters()

    text = load_dataset("text", data_files=arguments.text, split="train")
    text = text.filter(lambda row: row["text"].strip())
    text = text.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True, remove_columns=["text"])
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=arguments.output_dir,
            max_steps=arguments.max_steps,
            per_device_train_batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            logging_steps=10,
            save_strategy="no",
            report_to="none",
            label_names=["labels"],
        ),
        train_dataset=text,
        processing_class=tokenizer,
        data_collator=DataCollatorForLanguageModeling(tokenizer),
    )
    trainer.train()
    trainer.save_model()  # the adapter alone
    merged = model.merge_and_unload()
    merged.save_pretrained(f"{arguments.output_dir}/merged")
    tokenizer.save_pretrained(f"{arguments.output_dir}/merged")
    print(f"The adapter is in {arguments.output_dir}, the merged checkpoint in {arguments.output_dir}/merged.")


if __name__ == "__main__":
    main()
