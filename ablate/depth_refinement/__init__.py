"""The built-in subject: does fusing deep features of the 2D pose improve camera azimuth and elevation?

Data, models, losses, metrics and pictures for its studies, and the commands `ablate train`, `predict` and `data`.
"""
