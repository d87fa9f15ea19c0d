# imbdet in a container. CPU by default:
#   docker build -t imbdet . && mkdir -p output && docker run --rm -v "$PWD/output:/work/output" imbdet
# Large pictures and many loader workers need more shared memory than the 64 MB of a container: docker run --shm-size 2g ...
# On a CUDA machine take an image that brings Python >= 3.10 and, best, torch itself:
#   docker build --build-arg BASE=pytorch/pytorch:2.9.0-cuda12.8-cudnn9-runtime -t imbdet . && docker run --rm --gpus all imbdet
# PIP_ARGS may name the index of torch's CPU builds; TORCH="" keeps the torch of the base image.
ARG BASE=python:3.12-slim
FROM ${BASE}
ARG PIP_ARGS=""
ARG TORCH="torch torchvision"

# A user without rights; the id is 1000 so that a mounted output folder is writable on most Linux hosts.
RUN (getent passwd 1000 >/dev/null || useradd --create-home --uid 1000 imbdet) && mkdir /work && chown 1000 /work
WORKDIR /work

# torch first: its layer stays in the cache when only imbdet changes. The ranges stand in setup.py, the choice is the builder's.
# hadolint ignore=DL3013
RUN if [ -n "$TORCH" ]; then python -m pip install --no-cache-dir $PIP_ARGS $TORCH; fi
COPY --chown=1000 . /work
# hadolint ignore=DL3013
RUN python -m pip install --no-cache-dir $PIP_ARGS ".[pretrained]" && rm -rf build ./*.egg-info

USER 1000
ENV HOME=/work MPLCONFIGDIR=/tmp/matplotlib
CMD ["imbdet", "demo"]
