#!/usr/bin/env bash
# Make the reports that the site shows, where they are not there yet: tools/site/examples.sh FOLDER (about a minute).
# demo.html is of so few iterations that its detector finds nothing: it shows the form of a report, not a result.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
out=${1:?the folder to write to}
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -f "$out/demo.html" ]; then
    "$python" -m imbdet.cli demo train.max_iter=30 train.output_dir="$work/demo" >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
    mv "$work/demo/report.html" "$out/demo.html"
fi
if [ ! -f "$out/diagnose.html" ]; then
    "$python" -m imbdet.cli diagnose --config baselines/faster_rcnn_shapes --out "$work/diagnosis" >"$work/log" 2>&1 ||
        { tail "$work/log"; exit 1; }
    mv "$work/diagnosis/report.html" "$out/diagnose.html"
fi
if [ ! -f "$out/compare.html" ]; then
    "$python" -m imbdet.cli compare --runs docs/results/class_ratio --out "$work/comparison" >"$work/log" 2>&1 ||
        { tail "$work/log"; exit 1; }
    mv "$work/comparison/report.html" "$out/compare.html"
fi
