#!/usr/bin/env python3
"""make_example.py DIRECTORY: a small made example, the same bytes each time, from Python's own library only.

loans.csv       who borrowed which book when: 400 readers, 120 books on 8 shelves.  A reader has two shelves
                and mostly takes the next book of one of them.
small/, large/  token tables of two made language models, 32 and 48 numbers a token, as table.npy and
                vocab.txt; most words are in both.
library.yaml    a configuration that trains on these in seconds."""
import os
import random
import struct
import sys

READERS, SHELVES, BOOKS, WORDS, TOPICS = 400, 8, 15, 900, 12
CONFIG = """\
data:
  path: {0}/loans.csv
  max_len: 20
tokens:
  tables:
    - {{name: small, path: {0}/small/table.npy}}
    - {{name: large, path: {0}/large/table.npy}}
  shared_dim: 8
  specific_dim: 8
model:
  dim: 32
filter:
  pool: 128
  top_m: 16
fisher:
  start: 20
  every: 20
train:
  batch: 64
  epochs: 12
  warmup_epochs: 3
"""


def loans(rng):
    rows = ["user_id,item_id,timestamp"]
    for reader in range(READERS):
        shelves = rng.sample(range(SHELVES), 2)
        at = [rng.randrange(BOOKS) for _ in shelves]
        day = rng.randrange(300)
        for _ in range(rng.randint(5, 20)):
            s = rng.randrange(2)
            at[s] = (at[s] + rng.choice([1, 1, 1, 2])) % BOOKS
            day += rng.randint(1, 20)
            rows.append(f"reader{reader:03},{chr(65 + shelves[s])}{at[s]:02},{day}")
    return "\n".join(rows) + "\n"


def words(rng):
    syllables = [a + b for a in "bdfgklmnprstv" for b in "aeiou"]
    found = {}
    while len(found) < WORDS:
        found["".join(rng.choices(syllables, k=rng.randint(2, 3)))] = None
    return list(found)


def table(rng, topics, width):
    """Rows: a random map of the topics a word is about, and noise of this model's own."""
    mix = [[rng.gauss(0, 1) for _ in range(width)] for _ in range(TOPICS)]
    return [[sum(t * m[j] for t, m in zip(row, mix)) + rng.gauss(0, .5) for j in range(width)] for row in topics]


def write_table(directory, vocabulary, rows):
    os.makedirs(directory, exist_ok=True)
    with open(directory + "/vocab.txt", "w") as f:
        f.write("\n".join(vocabulary) + "\n")
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({len(rows)}, {len(rows[0])}), }}"
    head = head.ljust(117) + "\n"
    with open(directory + "/table.npy", "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
        for row in rows:
            f.write(struct.pack(f"<{len(row)}f", *row))


def main():
    directory, rng = sys.argv[1], random.Random(7)
    os.makedirs(directory, exist_ok=True)
    with open(directory + "/loans.csv", "w") as f:
        f.write(loans(rng))
    vocabulary = words(rng)
    topics = [[rng.gauss(0, 1) for _ in range(TOPICS)] for _ in vocabulary]
    for name, width, first, last in ("small", 32, 0, 700), ("large", 48, 100, 900):
        write_table(f"{directory}/{name}", vocabulary[first:last], table(rng, topics[first:last], width))
    with open(directory + "/library.yaml", "w") as f:
        f.write(CONFIG.format(directory))


main()
