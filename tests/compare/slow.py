"""A training that is as slow as a test wants it to be; importable by name from a run's process."""

import time
from pathlib import Path


class PauseWhile:
    """An augmentation that changes nothing, and takes `seconds` as long as the file `path` exists."""

    def __init__(self, path, seconds=0.25):
        self.path, self.seconds = Path(path), seconds

    def __call__(self, image, target, rng):
        if self.path.exists():
            time.sleep(self.seconds)
        return image, target
