/* SPDX-License-Identifier: Apache-2.0 */
/* flip.pml - checkpoint, superblock flip, trimming of the log and reuse of slots (S3, S5, S9), with
 * a power cut or a kill at any step and every outcome of what was written and not synced.
 *
 * One page, whose version n is made by commit n: in the log as a change of the version before, or
 * as a reference to slots that were written and synced (REF). A root refers to the slots of one
 * version and needs the log behind it. Slots may be garbage while a write is pending; a superblock
 * (with its mirror) is old, new or torn then. After a kill what was pending is read, and may still
 * be lost.
 *
 * Checked after each: the newest whole superblock leads to all acknowledged commits: its slots hold
 * what it says, its log is there, and so are the slots of every REF behind it. The same of the
 * other superblock when it is whole, as if the newest root were then found damaged.
 *
 * BROKEN=n plants a known bug; run.sh shows that each is found. */

#ifndef BROKEN
#define BROKEN 0
#endif
#ifndef COMMITS
#define COMMITS 4
#endif
#ifndef CUTS
#define CUTS 2
#endif
#define SLOTS 6

#define GARBAGE 99

/* The disk: what is durable, and what was written and not synced (0: nothing). */
byte slot[SLOTS], slot_new[SLOTS];

typedef superblock {
    byte seq; /* 0: torn */
    byte lsn;
    byte at /* slot of the root's version */
};
superblock super[2], super_new[2];
bool super_written[2];

byte log_from = 1; /* records log_from .. log_end are there; removal is durable at any time */
byte log_end, log_new; /* durable, written */
byte ref[COMMITS + 1]; /* slot that record n refers to, else 0 */

/* The process. */
byte acked;   /* last commit that returned */
byte now;     /* version in memory */
byte seq, root, older; /* sequence and LSN of the newest superblock, LSN of the other */
byte root_at; /* slot of the newest root */
bool used[SLOTS];
byte death[SLOTS]; /* needed by roots and records before this LSN; 0: alive or free */
byte cuts;

/* fsync: all pending writes of the database file become durable. */
inline sync_db() {
    d_step {
        for (i : 1 .. SLOTS - 1) {
            if
            :: slot_new[i] != 0 -> slot[i] = slot_new[i]; slot_new[i] = 0
            :: else
            fi
        }
        for (i : 0 .. 1) {
            if
            :: super_written[i] ->
                super[i].seq = super_new[i].seq;
                super[i].lsn = super_new[i].lsn;
                super[i].at = super_new[i].at;
                super_new[i].seq = 0;
                super_new[i].lsn = 0;
                super_new[i].at = 0;
                super_written[i] = false
            :: else
            fi
        }
        i = 0
    }
}

/* A pending write may have reached the disk, or not, or in part. */
inline cut_slot(w) {
    if
    :: slot_new[w] == 0
    :: slot_new[w] != 0
    :: slot_new[w] != 0 -> slot[w] = slot_new[w]
    :: slot_new[w] != 0 -> slot[w] = GARBAGE
    fi;
    slot_new[w] = 0
}

inline cut_super(w) {
    if
    :: !super_written[w]
    :: super_written[w]
    :: super_written[w] ->
        super[w].seq = super_new[w].seq;
        super[w].lsn = super_new[w].lsn;
        super[w].at = super_new[w].at
    :: super_written[w] -> super[w].seq = 0; super[w].lsn = 0; super[w].at = 0
    fi;
    super_new[w].seq = 0;
    super_new[w].lsn = 0;
    super_new[w].at = 0;
    super_written[w] = false
}

/* What a process reads: the system's cache, which may be ahead of the disk after a kill. */
#define SEQ(k) (super_written[k] -> super_new[k].seq : super[k].seq)
#define LSN(k) (super_written[k] -> super_new[k].lsn : super[k].lsn)
#define AT(k) (super_written[k] -> super_new[k].at : super[k].at)
#define HOLDS(i) (slot_new[i] != 0 -> slot_new[i] : slot[i])

/* Does superblock k lead to everything that was acknowledged? */
inline judge(w) {
    assert(LSN(w) == 0 || HOLDS(AT(w)) == LSN(w));
    assert(log_from <= LSN(w) + 1);
    assert(acked <= log_new || acked <= LSN(w));
    for (i : 1 .. COMMITS) {
        assert(!(i > LSN(w) && i <= log_new && ref[i] != 0 && HOLDS(ref[i]) != i))
    }
    i = 0
}

#if BROKEN == 7
#define REFS_FROM COMMITS
#elif BROKEN == 14
#define REFS_FROM root
#else
#define REFS_FROM older
#endif

inline recover() {
    d_step {
        assert(SEQ(0) != 0 || SEQ(1) != 0);
        k = (SEQ(0) > SEQ(1) -> 0 : 1);
        judge(k);
        if
        :: SEQ(1 - k) != 0 -> judge(1 - k)
        :: else
        fi;
        seq = SEQ(k);
        root = LSN(k);
        root_at = AT(k);
        older = (SEQ(1 - k) != 0 -> LSN(1 - k) : root);
        now = (log_new > root -> log_new : root);
        for (i : 1 .. SLOTS - 1) { /* the bitmap, from both roots and the log */
            used[i] = (i == root_at || (SEQ(1 - k) != 0 && i == AT(1 - k)));
#if BROKEN == 6
            used[i] = (i == root_at);
#endif
            death[i] = (used[i] && i != root_at -> root : 0)
        }
        for (i : 1 .. COMMITS) {
            if
            :: i > REFS_FROM && i <= log_new && ref[i] != 0 && ref[i] != root_at ->
                used[ref[i]] = true;
                death[ref[i]] = (i == now -> 0 : i + 1)
            :: else
            fi
        }
        i = 0;
        l = k;
        k = 0
    }
#if BROKEN != 12
    sync_db(); /* pv__super_refresh */
#endif
    if
    :: SEQ(1 - l) == 0 -> /* a torn superblock is mended */
        d_step {
            seq++;
            super_new[1 - l].seq = seq;
            super_new[1 - l].lsn = root;
            super_new[1 - l].at = root_at;
            super_written[1 - l] = true;
            older = root
        }
        sync_db()
    :: else
    fi;
#if BROKEN != 13
    log_end = log_new; /* the tail is copied to a new epoch and synced */
#endif
    d_step {
        acked = now; /* served from now on */
        l = 0
    }
}

/* A slot for version n into k: free ones, and dead ones that nobody can need any more. */
inline allocate() {
    d_step {
        k = 0;
        for (i : 1 .. SLOTS - 1) {
            if
#if BROKEN == 4
            :: used[i] && death[i] != 0 && root >= death[i] -> used[i] = false; death[i] = 0
#elif BROKEN == 5
            :: used[i] && death[i] != 0 -> used[i] = false; death[i] = 0
#else
            :: used[i] && death[i] != 0 && root >= death[i] && older >= death[i] ->
                used[i] = false;
                death[i] = 0
#endif
            :: else
            fi;
            if
            :: !used[i] && k == 0 -> k = i
            :: else
            fi
        }
        assert(k != 0); /* SLOTS is too small for this model */
        used[k] = true;
        death[k] = 0;
        i = 0
    }
}

inline commit() {
    n = now + 1;
    d_step {
        if
        :: ref[now] != 0 && now > root -> death[ref[now]] = n /* replaced; only records know it */
        :: else
        fi
    }
    if
    :: true -> ref[n] = 0
    :: true ->
        allocate();
        slot_new[k] = n;
#if BROKEN != 3
        sync_db();
#endif
        d_step { ref[n] = k; k = 0 }
    fi;
    log_new = n; /* written */
#if BROKEN == 8
    acked = n;
    log_end = n;
    d_step { now = n; n = 0 }
#else
    log_end = n; /* synced */
    d_step { acked = n; now = n; n = 0 }
#endif
}

inline checkpoint() {
    d_step { l = now; n = root_at; k = 0 }
    if
    :: ref[l] != 0 -> k = ref[l] /* stored already */
    :: else ->
        allocate();
        slot_new[k] = l
    fi;
#if BROKEN != 1
    sync_db();
#endif
#if BROKEN == 9
    log_from = l + 1;
#endif
    d_step {
#if BROKEN == 10
        i = 0;
#else
        i = (seq + 1) % 2;
#endif
        super_new[i].seq = seq + 1;
        super_new[i].lsn = l;
        super_new[i].at = k;
        super_written[i] = true;
        i = 0
    }
#if BROKEN != 2
    sync_db();
#endif
    d_step {
        seq++;
        older = root;
        root = l;
        root_at = k;
        if
        :: n != 0 && n != k -> death[n] = l
        :: else
        fi;
        k = 0;
        n = 0
    }
#if BROKEN == 11
    log_from = root + 1;
#else
    d_step { log_from = (log_from > older + 1 -> log_from : older + 1) } /* pv__log_trim */
#endif
    d_step { l = 0 }
}

/* Power or process: what was in memory is gone; with the power, what was pending is as may be. */
bool off;

active proctype life() {
    byte i, k, l, n;
    d_step {
        super[0].seq = 2;
        super[1].seq = 1
    }
boot:
    {
        recover();
        do
        :: now < COMMITS -> commit()
        :: now > root -> checkpoint()
        :: now == COMMITS && root == COMMITS -> goto over
        od
    } unless {
        atomic { off -> off = false }
    }
    atomic {
        if
        :: true -> /* the power */
            cut_slot(1);
            cut_slot(2);
            cut_slot(3);
            cut_slot(4);
            cut_slot(5);
            cut_super(0);
            cut_super(1);
            if
            :: log_end = log_new
            :: log_new = log_end
            fi
        :: true /* the process only */
        fi;
        i = 0;
        k = 0;
        l = 0;
        n = 0;
        now = 0;
        seq = 0;
        root = 0;
        root_at = 0;
        older = 0
    }
    goto boot;
over:
    skip
}

active proctype cutter() {
end:
    do
    :: atomic { cuts < CUTS && !off -> off = true; cuts++ }
    :: true -> break
    od
}
