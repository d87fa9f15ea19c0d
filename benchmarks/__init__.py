"""Speed beside peers, and what a comparison can find: `python -m benchmarks --help`. No part of the package."""
