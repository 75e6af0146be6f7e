"""The training loop of ablate: model, data and loss from factories, trained, checkpointed and scored."""
