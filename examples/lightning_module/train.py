"""Name the frequency of a wave in noise, with Lightning: batches that are dicts, early stopping, best checkpoint."""

import argparse
import json
import logging
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Waves(Dataset):
    """Sine waves of one of three frequencies in noise, as {"signal": (64,), "frequency": ()}."""

    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        self.frequency = torch.randint(3, (count,), generator=generator)
        phase = 6.28 * torch.rand(count, 1, generator=generator)
        t = torch.linspace(0, 6.28, 64)
        self.signal = torch.sin((self.frequency[:, None] + 2) * t + phase)
        self.signal += 1.2 * torch.randn(count, 64, generator=generator)

    def __len__(self):
        return len(self.frequency)

    def __getitem__(self, index):
        return {"signal": self.signal[index], "frequency": self.frequency[index]}


class Classifier(L.LightningModule):
    """A convolutional network that names the frequency."""

    def __init__(self, width, lr, batch_norm):
        super().__init__()
        self.save_hyperparameters()
        self.network = nn.Sequential(
            nn.Conv1d(1, width, 9, padding=4),
            nn.BatchNorm1d(width) if batch_norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv1d(width, width, 9, padding=4, stride=2),
            nn.BatchNorm1d(width) if batch_norm else nn.Identity(),
            nn.ReLU(),
            nn.AdaptiveMaxPool1d(1),
            nn.Flatten(),
            nn.Linear(width, 3),
        )

    def step(self, batch, name):
        logits = self.network(batch["signal"][:, None])
        accuracy = (logits.argmax(dim=1) == batch["frequency"]).float().mean()
        self.log(f"{name}_acc", accuracy, on_step=False, on_epoch=True, batch_size=len(logits))
        return nn.functional.cross_entropy(logits, batch["frequency"])

    def training_step(self, batch, batch_idx):
        return self.step(batch, "train")

    def validation_step(self, batch, batch_idx):
        self.step(batch, "val")

    def test_step(self, batch, batch_idx):
        self.step(batch, "test")

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--batch-norm", action="store_true")
    parser.add_argument("--max-epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("lightning_logs"))
    parser.add_argument("--scores", type=Path, default=Path("scores.json"))
    args = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    L.seed_everything(args.seed)
    train, val, test = (Waves(count, seed) for count, seed in ((256, 1), (256, 2), (512, 3)))
    best = ModelCheckpoint(dirpath=args.folder, monitor="val_acc", mode="max")
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=args.max_epochs,
        callbacks=[best, EarlyStopping(monitor="val_acc", mode="max", patience=3)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Classifier(args.width, args.lr, args.batch_norm)
    trainer.fit(model, DataLoader(train, batch_size=32, shuffle=True), DataLoader(val, batch_size=128))
    (validated,) = trainer.validate(ckpt_path="best", dataloaders=DataLoader(val, batch_size=128), verbose=False)
    (tested,) = trainer.test(ckpt_path="best", dataloaders=DataLoader(test, batch_size=128), verbose=False)
    args.scores.write_text(json.dumps({**validated, **tested}))


if __name__ == "__main__":
    main()
