"""Where poses come from: motion capture, calibrated recordings and synthetic people, converted to COCO-17 files."""
