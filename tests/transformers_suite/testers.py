"""What Transformers' model tests ask of a model: a tester that makes tiny configurations and inputs."""

from __future__ import annotations

import inspect
import unittest

import torch
from transformers.testing_utils import torch_device

from ofa_transformers.models.loss_ofa import SECOND_TASKS

from . import upstream
from .families import FAMILIES, Family, under_test


class ModelTester:
    """Makes the configurations and inputs for one family, as the testers in Transformers' repository do."""

    batch_size = 13
    seq_length = 7
    num_choices = 4
    is_training = True

    def __init__(self, parent: unittest.TestCase, family: Family, which: str):
        self.parent, self.family, self.which = parent, family, which
        config = self.get_config()
        self.hidden_size = config.hidden_size
        self.num_hidden_layers = config.num_hidden_layers
        self.num_attention_heads = config.num_attention_heads
        self.causal_lm_class = family.model_classes(which).get("ForCausalLM")
        self.encoder_seq_length = self.decoder_seq_length = self.seq_length

    def get_config(self):
        return self.family.config(self.which)

    def prepare_config_and_inputs_for_common(self):
        config = self.get_config()
        common = upstream.load("test_modeling_common")
        # Ids below 3 are special in these configurations.
        input_ids = common.ids_tensor([self.batch_size, self.seq_length], config.vocab_size - 3) + 3
        attention_mask = torch.ones_like(input_ids).tril()
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask.to(torch_device)}
        if hasattr(config, "type_vocab_size"):
            inputs["token_type_ids"] = common.ids_tensor([self.batch_size, self.seq_length], config.type_vocab_size)
        if self.family.is_encoder_decoder:
            input_ids[:, -1] = config.eos_token_id  # of which classifiers read the state
            inputs["decoder_input_ids"] = (
                common.ids_tensor([self.batch_size, self.seq_length], config.vocab_size - 3) + 3
            )
            inputs["decoder_attention_mask"] = torch.ones_like(inputs["decoder_input_ids"])
        return config, inputs


class ModelSuite:
    """The part of a test class that is the same for every family; its subclasses also take Transformers' mixins."""

    family: Family
    test_mismatched_shapes = True
    test_can_init_all_missing_weights_before_2023 = True

    def setUp(self):
        super().setUp()
        self.which = under_test()
        common = upstream.load("test_modeling_common")
        self.classes = self.family.model_classes(self.which)
        self.all_model_classes = tuple(self.classes.values())
        self.is_encoder_decoder = self.family.is_encoder_decoder
        self.model_tester = ModelTester(self, self.family, self.which)
        # Transformers' tests look up by class name which labels a head takes and which class is a bare model.
        if self.which == "ours":
            stock = self.family.model_classes("stock")
            for name, mapping in vars(common).copy().items():
                if name.startswith("MODEL_") and name.endswith("MAPPING_NAMES"):
                    ours = {
                        f"ours{head}": self.classes[head].__name__
                        for head, model_class in stock.items()
                        if model_class.__name__ in common.get_values(mapping)
                    }
                    patch = unittest.mock.patch.object(common, name, {**mapping, **ours})
                    patch.start()
                    self.addCleanup(patch.stop)

    def test_config(self):
        config_class = self.family.config_class(self.which)
        tester = upstream.load("test_configuration_common").ConfigTester(
            self, config_class=config_class, **self.family.sizes
        )
        tester.run_common_tests()

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        if return_labels and model_class is self.classes.get("ForPreTraining"):
            size = (self.model_tester.batch_size, self.model_tester.seq_length)
            inputs["labels"] = torch.zeros(size, dtype=torch.long, device=torch_device)
            for second in SECOND_TASKS.keys() & inspect.signature(model_class.forward).parameters.keys():
                inputs[second] = torch.zeros(size[0], dtype=torch.long, device=torch_device)
        return inputs


def suite_of(name: str) -> type[unittest.TestCase]:
    """The tests of one family, by its folder in Transformers."""
    family = FAMILIES[name]
    common = upstream.load("test_modeling_common")
    bases = [ModelSuite, common.ModelTesterMixin]
    # What encoders have by the name of a decoder sees the words that it is to generate.
    if "ForCausalLM" in family.row.heads and "ForMaskedLM" not in family.row.heads:
        bases.append(upstream.load("test_training_mixin").TrainingTesterMixin)
    attributes = {"family": family, "__module__": __name__, "__doc__": f"Transformers' own tests on {name}."}
    return type(
        f"Test{family.row.stock}Suite", (*bases, upstream.GenerationTesterMixin, unittest.TestCase), attributes
    )
