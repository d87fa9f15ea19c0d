"""Frames of a video, and a video of frames, by PyAV (the extra `video`)."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


def is_video(path: str | Path) -> bool:
    """Return whether the name is that of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def read_frames(path: Path) -> tuple[float, int, Iterator[Tensor]]:
    """Return frames a second, their number (0 if the file does not say), and the frames, uint8 RGB (3, H, W).

    Raises:
        ImportError: without PyAV. ValueError: no video that can be read.
    """
    av = _av()
    try:
        container = av.open(str(path))
        stream = container.streams.video[0]
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"{path} holds no video that can be read: {error}") from error

    def frames() -> Iterator[Tensor]:
        with container:
            try:
                for frame in container.decode(stream):
                    yield torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1).contiguous()
            except av.error.FFmpegError as error:
                raise ValueError(f"{path} is damaged: {error}") from error

    return float(stream.average_rate or 25), int(stream.frames or 0), frames()


class VideoWriter:
    """An .mp4 (H.264, or MPEG-4 where there is no encoder of it) of frames of one size; use it in a `with`."""

    def __init__(self, path: Path, rate: float):
        self.path, self.rate, self.stream = path, rate, None
        self.container: Any = _av().open(str(path), "w")

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *error: Any) -> None:
        if self.stream is not None:
            self.container.mux(self.stream.encode())
        self.container.close()

    def add(self, frame: Tensor) -> None:
        """Add a frame, uint8 RGB (3, H, W); an odd last row or column is left out, as the codecs take even sizes."""
        av = _av()
        height, width = (side // 2 * 2 for side in frame.shape[1:])
        if self.stream is None:
            codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            self.stream = self.container.add_stream(codec, rate=Fraction(self.rate).limit_denominator(1001))
            self.stream.width, self.stream.height, self.stream.pix_fmt = width, height, "yuv420p"
        pixels = frame[:, :height, :width].permute(1, 2, 0).contiguous().numpy()
        self.container.mux(self.stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise ImportError(f"{error}: videos need PyAV, the extra `video`: pip install 'imbdet[video]'") from error
    return av
