/* SPDX-License-Identifier: Apache-2.0 */
/* s10.pml - one page under S10 and S11, as lib/store has it: a writer that publishes versions while
 * readers hold snapshots, a log that makes commits visible later and one by one, a sweep, eviction
 * to stubs and to nothing, misses that load from slots, a checkpoint, epochs.
 *
 * Checked in every interleaving: a reader with snapshot S gets the newest version with lsn <= S;
 * nobody touches memory that was freed; nobody reads slots that were given back.
 *
 * A step is one access to something that others read without a lock. What happens under ver_mutex
 * and stores at most one such word is one step. Memory is sequentially consistent here: the loads
 * and stores of frame and lsn are relaxed only where release and acquire of the other one order
 * them (txn.c, page.c); announcements are seq_cst in the code too.
 *
 * BROKEN=n plants a known bug; run.sh shows that each is found. */

#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef COMMITS
#define COMMITS 3 /* lsn of the first version is 1; commits 2 .. COMMITS */
#endif
#ifndef ACTIONS
#define ACTIONS 4 /* sweeps, reclaims and evictions, in any order */
#endif
#ifndef CHECKPOINTS
#define CHECKPOINTS 1
#endif
#ifndef READERS
#define READERS 2 /* 1 or 2 */
#endif
#ifndef READS
#define READS 2 /* of each, under one snapshot */
#endif
#define NODES (1 + COMMITS + 2 * ACTIONS) /* what eviction and misses make included; 0 is NULL */

#define LIVE 1
#define RETIRED 2
#define FREED 3

typedef version {
    byte lsn;
    byte prev;
    byte state; /* 0: not made yet */
    byte epoch; /* when retired */
    bool resident;
    bool stored;
    bool tabled
};
version ver[NODES];
byte made = 1; /* next to make */

byte frame;     /* the translation entry */
byte entry_lsn;
bool mine;      /* a private version of the writer: its base must stay in memory */

bool ver_mutex, stripe;
byte visible = 1, published = 1;
bool changed[COMMITS + 1]; /* commit n changes this page */

byte epoch = 1;
byte in_epoch[2]; /* of a reader; 0: none */
byte snap[2];     /* 0: none */
byte ckpt_snap;

byte table = 1;             /* the page table refers to the slots of this version */
bool slot_used[COMMITS + 1]; /* slots of version n */
byte slot_from[COMMITS + 1], slot_death[COMMITS + 1];

inline lock(m) { atomic { !m -> m = true } }
inline unlock(m) { m = false }

inline touch(v) { assert(ver[v].state == LIVE || ver[v].state == RETIRED) }

inline retire(v) {
    ver[v].state = RETIRED;
    ver[v].epoch = epoch
}

/* Make the version numbered num, with `next` behind it. */
inline make(v, num, next, here) {
    v = made;
    assert(made < NODES);
    made++;
    ver[v].lsn = num;
    ver[v].prev = next;
    ver[v].state = LIVE;
    ver[v].resident = here
}

/* The version behind which v hangs, 0 when v is the head. */
inline find_newer(v, n) {
    n = 0;
    at = frame;
    do
    :: at != v && at != 0 -> n = at; at = ver[at].prev
    :: else -> break
    od
}

/* A stub or nothing in the place of a resident version; the other way round on a miss. */
inline put_in_place(v, w, n) {
    if
    :: n == 0 -> frame = w
    :: else -> ver[n].prev = w
    fi;
    retire(v)
}

/* ---- the writer ---------------------------------------------------------------------------- */

proctype writer() {
    byte v, at, n, lsn;
    for (lsn : 2 .. COMMITS) {
        if
        :: lsn > 2 -> goto accept; /* a commit that changes other pages */
        :: true
        fi;
        atomic { /* first touch: the base is loaded when it has to be, and pinned */
            !ver_mutex && !stripe;
            if
            :: frame == 0 ->
                assert(slot_used[table]);
                make(v, table, 0, true);
                ver[v].stored = true;
                ver[v].tabled = true;
                entry_lsn = table;
                frame = v
            :: frame != 0 && !ver[frame].resident ->
                n = frame;
                assert(slot_used[ver[n].lsn]);
                make(v, ver[n].lsn, ver[n].prev, true);
                ver[v].stored = ver[n].stored;
                ver[v].tabled = ver[n].tabled;
                frame = v;
                retire(n)
            :: else
            fi;
            mine = true;
            v = 0;
            n = 0
        }
        touch(frame); /* commit compares with the base */
accept:
        atomic {
            !ver_mutex;
            ver_mutex = true;
            if
            :: mine ->
                changed[lsn] = true;
                make(v, lsn, frame, true)
            :: else
            fi
        }
        if
        :: mine ->
#if BROKEN == 8
            visible = lsn;
#endif
#if BROKEN == 2
            frame = v;
            entry_lsn = lsn;
#else
            entry_lsn = lsn;
            frame = v;
#endif
        :: else
        fi;
        skip;
        d_step { mine = false; v = 0; published = lsn; unlock(ver_mutex) }
    }
}

/* Durable, hence visible: after the publish, commit by commit. */
proctype log_flush() {
    do
    :: visible < COMMITS ->
        atomic {
            if
            :: published > visible -> visible++
            :: visible == COMMITS
            fi
        }
    :: else -> break
    od
}

/* ---- sweep, eviction, epochs --------------------------------------------------------------- */

byte seen_visible, seen[2]; /* what pv__snaps_collect found; under ver_mutex */

inline collect() {
#if BROKEN == 9
    atomic { !ver_mutex; ver_mutex = true; seen[0] = snap[0] }
#if READERS > 1
    seen[1] = snap[1];
#endif
    seen_visible = visible
#else
    atomic { !ver_mutex; ver_mutex = true; seen_visible = visible }
    seen[0] = snap[0];
#if READERS > 1
    seen[1] = snap[1]
#endif
#endif
}

/* Some snapshot in [from, before)? */
#if BROKEN == 4
#define LATER(before) false
#else
#define LATER(before) ((before) > seen_visible)
#endif
#if BROKEN == 10
#define CKPT_BETWEEN(from, before) false
#else
#define CKPT_BETWEEN(from, before) (ckpt_snap != 0 && ckpt_snap >= (from) && ckpt_snap < (before))
#endif
#define BETWEEN(from, before)                                                                      \
    (LATER(before) || CKPT_BETWEEN(from, before) ||                                                \
     (seen[0] != 0 && seen[0] >= (from) && seen[0] < (before)) ||                                  \
     (seen[1] != 0 && seen[1] >= (from) && seen[1] < (before)))

inline sweep() {
    collect();
    at = frame;
    do
    :: at != 0 && ver[at].prev != 0 ->
        d_step { /* one unlinked, or one step back */
            v = ver[at].prev;
            if
            :: !BETWEEN(ver[v].lsn, ver[at].lsn) ->
                ver[at].prev = ver[v].prev;
                retire(v)
            :: else -> at = v
            fi;
            v = 0
        }
    :: else -> break
    od;
    skip;
    d_step /* pv__space_reap */ {
        for (v : 1 .. COMMITS) {
            if
            :: slot_used[v] && slot_death[v] != 0 && !BETWEEN(slot_from[v], slot_death[v]) ->
                slot_used[v] = false
            :: else
            fi
        }
        v = 0;
        at = 0;
        seen_visible = 0;
        seen[0] = 0;
        seen[1] = 0;
        unlock(ver_mutex)
    }
}

#define OLDEST(r)                                                                                  \
    if                                                                                             \
    :: in_epoch[r] != 0 && in_epoch[r] < min -> min = in_epoch[r]                                  \
    :: else                                                                                        \
    fi

inline reclaim() {
    atomic { !ver_mutex; ver_mutex = true; epoch++; min = epoch }
#if BROKEN != 5
    d_step { OLDEST(0) }
#if READERS > 1
    d_step { OLDEST(1) }
#endif
#endif
    d_step {
        for (v : 1 .. NODES - 1) {
            if
#if BROKEN == 11
            :: ver[v].state == RETIRED && ver[v].epoch <= min ->
#else
            :: ver[v].state == RETIRED && ver[v].epoch < min ->
#endif
                ver[v].state = FREED;
                ver[v].lsn = 0;
                ver[v].prev = 0;
                ver[v].epoch = 0;
                ver[v].stored = false;
                ver[v].tabled = false
            :: else
            fi
        }
        v = 0;
        min = 0;
        unlock(ver_mutex)
    }
}

#if BROKEN == 12
#define PINNED false
#else
#define PINNED mine
#endif
#if BROKEN == 13
#define STORED(v) true
#else
#define STORED(v) ver[v].stored
#endif
#if BROKEN == 7
#define ALONE(v) true
#else
#define ALONE(v) (ver[v].prev == 0)
#endif

/* What leaves memory must be in slots. */
inline evict_head() {
    atomic {
        !ver_mutex;
        v = frame;
        if
        :: v == 0 || !ver[v].resident || !STORED(v) || PINNED
        :: else ->
            if
            :: ver[v].tabled && ALONE(v) -> frame = 0
            :: else ->
                make(n, ver[v].lsn, ver[v].prev, false);
                ver[n].stored = true;
                ver[n].tabled = ver[v].tabled;
                frame = n
            fi;
            retire(v)
        fi;
        v = 0;
        n = 0
    }
}

inline evict_old() {
    atomic {
        !ver_mutex;
        n = frame;
        v = ver[n].prev;
        if
        :: n == 0 || v == 0 || !ver[v].resident || !STORED(v) || mine
        :: else ->
            make(at, ver[v].lsn, ver[v].prev, false);
            ver[at].stored = true;
            ver[at].tabled = ver[v].tabled;
            ver[n].prev = at;
            retire(v)
        fi;
        v = 0;
        n = 0;
        at = 0
    }
}

proctype janitor() {
    byte v, at, n, min, action;
    for (action : 1 .. ACTIONS) {
        if
        :: sweep()
        :: reclaim()
        :: evict_head()
        :: evict_old()
        fi
    }
}

/* ---- checkpoint: the version as of L into its slots, the table, then it is stored ------------ */

#if CHECKPOINTS > 0
proctype checkpoint() {
    byte v, at, l, turn, k;
    for (turn : 1 .. CHECKPOINTS) {
        atomic { !ver_mutex; l = published; ckpt_snap = l }
        visible >= l; /* the log is durable to L */
        atomic { /* gather */
            !ver_mutex;
            v = frame;
            do
            :: v != 0 && ver[v].lsn > l -> v = ver[v].prev
            :: else -> break
            od;
            if
            :: v != 0 && ver[v].stored -> v = 0
            :: else
            fi
        }
        if
        :: v == 0 -> goto done /* of this page there is nothing to write */
        :: else
        fi;
        skip;
        d_step { /* its bytes are written: it may not go, and without slots it is not evicted */
            touch(v);
            k = ver[v].lsn;
            slot_used[k] = true
        }
        atomic { /* superblock and settle */
            !ver_mutex;
            at = frame;
            do
            :: at != 0 && ver[at].lsn != k -> at = ver[at].prev
            :: else -> break
            od;
            v = at;
            slot_death[table] = l;
            slot_from[table] = l;
            do
            :: at != 0 ->
                if
                :: at != v && ver[at].tabled && ver[at].lsn == table ->
                    slot_from[table] = ver[at].lsn
                :: else
                fi;
                at = ver[at].prev
            :: else -> break
            od;
            table = k;
            if
            :: v != 0 -> ver[v].stored = true; ver[v].tabled = true
            :: else
            fi
        }
done:
        skip;
        d_step { ckpt_snap = 0; v = 0; k = 0; l = 0 }
    }
}
#endif

/* ---- readers ------------------------------------------------------------------------------- */

/* pv__page_fetch: under the page's stripe, until there is an answer. */
inline fetch() {
    lock(stripe);
    do
    :: v = frame;
        if
        :: v == 0 -> /* only the page table knows */
            n = table;
            assert(slot_used[n]); /* read and verified: */
            atomic {
                !ver_mutex;
                if
                :: frame == 0 ->
                    assert(n == table);
                    make(v, n, 0, true);
                    ver[v].stored = true;
                    ver[v].tabled = true;
                    entry_lsn = n; /* is the same as before: nothing was published since */
                    frame = v
                :: else
                fi
            }
            if
            :: v != 0 -> assert(n <= s); break
            :: else
            fi
        :: else ->
            do /* lsn and residence of a version never change: with prev one step */
            :: d_step { v != 0 && ver[v].lsn > s -> touch(v); v = ver[v].prev }
            :: else -> break
            od;
            assert(v != 0); /* `page does not exist` */
            if
            :: ver[v].resident -> break
            :: else ->
                d_step { touch(v); n = ver[v].lsn; assert(slot_used[n]) }
                atomic {
                    !ver_mutex;
                    touch(v);
                    find_newer(v, newer);
                    if
                    :: at == v -> /* still in the chain */
                        make(at, n, ver[v].prev, true);
                        ver[at].stored = ver[v].stored;
                        ver[at].tabled = ver[v].tabled;
                        put_in_place(v, at, newer);
                        v = at
                    :: else -> v = 0
                    fi;
                    at = 0;
                    newer = 0
                }
                if
                :: v != 0 -> break
                :: else
                fi
            fi
        fi
    od;
    n = 0;
    unlock(stripe)
}

inline page_read() {
#if BROKEN == 6
    v = frame;
    e = epoch;
    in_epoch[me] = e;
#else
    e = epoch;
    in_epoch[me] = e;
#endif
#if BROKEN == 3
    l = entry_lsn;
    v = frame;
#else
#if BROKEN != 6
    v = frame;
#endif
    l = entry_lsn;
#endif
    if
    :: v != 0 && ver[v].resident && l <= s
    :: else -> fetch()
    fi;
    skip;
    d_step { /* what is freed stays so: it is enough to look before the epoch is left */
        touch(v);
        assert(ver[v].resident);
        assert(ver[v].lsn <= s);
        for (n : 2 .. COMMITS) { /* no newer one that it should have seen */
            assert(!(changed[n] && n <= s && n > ver[v].lsn))
        }
        v = 0;
        n = 0;
        e = 0;
        l = 0;
        in_epoch[me] = 0
    }
}

proctype reader(byte me) {
    byte s, v, n, l, e, at, newer, turn;
    s = visible;
    do
    :: snap[me] = s;
#if BROKEN == 1
        break
#else
        v = visible;
        if
        :: v == s -> v = 0; break
        :: else -> s = v; v = 0
        fi
#endif
    od;
    for (turn : 1 .. READS) {
        page_read()
    }
    skip;
    d_step { snap[me] = 0; s = 0; turn = 0 }
}

init {
    atomic {
        ver[1].lsn = 1;
        ver[1].state = LIVE;
        ver[1].resident = true;
        ver[1].stored = true;
        ver[1].tabled = true;
        slot_used[1] = true;
        frame = 1;
        entry_lsn = 1;
        made = 2;
        run writer();
        run log_flush();
        run janitor();
#if CHECKPOINTS > 0
        run checkpoint();
#endif
        run reader(0)
#if READERS > 1
        ;
        run reader(1)
#endif
    }
}
