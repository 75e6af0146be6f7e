"""A graph convolutional network (Kipf and Welling, 2017) in plain PyTorch, on a random graph of four communities."""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--hidden_channels", type=int, default=16)
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--weight_decay", type=float, default=5e-4)
parser.add_argument("--dropout", type=float, default=0.5)
parser.add_argument("--epochs", type=int, default=100)
parser.add_argument("--no_edges", action="store_true", help="every node sees itself alone")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()


def community_graph(nodes=400, classes=4, features=16):
    """Features (nodes, features), labels (nodes,) and a normalised adjacency (nodes, nodes): always the same graph."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(classes, (nodes,), generator=generator)
    centres = torch.randn(classes, features, generator=generator)
    x = 0.35 * centres[y] + torch.randn(nodes, features, generator=generator)
    linked = torch.where(y[:, None] == y[None], 0.04, 0.008)
    edges = torch.rand(nodes, nodes, generator=generator).triu(1) < linked.triu(1)
    adjacency = (edges | edges.T).float() * (not args.no_edges) + torch.eye(nodes)
    scale = adjacency.sum(1).rsqrt()
    return x, y, scale[:, None] * adjacency * scale[None]


class GCN(nn.Module):
    """Layers that mix a node's features and take the mean over its neighbours."""

    def __init__(self, in_channels, hidden_channels, out_channels, layers):
        super().__init__()
        sizes = [in_channels, *[hidden_channels] * (layers - 1), out_channels]
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:]))

    def forward(self, x, adjacency):
        for i, linear in enumerate(self.linears):
            x = F.dropout(x, p=args.dropout, training=self.training)
            x = adjacency @ linear(x)
            if i < len(self.linears) - 1:
                x = x.relu()
        return x


torch.manual_seed(args.seed)
x, y, adjacency = community_graph()
order = torch.randperm(len(y), generator=torch.Generator().manual_seed(1))
train_mask, val_mask, test_mask = order[:80], order[80:200], order[200:]
model = GCN(x.shape[1], args.hidden_channels, 4, args.layers)
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)


def train():
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x, adjacency)[train_mask], y[train_mask])
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def test():
    model.eval()
    right = model(x, adjacency).argmax(dim=-1) == y
    return [right[mask].float().mean().item() for mask in (train_mask, val_mask, test_mask)]


best_val_acc = test_acc = 0.0
for epoch in range(1, args.epochs + 1):
    loss = train()
    train_acc, val_acc, tmp_test_acc = test()
    if val_acc > best_val_acc:
        best_val_acc, test_acc = val_acc, tmp_test_acc
    print(
        f"Epoch: {epoch:03d}, Loss: {loss:.4f}, Train: {train_acc:.4f}, Val: {best_val_acc:.4f}, Test: {test_acc:.4f}"
    )
