#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads a Piramid database without the library: usage pvread.py [options] x.pv

    (none)      superblocks, segments, and what the state is
    --table     every node and entry of the page table
    --pages     pages counted by kind and owner
    --log       every record; with --entries every entry too
    --verify    recompute every checksum: superblocks, table, pages, segments, records, and the
                database checksum of the root, after each record, and of the final state anew

Written from docs/format/file.md and docs/format/log.md alone, to prove that they suffice. Never
writes. Exit code: 0 fine, 1 damage found (each finding is a line that begins with DAMAGED), 2 it
cannot be read at all, 3 nothing is damaged, but pages are compressed and there is no zstd here.
The database may not be in use by a writer meanwhile.
"""
import argparse
import collections
import ctypes
import ctypes.util
import os
import re
import struct
import sys

from xxh3 import hash64

SLOT, HEAD, FANOUT, ENTRY, BLOCK = 4096, 64, 168, 24, 256
M64 = (1 << 64) - 1
SUPER_MAGIC = b"\x89Piramid\r\n\x1a\n\0\0\0\0"
SEGMENT_MAGIC = b"\x89PiramidLog\r\n\x1a\n\0"
RECORD_MAGIC = 0x31525650
SUPER_SLOTS = (0, 16, 1, 17)
PAGE_MAX, PAGE_ID_MAX = 64, 1 << 29
BY_SLOT = 16  # in an entry beside codec 0: hashes of the slots stand behind the head
KINDS = {1: "page 1", 2: "free list", 3: "table", 4: "tree", 5: "overflow", 6: "collection",
         7: "column directory", 8: "column", 9: "graph"}
ENTRY_NAMES = {1: "DELTA", 2: "FULL", 3: "REF", 4: "FREE"}

Pte = collections.namedtuple("Pte", "checksum birth slot slots codec raw_slots")
Segment = collections.namedtuple("Segment", "path name start end epoch timeline durable intact")
Record = collections.namedtuple("Record", "lsn epoch stamp chain durable size entries timeline "
                                          "time_us commit db_sum codec body_hash head_hash")


class Unreadable(Exception):
    """The whole thing cannot be read."""


class Damage(Exception):
    """One part is not what its parent says."""


class NoCodec(Exception):
    """A page is compressed, and nothing here can unpack it."""


def u32(b, at):
    return struct.unpack_from("<I", b, at)[0]


def u64(b, at):
    return struct.unpack_from("<Q", b, at)[0]


def mix(x):
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & M64
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & M64
    return x ^ (x >> 31)


def align(x, to):
    return (x + to - 1) // to * to


def get_pte(b, at):
    checksum, birth, low, high, slots, codec, raw = struct.unpack_from("<QQIBBBB", b, at)
    return Pte(checksum, birth, low | high << 32, slots, codec, raw)


def block_sum(page_id, number, block):
    return hash64(block, mix(1024 * page_id + number + 1)) if any(block) else 0


def page_sum(page_id, page):
    total = 0
    for at in range(0, len(page), BLOCK):
        total ^= block_sum(page_id, at // BLOCK, page[at:at + BLOCK])
    return total


def unzstd(packed, size):
    try:
        from compression import zstd
        return zstd.decompress(packed)
    except ImportError:
        pass
    name = ctypes.util.find_library("zstd")
    if not name:
        raise NoCodec()
    library = ctypes.CDLL(name)
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t] * 2
    out = ctypes.create_string_buffer(size)
    got = library.ZSTD_decompress(out, size, bytes(packed), len(packed))
    if got > size:
        raise Damage("the packed payload does not unpack")
    return out.raw[:got]


class Super:
    def __init__(self, b):
        self.uuid = b[48:64]
        (self.sequence, self.lsn, self.db_sum, self.file_slots) = struct.unpack_from("<4Q", b, 64)
        self.root = get_pte(b, 96)
        self.height, self.flags, self.timeline, self.epoch = struct.unpack_from("<4I", b, 120)
        self.fork_lsn, self.commits, self.created_us, self.written_us, self.self_slot, \
            self.chain = struct.unpack_from("<QQqqQQ", b, 136)
        self.major, self.minor = struct.unpack_from("<2I", b, 16)
        self.incompat = u64(b, 40)
        self.same = b[:160] + b[176:184]  # all but what the two copies may differ in
        self.log = bool(self.flags & 1)

    def text(self):
        return (f"sequence {self.sequence}, format {self.major}.{self.minor}, LSN {self.lsn}, "
                f"commit {self.commits}, checksum {self.db_sum:016x}, height {self.height}, "
                f"timeline {self.timeline}, epoch {self.epoch}, "
                f"log {'required' if self.log else 'not needed'}")


class Database:
    def __init__(self, path):
        self.file = open(path, "rb")
        self.slots = os.fstat(self.file.fileno()).st_size // SLOT
        self.wal = path + "-wal"
        self.findings, self.notes, self.no_codec = [], [], 0
        self.good = {}  # (page id, entry) -> sum of the page
        self.supers = {}
        self.read_supers()

    def bad(self, text):
        if text not in self.findings:
            self.findings.append(text)

    def read_slots(self, slot, count):
        self.file.seek(slot * SLOT)
        return self.file.read(count * SLOT)

    # ---- superblocks -----------------------------------------------------------------------

    def read_supers(self):
        magic = False
        for slot in SUPER_SLOTS:
            b = self.read_slots(slot, 1)
            magic |= b[:16] == SUPER_MAGIC
            if len(b) < SLOT or b[:16] != SUPER_MAGIC or u64(b, 4088) != hash64(b[:4088], 0) or \
                    u64(b, 168) != slot:
                self.bad(f"superblock in slot {slot}: not valid")
                continue
            self.supers[slot] = Super(b)
        if not self.supers:
            raise Unreadable("all four superblocks are damaged" if magic
                             else "not a Piramid database")
        first = {}  # of two copies with one sequence the one in the lower slot counts
        for s in self.supers.values():
            first.setdefault(s.sequence, s)
        order = sorted(first.items(), reverse=True)
        self.newest = order[0][1]
        self.older = order[1][1] if len(order) > 1 else None
        self.uuid = self.newest.uuid
        self.tag = u64(self.uuid, 0)
        for slot, s in self.supers.items():
            if s.major != 1 or s.incompat & ~1:
                raise Unreadable(f"format {s.major}.{s.minor}, features {s.incompat:#x}")
            twin = self.supers.get(slot ^ 16)
            if slot < 16 and twin and twin.same != s.same:
                self.bad(f"superblocks in slots {slot} and {slot + 16} differ")

    # ---- pages -----------------------------------------------------------------------------

    def read_page(self, page_id, pte):
        """The page that the entry vouches for, unpacked. Raises Damage or NoCodec."""
        if not (1 <= pte.slots <= pte.raw_slots <= PAGE_MAX) or pte.slot < 2 or \
                pte.codec not in (0, 1, BY_SLOT) or (pte.codec == BY_SLOT and pte.slots == 1) or \
                (pte.codec != 1) != (pte.slots == pte.raw_slots):
            raise Damage(f"its entry makes no sense: {pte}")
        stored = self.read_slots(pte.slot, pte.slots)
        if len(stored) < pte.slots * SLOT:
            raise Damage(f"slot {pte.slot} lies beyond the end of the file")
        hashes = stored
        if pte.codec == BY_SLOT:
            hashes = stored[HEAD:HEAD + 8 * pte.slots]
            room = -(-len(hashes) // 64) * 64
            stored = stored[:HEAD] + bytes(room) + stored[HEAD + room:]
            if any(hash64(stored[SLOT * i:SLOT * (i + 1)], 0) != u64(hashes, 8 * i)
                   for i in range(pte.slots)):
                raise Damage(f"checksum of a slot differs, slot {pte.slot}")
        if hash64(hashes, mix(self.tag ^ mix(page_id))) != pte.checksum:
            raise Damage(f"checksum differs, slot {pte.slot}")
        if u64(stored, 0) != self.tag or u64(stored, 8) != page_id or \
                stored[34] != pte.raw_slots or (stored[35] & 1) != (pte.codec == BY_SLOT):
            raise Damage(f"it states another identity, slot {pte.slot}")
        if pte.codec != 1:
            return stored
        packed, size = u32(stored, 36), pte.raw_slots * SLOT - HEAD
        if packed > len(stored) - HEAD or any(stored[HEAD + packed:]):
            raise Damage(f"packed length, slot {pte.slot}")
        payload = unzstd(stored[HEAD:HEAD + packed], size)
        if len(payload) != size:
            raise Damage(f"unpacked length, slot {pte.slot}")
        return stored[:36] + bytes(4) + stored[40:HEAD] + payload

    def checked_sum(self, page_id, pte):
        """Sum of a page; remembered, so that two roots cost one reading."""
        key = (page_id, pte[:1] + pte[2:])  # all but birth
        if key not in self.good:
            try:
                self.good[key] = page_sum(page_id, self.read_page(page_id, pte))
            except NoCodec:
                self.no_codec += 1
                self.good[key] = None
        return self.good[key]

    def walk(self, root, height, on_node):
        """Entries {page id: Pte} of a table. Damaged nodes are reported and skipped."""
        pages = {}

        def node(level, index, pte):
            on_node(level, index, pte)
            try:
                b = self.read_page(level << 56 | index, pte)
                if b[32] != 3 or u32(b, 28) != level or len(b) != SLOT:
                    raise Damage("it is no table node of this place")
            except Damage as e:
                self.bad(f"table node {index} of level {level}: {e}")
                return
            for i in range(FANOUT):
                e = get_pte(b, HEAD + ENTRY * i)
                if e.slots == 0:
                    if any(b[HEAD + ENTRY * i:HEAD + ENTRY * (i + 1)]):
                        self.bad(f"table node {index} of level {level}: entry {i} is half empty")
                elif level:
                    node(level - 1, index * FANOUT + i, e)
                else:
                    pages[index * FANOUT + i] = e

        if height > 5:
            self.bad(f"the page table's height is {height}")
        elif height:
            node(height - 1, 0, root)
        return pages

    def check_root(self, sup, name):
        """Table, pages, slots and database checksum of one root."""
        used = {slot: "a superblock" for slot in SUPER_SLOTS}

        def claim(pte, what):
            for slot in range(pte.slot, pte.slot + pte.slots):
                if slot in used:
                    self.bad(f"{name}: slot {slot} belongs to {used[slot]} and to {what}")
                if slot >= sup.file_slots:
                    self.bad(f"{name}: {what} lies in slot {slot} of {sup.file_slots}")
                used[slot] = what

        pages = self.walk(sup.root, sup.height,
                          lambda level, i, pte: claim(pte, f"node {i} of level {level}"))
        total, whole = 0, True
        for page_id, pte in sorted(pages.items()):
            claim(pte, f"page {page_id}")
            try:
                part = self.checked_sum(page_id, pte)
            except Damage as e:
                self.bad(f"page {page_id}: {e}")
                part = None
            whole &= part is not None
            total ^= part or 0
        if whole and total != sup.db_sum and not self.findings:
            self.bad(f"{name}: the database checksum is {total:016x}, stated {sup.db_sum:016x}")
        return pages


# ---- log ---------------------------------------------------------------------------------------

class Reader:
    def __init__(self, b):
        self.b, self.at = b, 0

    def take(self, n):
        if n > len(self.b) - self.at:
            raise Damage("an entry is cut off")
        self.at += n
        return self.b[self.at - n:self.at]

    def u64(self):
        return u64(self.take(8), 0)

    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                break
        else:
            raise Damage("a varint has no end")
        if value > M64:
            raise Damage("a varint does not fit")
        return value


class Log:
    """The segments of a database and how they follow each other."""

    def __init__(self, db):
        self.db, self.segments, self.bytes = db, [], {}
        if os.path.isdir(db.wal):
            for name in os.listdir(db.wal):
                if re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{8}\.pvw", name):
                    self.read_segment(name)
        self.segments.sort(key=lambda s: (s.start, s.epoch))

    def read_segment(self, name):
        path = os.path.join(self.db.wal, name)
        with open(path, "rb") as f:
            b = f.read(SLOT)
        start, epoch = int(name[:16], 16), int(name[17:25], 16)
        intact = len(b) == SLOT and b[:16] == SEGMENT_MAGIC and \
            u64(b, 4088) == hash64(b[:4088], 0) and u64(b, 40) == start and u32(b, 52) == epoch
        if intact and (b[24:40] != self.db.uuid or u32(b, 48) != self.db.newest.timeline or
                       u32(b, 16) != 1):
            raise Unreadable(f"segment {name} belongs to another database, timeline or format")
        self.segments.append(Segment(path, name, start, start + os.path.getsize(path) - SLOT,
                                     epoch, u32(b, 48) if intact else 0,
                                     u64(b, 72) if intact else 0, intact))

    def limit(self, seg):
        limit = seg.end
        for other in self.segments:
            if not other.intact or other is seg:
                continue
            if other.epoch > seg.epoch and other.start <= seg.start:
                return seg.start
            if other.epoch >= seg.epoch and other.start > seg.start:
                limit = min(limit, other.start)
        return limit

    def at(self, lsn):
        for seg in self.segments:
            if seg.intact and seg.start <= lsn < self.limit(seg):
                return seg
        return None

    def content(self, seg):
        if seg.path not in self.bytes:
            with open(seg.path, "rb") as f:
                self.bytes = {seg.path: f.read()}  # one at a time
        return self.bytes[seg.path]

    def head(self, seg, lsn, limit):
        """The record head at lsn when it is one: magic, LSN, timeline and head hash."""
        at = SLOT + lsn - seg.start
        b = self.content(seg)[at:at + 128]
        if lsn + 128 > limit or len(b) < 128 or u32(b, 0) != RECORD_MAGIC or u64(b, 8) != lsn or \
                u64(b, 120) != hash64(b[:120], self.db.tag) or \
                u32(b, 60) != self.db.newest.timeline:
            return None
        _, epoch, _, stamp, chain, durable, size, _, entries, timeline, time_us, commit, db_sum, \
            codec, _, body_hash = struct.unpack_from("<IIQQQQQQIIqQQIIQ", b, 0)
        return Record(lsn, epoch, stamp, chain, durable, size, entries, timeline, time_us, commit,
                      db_sum, codec, body_hash, u64(b, 120))

    def next(self, end, chain):
        """(segment, record, body) that follows the record ending at `end`, or None."""
        for lsn in dict.fromkeys((end, align(end, SLOT))):
            seg = self.at(lsn)
            limit = self.limit(seg) if seg else 0
            r = self.head(seg, lsn, limit) if seg else None
            if not r or r.stamp != end or r.chain != chain or lsn + 128 + r.size > limit:
                continue
            at = SLOT + lsn - seg.start + 128
            body = self.content(seg)[at:at + r.size]
            if len(body) == r.size and hash64(body, self.db.tag ^ mix(r.stamp)) == r.body_hash:
                return seg, r, body
        return None

    def proof(self, end):
        """The largest durable LSN stated behind `end`. A record in a segment without an intact head
        proves itself: that head was durable before it."""
        best = 0
        for seg in self.segments:
            limit = self.limit(seg) if seg.intact else seg.end
            if limit <= max(end, seg.start):
                continue
            if seg.intact:
                best = max(best, seg.durable)
            for lsn in range(align(max(end, seg.start), SLOT), limit, SLOT):
                r = self.head(seg, lsn, limit)
                if r and r.epoch == seg.epoch:
                    best = max(best, r.durable if seg.intact else lsn + 1)
        return best


class Replay:
    """Root + log, page by page; only pages that the log changes are held in memory."""

    def __init__(self, db, pages):
        self.db, self.pages, self.changed = db, dict(pages), {}
        self.sum = db.newest.db_sum

    def page(self, page_id):
        if page_id not in self.changed:
            if page_id not in self.pages:
                raise Damage(f"page {page_id} does not exist")
            self.changed[page_id] = bytearray(self.db.read_page(page_id, self.pages[page_id]))
        return self.changed[page_id]

    def delta(self, r, page_id, stamp):
        page = self.page(page_id)
        back, count = r.varint(), r.varint()
        if u64(page, 16) != stamp - back:
            raise Damage(f"page {page_id} has stamp {u64(page, 16)}, not {stamp - back}")
        before = bytes(page)
        struct.pack_into("<Q", page, 16, stamp)
        at = 0
        for _ in range(count):
            at += r.varint()
            piece = r.take(r.varint())
            if at + len(piece) > len(page) or (at < 24 and at + len(piece) > 16):
                raise Damage(f"a range of page {page_id} does not fit")
            page[at:at + len(piece)] = piece
            at += len(piece)
        if u64(page, 8) != page_id or page[34] * SLOT != len(page):
            raise Damage(f"page {page_id} changes its identity")
        for b in range(0, len(page), BLOCK):
            if before[b:b + BLOCK] != page[b:b + BLOCK]:
                self.sum ^= block_sum(page_id, b // BLOCK, before[b:b + BLOCK])
                self.sum ^= block_sum(page_id, b // BLOCK, bytes(page[b:b + BLOCK]))
        return f"{count} ranges"

    def full(self, r, page_id, stamp):
        old, image = r.u64(), r.take(r.varint())
        if len(image) < HEAD or u64(image, 8) != page_id or u64(image, 16) != stamp or \
                u64(image, 0) != self.db.tag or not len(image) <= image[34] * SLOT <= 64 * SLOT:
            raise Damage(f"the image of page {page_id} states another identity")
        page = bytearray(image + bytes(image[34] * SLOT - len(image)))
        self.sum ^= old ^ page_sum(page_id, bytes(page))
        self.changed[page_id] = page
        return f"{len(image)} bytes"

    def apply(self, record, body, show):
        if record.codec:
            raise Unreadable(f"record at LSN {record.lsn} has codec {record.codec}")
        r = Reader(body)
        for _ in range(record.entries):
            kind, page_id = r.take(1)[0], r.varint()
            if not 0 < page_id < PAGE_ID_MAX or kind not in ENTRY_NAMES:
                raise Damage(f"entry of kind {kind} for page {page_id}")
            if kind == 1:
                text = self.delta(r, page_id, record.stamp)
            elif kind == 2:
                text = self.full(r, page_id, record.stamp)
            else:
                self.sum ^= r.u64() ^ (r.u64() if kind == 3 else 0)
                self.changed.pop(page_id, None)
                self.pages.pop(page_id, None)
                text = ""
                if kind == 3:
                    self.pages[page_id] = pte = get_pte(r.take(ENTRY), 0)
                    text = f"slot {pte.slot}, {pte.slots} slots"
            show(f"    {ENTRY_NAMES[kind]:5} page {page_id} {text}")
        if r.at != len(body):
            raise Damage("bytes behind the last entry")
        if self.sum != record.db_sum:
            raise Damage(f"the database checksum is {self.sum:016x}, stated {record.db_sum:016x}")

    def total(self):
        """The database checksum anew, from every page of the final state."""
        total = 0
        for page_id in sorted(set(self.pages) | set(self.changed)):
            try:
                if page_id in self.changed:
                    total ^= page_sum(page_id, bytes(self.changed[page_id]))
                else:
                    part = self.db.checked_sum(page_id, self.pages[page_id])
                    if part is None:
                        return None
                    total ^= part
            except Damage as e:
                self.db.bad(f"page {page_id}: {e}")
                return None
        return total


# ---- the whole ---------------------------------------------------------------------------------

def replay(db, log, pages, show_record, show_entry):
    """Applies the log; returns (state, last commit number, end, number of records)."""
    state, sup = Replay(db, pages), db.newest
    end, chain, commit, records = sup.lsn, sup.chain, sup.commits, 0
    if not sup.log:
        return state, commit, end, records
    if not any(s.intact and s.start <= align(end, SLOT) for s in log.segments):
        raise Unreadable(f"the log from LSN {end} is required and missing")
    while True:
        found = log.next(end, chain)
        if not found:
            break
        seg, r, body = found
        show_record(f"record at {r.lsn}: commit {r.commit}, epoch {r.epoch}, {r.size} bytes, "
                    f"{r.entries} entries, durable {r.durable}, checksum {r.db_sum:016x}, "
                    f"{seg.name}")
        if r.commit != commit + 1:
            db.bad(f"record at LSN {r.lsn}: commit {r.commit} follows {commit}")
        try:
            state.apply(r, body, show_entry)
        except Damage as e:
            db.bad(f"record at LSN {r.lsn}: {e}")
            break
        end, chain, commit = align(r.lsn + 128 + r.size, 8), r.head_hash, r.commit
        records += 1
    proof = log.proof(end)
    if proof > end:
        db.bad(f"the record after LSN {end} is damaged or missing: the log was durable to {proof}")
    return state, commit, end, records


def check_ids(db, state):
    """Every id below the next one exists or is free, none both; list pages are both."""
    def page(page_id, kind):
        b = state.page(page_id)
        if b[32] != kind:
            raise Damage(f"page {page_id} is of kind {b[32]}, not {kind}")
        return b

    exist = set(state.pages) | set(state.changed)
    if not exist:
        return
    meta = page(1, 1)
    following, at, stated = u64(meta, 64), u64(meta, 72), u64(meta, 80)
    lists, free = set(), set()
    while at:
        if at in lists:
            raise Damage("the free list goes round in circles")
        lists.add(at)
        b = page(at, 2)
        ids = struct.unpack_from(f"<{min(u64(b, 72), 502)}Q", b, 80)
        if free & set(ids) or len(set(ids)) != len(ids):
            raise Damage("a page id is free twice")
        free |= set(ids)
        at = u64(b, 64)
    if len(lists) + len(free) != stated:
        raise Damage(f"page 1 states {stated} free ids, there are {len(lists) + len(free)}")
    strange = exist ^ (set(range(1, following)) - free)
    if strange:
        raise Damage(f"ids neither free nor used, or both: {sorted(strange)[:8]}")


def verify(db, log):
    pages = db.check_root(db.newest, "newest root")
    if db.older and db.older.log:
        db.check_root(db.older, "older root")
    state, commit, end, records = replay(db, log, pages, lambda t: None, lambda t: None)
    if not db.findings:
        try:
            check_ids(db, state)
        except Damage as e:
            db.bad(str(e))
    if not db.findings:
        total = state.total()
        if total is not None and total != state.sum:
            db.bad(f"the database checksum is {total:016x}, stated {state.sum:016x}")
    for seg in log.segments:
        if not seg.intact:
            db.notes.append(f"segment {seg.name} has no intact head")
    return state, commit, end, records


def show_pages(db, state):
    counts = collections.Counter()
    for page_id in set(state.pages) | set(state.changed):
        b = state.page(page_id)
        counts[b[32], u32(b, 24)] += 1
        counts[b[32], u32(b, 24), "bytes"] += len(b)
    for kind, owner in sorted(k for k in counts if len(k) == 2):
        print(f"{KINDS.get(kind, f'kind {kind}'):16} object {owner:6} "
              f"{counts[kind, owner]:8} pages {counts[kind, owner, 'bytes']:12} bytes")


def show_table(db):
    pages = db.walk(db.newest.root, db.newest.height, lambda level, i, pte: print(
        f"node {i} of level {level}: slot {pte.slot}, birth {pte.birth}"))
    for page_id, pte in sorted(pages.items()):
        print(f"page {page_id}: slot {pte.slot}, {pte.slots} of {pte.raw_slots} slots, codec "
              f"{pte.codec}, birth {pte.birth}, checksum {pte.checksum:016x}")


def show(db, log, args):
    print(f"uuid {db.uuid.hex()}, {db.slots} slots")
    for slot, s in sorted(db.supers.items()):
        print(f"superblock in slot {slot}: {s.text()}")
    for seg in log.segments:
        print(f"segment {seg.name}: LSN {seg.start} to {seg.end}, counts to {log.limit(seg)}, "
              f"durable {seg.durable}{'' if seg.intact else ', head not intact'}")
    if args.table:
        show_table(db)


def run(args):
    db = Database(args.path)
    log = Log(db)
    show(db, log, args)
    if args.verify:
        state, commit, end, records = verify(db, log)
    else:
        pages = db.walk(db.newest.root, db.newest.height, lambda *node: None)
        state, commit, end, records = replay(db, log, pages, print if args.log else
                                             lambda t: None,
                                             print if args.entries else lambda t: None)
    if args.pages:
        show_pages(db, state)
    print(f"state: LSN {end}, commit {commit}, checksum {state.sum:016x}, "
          f"{len(set(state.pages) | set(state.changed))} pages, {records} records replayed")
    for text in db.notes:
        print("note:", text)
    for text in db.findings:
        print("DAMAGED", text)
    if args.verify and not db.findings:
        print(f"verified{f', but for {db.no_codec} compressed pages' if db.no_codec else ''}")
    return 1 if db.findings else 3 if db.no_codec else 0


def main():
    p = argparse.ArgumentParser(description="Reads a Piramid database without the library.")
    p.add_argument("path")
    for option, text in (("table", "nodes and entries of the page table"),
                         ("pages", "pages by kind and owner"), ("log", "records of the log"),
                         ("entries", "with --log: entries of records"),
                         ("verify", "recompute every checksum")):
        p.add_argument("--" + option, action="store_true", help=text)
    args = p.parse_args()
    try:
        return run(args)
    except (Unreadable, OSError) as e:
        print(f"pvread.py: {args.path}: {e}", file=sys.stderr)
        return 2
    except Damage as e:
        print("DAMAGED", e)
        return 1
    except NoCodec:
        print("pvread.py: pages are compressed, and there is no zstd here", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
