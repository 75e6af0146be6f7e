# a model for a laptop, trained in a few seconds
n_layer = 1
n_head = 2
n_embd = 32
block_size = 32
batch_size = 16
max_iters = 200
