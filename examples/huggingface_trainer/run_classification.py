"""Classify sequences of tokens by a small BERT with random weights and the Hugging Face Trainer."""

from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)


@dataclass
class ModelArguments:
    """Of the network."""

    hidden_size: int = field(default=32)
    num_hidden_layers: int = field(default=1)
    position_embeddings: bool = field(default=True, metadata={"help": "Whether the network knows the order of tokens."})


class Sequences(torch.utils.data.Dataset):
    """Sixteen of thirty tokens; the label says whether token 5 comes before token 6."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.tokens = rng.integers(7, 30, size=(count, 16))
        self.labels = rng.integers(2, size=count)
        for row, label in zip(self.tokens, self.labels):
            first, second = sorted(rng.choice(16, size=2, replace=False))
            row[first], row[second] = (5, 6) if label else (6, 5)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"input_ids": torch.tensor(self.tokens[index]), "labels": int(self.labels[index])}


def accuracy(prediction):
    return {"accuracy": float((prediction.predictions.argmax(axis=-1) == prediction.label_ids).mean())}


def main():
    model_args, training_args = HfArgumentParser((ModelArguments, TrainingArguments)).parse_args_into_dataclasses()
    set_seed(training_args.seed)
    config = BertConfig(
        vocab_size=30,
        hidden_size=model_args.hidden_size,
        num_hidden_layers=model_args.num_hidden_layers,
        num_attention_heads=2,
        intermediate_size=4 * model_args.hidden_size,
        max_position_embeddings=16,
        num_labels=2,
    )
    model = BertForSequenceClassification(config)
    if not model_args.position_embeddings:
        weight = model.bert.embeddings.position_embeddings.weight
        torch.nn.init.zeros_(weight)
        weight.requires_grad_(False)
    train_dataset, eval_dataset, test_dataset = Sequences(1000, 1), Sequences(400, 2), Sequences(400, 3)
    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        compute_metrics=accuracy,
    )
    trainer.train()
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    predictions = trainer.predict(test_dataset, metric_key_prefix="predict")
    trainer.log_metrics("predict", predictions.metrics)
    trainer.save_metrics("predict", predictions.metrics)


if __name__ == "__main__":
    main()
