"""What the plugin costs, beside the least that it could cost and beside what others use. ``python -m benchmarks``."""
