"""Train a character-level language model.

python train.py config/tiny.py --max_iters=500
"""

import math
import time

import torch
from model import GPT

# default config values; overridden by config files and --key=value, see configurator.py
eval_interval = 50
eval_iters = 20
data = "input.txt"
batch_size = 64
block_size = 128
n_layer = 6
n_head = 6
n_embd = 384
dropout = 0.0
tie_weights = False
learning_rate = 1e-2
min_lr = 1e-3
max_iters = 5000
warmup_iters = 20
weight_decay = 0.1
grad_clip = 1.0
device = "cpu"
seed = 1337
exec(open("configurator.py").read())

torch.manual_seed(seed)
text = open(data).read()
stoi = {c: i for i, c in enumerate(sorted(set(text)))}
tokens = torch.tensor([stoi[c] for c in text])
n = int(0.9 * len(tokens))
splits = {"train": tokens[:n], "val": tokens[n:]}


def get_batch(split):
    ix = torch.randint(len(splits[split]) - block_size, (batch_size,))
    x = torch.stack([splits[split][i : i + block_size] for i in ix])
    y = torch.stack([splits[split][i + 1 : i + 1 + block_size] for i in ix])
    return x.to(device), y.to(device)


@torch.no_grad()
def estimate_loss():
    model.eval()
    losses = {split: sum(model(*get_batch(split)).item() for _ in range(eval_iters)) / eval_iters for split in splits}
    model.train()
    return losses


def get_lr(it):
    if it < warmup_iters:
        return learning_rate * (it + 1) / warmup_iters
    ratio = (it - warmup_iters) / (max_iters - warmup_iters)
    return min_lr + 0.5 * (1 + math.cos(math.pi * ratio)) * (learning_rate - min_lr)


model = GPT(len(stoi), block_size, n_layer, n_head, n_embd, dropout, tie_weights).to(device)
print(f"number of parameters: {sum(p.numel() for p in model.parameters()) / 1e6:.3f}M")
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=weight_decay)
t0 = time.time()
for it in range(max_iters + 1):
    for group in optimizer.param_groups:
        group["lr"] = get_lr(min(it, max_iters))
    if it % eval_interval == 0 or it == max_iters:
        losses = estimate_loss()
        print(f"step {it}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}, {time.time() - t0:.1f}s")
    loss = model(*get_batch("train"))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
