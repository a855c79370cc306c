"""Transformers' pipelines on factorized checkpoints: they load by folder or Hub id, like any other model.

    python examples/pipelines.py --encoder adapted --tagger tagger --decoder adapted-decoder

Name any of the three. With --trust_remote_code the code in the checkpoint is run, and this package not imported.
"""

import argparse

from transformers import pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", help="masked LM, for fill-mask and feature-extraction")
    parser.add_argument("--tagger", help="of examples/token_classification.py, for token-classification")
    parser.add_argument("--decoder", help="causal LM, for text-generation")
    parser.add_argument("--text", default="All human beings are born free and equal in rights.")
    parser.add_argument("--trust_remote_code", action="store_true", help="run the code that comes with the checkpoint")
    arguments = parser.parse_args()
    if not (arguments.encoder or arguments.tagger or arguments.decoder):
        parser.error("name --encoder, --tagger or --decoder")
    if not arguments.trust_remote_code:
        import ofa_transformers  # noqa: F401 (registers the factorized models)
    options = {"trust_remote_code": arguments.trust_remote_code}

    if arguments.encoder:
        fill = pipeline("fill-mask", model=arguments.encoder, **options)
        first, *rest = arguments.text.split()
        for found in fill(" ".join([first, fill.tokenizer.mask_token, *rest[1:]]), top_k=3):
            print(f"fill-mask: {found['score']:.3f} {found['token_str']!r}")
        features = pipeline("feature-extraction", model=arguments.encoder, **options)(
            arguments.text, return_tensors=True
        )
        print(f"feature-extraction: {features.shape[1]} tokens, {features.shape[2]} dimensions")
    if arguments.tagger:
        tag = pipeline("token-classification", model=arguments.tagger, aggregation_strategy="simple", **options)
        for found in tag(arguments.text):
            print(f"token-classification: {found['entity_group']} {found['word']!r} {found['score']:.3f}")
    if arguments.decoder:
        generate = pipeline("text-generation", model=arguments.decoder, **options)
        print("text-generation:", generate(arguments.text, max_new_tokens=20, do_sample=False)[0]["generated_text"])


if __name__ == "__main__":
    main()
