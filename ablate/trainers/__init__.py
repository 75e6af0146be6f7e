"""How a run trains. What every trainer shares is here; `trainers.builtin` is the training loop of ablate itself."""
