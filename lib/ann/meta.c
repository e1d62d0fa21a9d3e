/* SPDX-License-Identifier: Apache-2.0 */
/* meta.c - the page of a graph: what is where and how much. docs/format/graph.md has the same
 * byte table.
 *
 *    64  u32  version            3; 1 ends before 448, 2 before 1104; of lists 4, of codes alone 5,
 *                                of links by inner product 6
 *    68  u32  code               PV__CODE_
 *    72  u32  ef_construction
 *    76  u32  node_high          80  u32 node_free       84  u32 node_count
 *    88  u32  tomb_count         92  u32 dup_count       96  u32 root
 *   100  u32  zero              104  u32 built          108  u32 level_count
 *   112  u32  sweep_at          116  u32 sweep_mark     120  u32 sweep_phase
 *   124  f32  norm2_max         128  u64 seed
 *   136  u64  links_root        144  u64 codes_root     152  u64 slot_of_root
 *   160  u64  node_of_root      168  u64 dups_root
 *   176  6 x { u64 root, u32 high, u32 free, u32 count, u32 entry }
 *   320  128 bytes 0            an older curve: measured again
 *   448  u32  flags              1: codes are about a mean
 *   456  u64  fines_root        464  u64 books_root
 *   472  3 x { u64 hash, u32 row, u32 bytes }
 *   520  u32  coded | recoding << 1 | epoch << 2        524  u32 recode_at
 *   528  u32  learned_nodes     532  f32 learned_lost   536  f32 lost
 *  1088  u32  removed          1092  u32 curve: removed    1096  u32 first_nodes
 *  1100  u16  first
 *  1104  u32  choice: automatic | wanted << 8          1108  u32  rows
 *  1112  5 x u16 recall        1124  5 x u32 ns
 *  1144  u32  shape             PV__SHAPE_, from version 4 on; and so on only of lists:
 *  1148  u32  groups           1152  u32 lists         1156  u32 rows
 *  1160  u32  curve: nodes     1164  u32 samples       1168  3 x 16 x u16 recall
 *  1264  3 x 16 x u32 sums
 */
#include "ann/shape.h"

#define GMETA_VERSION 3u
#define GMETA_VERSION_LISTS 4u
#define GMETA_VERSION_PLAIN 5u
#define GMETA_VERSION_PRODUCT 6u
#define GMETA_AT(n) (PV__PAGE_HEAD + (n))
#define GMETA_LEVELS GMETA_AT(112)
#define GMETA_LEVEL_BYTES 24u
#define GMETA_CURVE_OLD GMETA_AT(256) /* of 2 x 10 points, 128 bytes */
#define GMETA_CURVE GMETA_AT(1096)
#define GMETA_CURVE_SUMS GMETA_AT(1200)
#define GMETA_CODES GMETA_AT(384)
#define GMETA_BOOKS GMETA_AT(408)
#define GMETA_BOOK_BYTES 16u
#define GMETA_CENTRED 1u
#define GMETA_COARSE GMETA_AT(456)
#define GMETA_REMOVED GMETA_AT(1024)
#define GMETA_CHOICE GMETA_AT(1040)
#define GMETA_SHAPE GMETA_AT(1080)

/* Owners, from the graph's own. */
#define GMETA_OWNER_CODES 1u
#define GMETA_OWNER_MAPS 2u
#define GMETA_OWNER_UPPER 3u
#define GMETA_OWNER_FINES (3u + PV__GRAPH_LEVELS)
#define GMETA_OWNER_BOOKS (4u + PV__GRAPH_LEVELS)

#define GMETA_CODE_WASTE_PERCENT 5u

int pv__graph_corrupt(const pv__graph *g, uint32_t node, const char *what, pv_error *err) {
    return pv__err(err, PV_ERR_CORRUPT, "graph of object %u, node %u: %s", (unsigned)g->owner,
                   (unsigned)node, what);
}

static void gmeta_curve_encode(const pv__graph_curve *c, uint8_t *page) {
    memset(page + GMETA_CURVE_OLD, 0, 128);
    pv__put32(page + GMETA_CURVE, c->nodes);
    pv__put32(page + GMETA_CURVE + 4, c->samples);
    for (size_t i = 0; i < (size_t)PV__CURVES * PV__CURVE_POINTS; i++) {
        const size_t k = i / PV__CURVE_POINTS, at = i % PV__CURVE_POINTS;
        pv__put16(page + GMETA_CURVE + 8 + 2 * i, c->recall[k][at]);
        pv__put32(page + GMETA_CURVE_SUMS + 4 * i, c->sums[k][at]);
    }
    pv__put32(page + GMETA_REMOVED + 4, c->removed);
    pv__put32(page + GMETA_REMOVED + 8, c->first_nodes);
    pv__put16(page + GMETA_REMOVED + 12, c->first);
}

static void gmeta_codes_encode(const pv__graph_meta *m, uint8_t *page) {
    pv__put32(page + GMETA_CODES, m->centred ? GMETA_CENTRED : 0);
    pv__put64(page + GMETA_CODES + 8, m->fines_root);
    pv__put64(page + GMETA_CODES + 16, m->books_root);
    for (unsigned i = 0; i < PV__GRAPH_BOOKS; i++) {
        uint8_t *p = page + GMETA_BOOKS + (size_t)GMETA_BOOK_BYTES * i;
        pv__put64(p, m->books[i].hash);
        pv__put32(p + 8, m->books[i].row);
        pv__put32(p + 12, m->books[i].bytes);
    }
    pv__put32(page + GMETA_COARSE, (uint32_t)m->coded | (uint32_t)m->recoding << 1 | m->epoch << 2);
    pv__put32(page + GMETA_COARSE + 4, m->recode_at);
    pv__put32(page + GMETA_COARSE + 8, m->learned_nodes);
    memcpy(page + GMETA_COARSE + 12, &m->learned_lost, 4);
    memcpy(page + GMETA_COARSE + 16, &m->lost, 4);
}

static void gmeta_codes_decode(const uint8_t *page, pv__graph_meta *m) {
    m->centred = pv__get32(page + GMETA_CODES) & GMETA_CENTRED;
    m->fines_root = pv__get64(page + GMETA_CODES + 8);
    m->books_root = pv__get64(page + GMETA_CODES + 16);
    for (unsigned i = 0; i < PV__GRAPH_BOOKS; i++) {
        const uint8_t *p = page + GMETA_BOOKS + (size_t)GMETA_BOOK_BYTES * i;
        m->books[i] = (pv__graph_book){pv__get64(p), pv__get32(p + 8), pv__get32(p + 12)};
    }
    const uint32_t flags = pv__get32(page + GMETA_COARSE);
    m->coded = flags & 1u;
    m->recoding = flags & 2u;
    m->epoch = flags >> 2 & 1u;
    m->recode_at = pv__get32(page + GMETA_COARSE + 4);
    m->learned_nodes = pv__get32(page + GMETA_COARSE + 8);
    memcpy(&m->learned_lost, page + GMETA_COARSE + 12, 4);
    memcpy(&m->lost, page + GMETA_COARSE + 16, 4);
}

static void gmeta_choice_encode(const pv__graph_choice *c, uint8_t *page) {
    pv__put32(page + GMETA_CHOICE, (uint32_t)c->automatic | c->wanted << 8);
    pv__put32(page + GMETA_CHOICE + 4, c->rows);
    for (size_t i = 0; i < PV__CHOICES; i++) {
        pv__put16(page + GMETA_CHOICE + 8 + 2 * i, c->recall[i]);
        pv__put32(page + GMETA_CHOICE + 20 + 4 * i, c->ns[i]);
    }
}

static void gmeta_choice_decode(const uint8_t *page, pv__graph_choice *c) {
    c->automatic = pv__get32(page + GMETA_CHOICE) & 1u;
    c->wanted = pv__get32(page + GMETA_CHOICE) >> 8;
    c->rows = pv__get32(page + GMETA_CHOICE + 4);
    for (size_t i = 0; i < PV__CHOICES; i++) {
        c->recall[i] = pv__get16(page + GMETA_CHOICE + 8 + 2 * i);
        c->ns[i] = pv__get32(page + GMETA_CHOICE + 20 + 4 * i);
    }
}

static void gmeta_shape_encode(const pv__graph_meta *m, uint8_t *page) {
    pv__put32(page + GMETA_SHAPE, m->shape);
    pv__put32(page + GMETA_SHAPE + 4, m->lists.groups);
    pv__put32(page + GMETA_SHAPE + 8, m->lists.count);
    pv__put32(page + GMETA_SHAPE + 12, m->lists.rows);
}

static void gmeta_shape_decode(const uint8_t *page, pv__graph_meta *m) {
    m->shape = pv__get32(page + GMETA_SHAPE);
    m->lists =
        (pv__graph_lists){pv__get32(page + GMETA_SHAPE + 4), pv__get32(page + GMETA_SHAPE + 8),
                          pv__get32(page + GMETA_SHAPE + 12)};
}

static void gmeta_encode(const pv__graph_meta *m, uint8_t *page) {
    const uint32_t version = m->by_product                 ? GMETA_VERSION_PRODUCT
                             : m->shape == PV__SHAPE_LINKS ? GMETA_VERSION
                             : m->shape == PV__SHAPE_LISTS ? GMETA_VERSION_LISTS
                                                           : GMETA_VERSION_PLAIN;
    const uint32_t words[15] = {version,      m->code,       m->ef_construction, m->node_high,
                                m->node_free, m->node_count, m->tomb_count,      m->dup_count,
                                m->root,      m->zero,       m->built,           m->level_count,
                                m->sweep_at,  m->sweep_mark, m->sweep_phase};
    for (unsigned i = 0; i < 15; i++) {
        pv__put32(page + GMETA_AT(4 * (size_t)i), words[i]);
    }
    memcpy(page + GMETA_AT(60), &m->norm2_max, 4); /* little-endian machines only */
    pv__put64(page + GMETA_AT(64), m->seed);
    pv__put64(page + GMETA_AT(72), m->links_root);
    pv__put64(page + GMETA_AT(80), m->codes_root);
    pv__put64(page + GMETA_AT(88), m->slot_of_root);
    pv__put64(page + GMETA_AT(96), m->node_of_root);
    pv__put64(page + GMETA_AT(104), m->dups_root);
    for (unsigned i = 0; i < PV__GRAPH_LEVELS; i++) {
        uint8_t *p = page + GMETA_LEVELS + (size_t)GMETA_LEVEL_BYTES * i;
        pv__put64(p, m->levels[i].root);
        pv__put32(p + 8, m->levels[i].high);
        pv__put32(p + 12, m->levels[i].free);
        pv__put32(p + 16, m->levels[i].count);
        pv__put32(p + 20, m->levels[i].entry);
    }
    pv__put32(page + GMETA_REMOVED, m->removed);
    gmeta_curve_encode(&m->curve, page);
    gmeta_codes_encode(m, page);
    gmeta_choice_encode(&m->choice, page);
    gmeta_shape_encode(m, page);
}

static void gmeta_curve_decode(const uint8_t *page, pv__graph_curve *c) {
    c->nodes = pv__get32(page + GMETA_CURVE);
    c->samples = pv__get32(page + GMETA_CURVE + 4);
    for (size_t i = 0; i < (size_t)PV__CURVES * PV__CURVE_POINTS; i++) {
        const size_t k = i / PV__CURVE_POINTS, at = i % PV__CURVE_POINTS;
        c->recall[k][at] = pv__get16(page + GMETA_CURVE + 8 + 2 * i);
        c->sums[k][at] = pv__get32(page + GMETA_CURVE_SUMS + 4 * i);
    }
    c->removed = pv__get32(page + GMETA_REMOVED + 4);
    c->first_nodes = pv__get32(page + GMETA_REMOVED + 8);
    c->first = pv__get16(page + GMETA_REMOVED + 12);
}

static void gmeta_decode(const uint8_t *page, pv__graph_meta *m) {
    uint32_t w[15];
    for (unsigned i = 0; i < 15; i++) {
        w[i] = pv__get32(page + GMETA_AT(4 * (size_t)i));
    }
    m->code = w[1];
    m->ef_construction = w[2];
    m->node_high = w[3];
    m->node_free = w[4];
    m->node_count = w[5];
    m->tomb_count = w[6];
    m->dup_count = w[7];
    m->root = w[8];
    m->zero = w[9];
    m->built = w[10];
    m->level_count = w[11];
    m->sweep_at = w[12];
    m->sweep_mark = w[13];
    m->sweep_phase = w[14];
    memcpy(&m->norm2_max, page + GMETA_AT(60), 4);
    m->seed = pv__get64(page + GMETA_AT(64));
    m->links_root = pv__get64(page + GMETA_AT(72));
    m->codes_root = pv__get64(page + GMETA_AT(80));
    m->slot_of_root = pv__get64(page + GMETA_AT(88));
    m->node_of_root = pv__get64(page + GMETA_AT(96));
    m->dups_root = pv__get64(page + GMETA_AT(104));
    for (unsigned i = 0; i < PV__GRAPH_LEVELS; i++) {
        const uint8_t *p = page + GMETA_LEVELS + (size_t)GMETA_LEVEL_BYTES * i;
        m->levels[i].root = pv__get64(p);
        m->levels[i].high = pv__get32(p + 8);
        m->levels[i].free = pv__get32(p + 12);
        m->levels[i].count = pv__get32(p + 16);
        m->levels[i].entry = pv__get32(p + 20);
    }
    m->removed = pv__get32(page + GMETA_REMOVED);
    gmeta_curve_decode(page, &m->curve);
    memset(&m->centred, 0, sizeof *m - offsetof(pv__graph_meta, centred));
    if (w[0] > 1) {
        gmeta_codes_decode(page, m);
    }
    if (w[0] > 2) {
        gmeta_choice_decode(page, &m->choice);
    }
    if (w[0] > 3) {
        gmeta_shape_decode(page, m);
    }
}

/* Of codes alone. */
static bool gmeta_possible_plain(const pv__graph_meta *m) {
    return m->root == 0 && m->level_count == 0 && m->tomb_count == 0 && m->sweep_phase == 0 &&
           m->dup_count == 0 && m->node_free == 0 && m->levels[0].root == 0 &&
           m->lists.groups == 0 && m->lists.count == 0;
}

/* Lists have none of what leads from node to node. */
static bool gmeta_possible_lists(const pv__graph_meta *m) {
    const pv__graph_lists *l = &m->lists;
    const pv__graph_level *rows = &m->levels[0];
    if (m->shape == PV__SHAPE_LINKS) {
        return l->groups == 0 && l->count == 0 && l->rows == 0 &&
               (m->root != 0 || m->node_count == 0);
    }
    if (m->shape == PV__SHAPE_PLAIN) {
        return gmeta_possible_plain(m);
    }
    return m->shape == PV__SHAPE_LISTS && m->root == 0 && m->level_count == 0 &&
           m->tomb_count == 0 && m->sweep_phase == 0 && l->groups <= PV__GROUPS_MAX &&
           l->groups <= l->count && l->count < PV__SLOTS_PER_COLLECTION_MAX / 2 &&
           rows->high == (rows->root != 0 ? l->groups + l->count : 0) &&
           (rows->root != 0 || m->node_high == 0) && m->levels[1].root == 0;
}

static bool gmeta_possible(const pv__graph_meta *m) {
    bool ok = m->level_count <= PV__GRAPH_LEVELS && m->node_high <= PV__SLOTS_PER_COLLECTION_MAX &&
              (uint64_t)m->node_count + m->tomb_count <= m->node_high && m->root <= m->node_high &&
              m->node_free <= m->node_high && m->zero <= m->node_high && m->sweep_mark <= 1 &&
              m->sweep_at <= m->node_high && m->built <= PV__SLOTS_PER_COLLECTION_MAX &&
              m->ef_construction >= 1 && m->ef_construction <= PV__GRAPH_EF_MAX &&
              gmeta_possible_lists(m) && (!m->by_product || m->shape == PV__SHAPE_LINKS) &&
              m->sweep_phase <= 2 + 2 * PV__GRAPH_LEVELS;
    ok = ok && (!m->choice.automatic ||
                (m->choice.wanted != PV__CODE_AUTO && pv__code_name(m->choice.wanted) != NULL));
    ok = ok && m->recode_at <= m->node_high && (!m->coded || m->learned_nodes != 0);
    for (unsigned i = 0; i < PV__GRAPH_BOOKS && ok; i++) {
        ok = m->books[i].hash == 0 || m->books_root != 0;
    }
    for (unsigned i = 0; i < PV__GRAPH_LEVELS && ok; i++) {
        const pv__graph_level *l = &m->levels[i];
        ok = l->count <= l->high && l->free <= l->high &&
             (l->high <= m->node_high || m->shape == PV__SHAPE_LISTS) && l->entry <= l->high &&
             (l->entry != 0) == (i < m->level_count) && (l->root != 0 || l->high == 0);
    }
    return ok;
}

int pv__graph_create(pv__txn *txn, uint32_t owner, const pv__graph_spec *spec,
                     const pv__graph *before, uint64_t *out_page, pv_error *err) {
    pv__graph_meta m = {
        .code = spec->code, .ef_construction = spec->ef_construction, .shape = spec->shape};
    uint8_t *page;
    if (spec->code == PV__CODE_AUTO) {
        m.choice = (pv__graph_choice){.automatic = true, .wanted = PV__CODE_SQ8};
        if (before && before->meta.choice.automatic && before->meta.choice.rows != 0) {
            m.choice = before->meta.choice;
            m.code = m.choice.wanted;
        }
    }
    PV_TRY(pv__page_new(txn, PV__PAGE_GRAPH, 1, owner, 0, out_page, &page, err));
    m.seed = pv__mix64(owner);
    m.centred = true;
    gmeta_encode(&m, page);
    return 0;
}

static bool gmeta_code(pv__graph *g) {
    const pv__graph_meta *m = &g->meta;
    const uint32_t code = m->code == PV__CODE_AUTO ? m->choice.wanted : m->code;
    pv__code_spec spec = {.kind = PV__CODE_KIND(code),
                          .bits = PV__CODE_BITS(code),
                          .parts = PV__CODE_PARTS(code),
                          .turned = code & PV__CODE_TURNED,
                          .type = g->type,
                          .metric = g->metric,
                          .dims = g->dims,
                          .centred = m->centred,
                          .norm2_max = m->norm2_max,
                          .seed = m->seed};
    g->split = spec.kind == PV__CODE_B1 || spec.kind == PV__CODE_PQ;
    if (!pv__code_init(&g->code, &spec, g->cpu)) {
        return false;
    }
    spec.kind = g->split ? (uint32_t)PV__CODE_Q4 : spec.kind;
    if (!pv__code_init(&g->fine, &spec, g->cpu)) {
        return false;
    }
    /* One that learns nothing and loses little. */
    spec.kind = g->type == PV_TYPE_BIT                            ? PV__CODE_BIT
                : pv__code_goes(PV__CODE_SQ8, g->type, g->metric) ? PV__CODE_SQ8
                                                                  : PV__CODE_F16;
    return m->shape != PV__SHAPE_LISTS || pv__code_init(&g->centre, &spec, g->cpu);
}

int pv__graph_code_init(pv__graph *g, pv_error *err) {
    PV_ASSERT(gmeta_code(g));
    return 0;
}

/* Columns by number: links, codes, both maps, what walks by short codes end with, books, levels. */
enum { GMETA_LINKS, GMETA_OF_CODES, GMETA_SLOT_OF, GMETA_NODE_OF, GMETA_FINES, GMETA_OF_BOOKS };

uint64_t pv__graph_column_root(const pv__graph *g, uint32_t i) {
    const pv__graph_meta *m = &g->meta;
    const uint64_t roots[PV__GRAPH_COLUMNS - PV__GRAPH_LEVELS] = {m->links_root,   m->codes_root,
                                                                  m->slot_of_root, m->node_of_root,
                                                                  m->fines_root,   m->books_root};
    return i < PV_COUNTOF(roots) ? roots[i] : m->levels[i - PV_COUNTOF(roots)].root;
}

int pv__graph_column_open(const pv__graph *g, uint32_t i, pv__column *out, pv_error *err) {
    static const uint32_t owners[PV__GRAPH_COLUMNS - PV__GRAPH_LEVELS] = {0,
                                                                          GMETA_OWNER_CODES,
                                                                          GMETA_OWNER_MAPS,
                                                                          GMETA_OWNER_MAPS,
                                                                          GMETA_OWNER_FINES,
                                                                          GMETA_OWNER_BOOKS};
    const uint32_t row_sizes[PV__GRAPH_COLUMNS - PV__GRAPH_LEVELS] = {
        g->shape->link_bytes, g->code.row_size, 4, 4, g->fine.row_size, PV__BOOK_ROW_BYTES};
    const uint32_t level = i - (uint32_t)PV_COUNTOF(owners);
    const bool upper = i >= PV_COUNTOF(owners);
    PV_TRY(pv__column_open(g->txn, g->owner + (upper ? GMETA_OWNER_UPPER + level : owners[i]),
                           pv__graph_column_root(g, i),
                           upper ? g->shape->upper_bytes(g) : row_sizes[i], out, err));
    if (out->part != (i == GMETA_NODE_OF ? 1u : 0u)) {
        return pv__err(err, PV_ERR_CORRUPT, "graph of object %u: its maps are mixed up",
                       (unsigned)g->owner);
    }
    return 0;
}

static int gmeta_open_columns(pv__graph *g, pv_error *err) {
    PV_TRY(pv__graph_column_open(g, GMETA_LINKS, &g->links, err));
    PV_TRY(pv__graph_column_open(g, GMETA_OF_CODES, &g->codes, err));
    PV_TRY(pv__graph_column_open(g, GMETA_SLOT_OF, &g->slot_of, err));
    PV_TRY(pv__graph_column_open(g, GMETA_NODE_OF, &g->node_of, err));
    g->fines = g->codes;
    if (g->split) {
        PV_TRY(pv__graph_column_open(g, GMETA_FINES, &g->fines, err));
    }
    if (g->meta.books_root != 0) {
        PV_TRY(pv__graph_column_open(g, GMETA_OF_BOOKS, &g->books, err));
    }
    const uint32_t uppers = g->meta.lists.groups != 0 ? 1 : g->meta.level_count;
    for (uint32_t i = 0; i < uppers; i++) {
        PV_TRY(
            pv__graph_column_open(g, PV__GRAPH_COLUMNS - PV__GRAPH_LEVELS + i, &g->upper[i], err));
    }
    g->dups = (pv__tree){g->txn, g->meta.dups_root, g->owner};
    return 0;
}

int pv__graph_open_meta(pv__graph *g, pv__txn *txn, uint64_t page_id, uint32_t owner,
                        const pv__graph_space *space, uint32_t cpu, pv_error *err) {
    const uint8_t *page;
    memset(g, 0, sizeof *g);
    g->txn = txn;
    g->page = page_id;
    g->owner = owner;
    g->type = space->type;
    g->metric = space->metric;
    g->dims = space->dims;
    g->cpu = cpu;
    PV_TRY(pv__page_read(txn, page_id, PV__PAGE_GRAPH, &page, err));
    const uint32_t version = pv__get32(page + GMETA_AT(0));
    if (pv__page_owner(page) != owner || version == 0) {
        return pv__err(err, PV_ERR_CORRUPT, "page %llu is not the graph of object %u",
                       (unsigned long long)page_id, (unsigned)owner);
    }
    gmeta_decode(page, &g->meta);
    g->meta.by_product = version == GMETA_VERSION_PRODUCT;
    if (version > GMETA_VERSION_PRODUCT) {
        return pv__err(err, PV_ERR_FORMAT,
                       "the graph of object %u needs a newer version of the "
                       "library (graph version %u)",
                       (unsigned)owner, (unsigned)version);
    }
    g->shape = g->meta.shape == PV__SHAPE_LISTS   ? pv__shape_lists()
               : g->meta.shape == PV__SHAPE_PLAIN ? pv__shape_plain()
                                                  : pv__shape_links();
    if (!gmeta_possible(&g->meta)) {
        return pv__err(err, PV_ERR_CORRUPT,
                       "page %llu: impossible counters of the graph of object "
                       "%u",
                       (unsigned long long)page_id, (unsigned)owner);
    }
    if (!gmeta_code(g)) {
        return pv__err(err, PV_ERR_FORMAT,
                       "the graph of object %u needs a newer version of the "
                       "library (code %u)",
                       (unsigned)owner, (unsigned)g->meta.code);
    }
    g->built = g->meta.links_root != 0;
    return 0;
}

int pv__graph_open(pv__graph *g, pv__txn *txn, uint64_t page_id, uint32_t owner,
                   const pv__column *vectors, const pv__graph_space *space, uint32_t cpu,
                   pv_error *err) {
    PV_TRY(pv__graph_open_meta(g, txn, page_id, owner, space, cpu, err));
    g->vectors = vectors;
    return g->built ? gmeta_open_columns(g, err) : 0;
}

void pv__graph_move(pv__graph *g, pv__txn *txn) {
    g->txn = g->links.txn = g->codes.txn = g->fines.txn = g->books.txn = txn;
    g->slot_of.txn = g->node_of.txn = g->dups.txn = txn;
    for (unsigned i = 0; i < PV__GRAPH_LEVELS; i++) {
        g->upper[i].txn = txn;
    }
}

int pv__graph_save(pv__graph *g, pv_error *err) {
    uint8_t *page;
    if (!g->changed) {
        return 0;
    }
    PV_TRY(pv__page_write(g->txn, g->page, PV__PAGE_GRAPH, &page, err));
    gmeta_encode(&g->meta, page);
    g->changed = false;
    return 0;
}

/* The size of a page of codes: the smallest of so many slots and more that holds enough rows and
 * wastes little. */
uint32_t pv__graph_code_slots(uint32_t row_size, uint32_t slots_min, uint32_t rows_min) {
    for (uint32_t n = slots_min; n <= PV__PAGE_SLOTS_MAX; n++) {
        const uint32_t size = n * PV__SLOT_SIZE;
        const uint32_t rows = (size - pv__page_front(n)) / row_size;
        if (rows >= rows_min && (size - rows * row_size) * 100 <= size * GMETA_CODE_WASTE_PERCENT) {
            return n;
        }
    }
    return 0; /* as pv__column_layout says */
}

int pv__graph_begin(pv__graph *g, pv_error *err) {
    pv__graph_meta *m = &g->meta;
    if (g->built) {
        return 0;
    }
    m->code = m->code == PV__CODE_AUTO ? m->choice.wanted : m->code;
    m->by_product = g->metric == PV_METRIC_DOT && m->shape == PV__SHAPE_LINKS;
    PV_ASSERT(gmeta_code(g));
    PV_TRY(pv__column_create(g->txn, g->owner, g->shape->link_bytes, 1, &m->links_root, err));
    PV_TRY(pv__column_create(g->txn, g->owner + GMETA_OWNER_CODES, g->code.row_size,
                             g->shape->code_slots(g->code.row_size), &m->codes_root, err));
    if (g->split) {
        PV_TRY(pv__column_create(g->txn, g->owner + GMETA_OWNER_FINES, g->fine.row_size,
                                 g->shape->code_slots(g->fine.row_size), &m->fines_root, err));
    }
    if (g->fine.book_bytes || g->code.book_bytes) {
        PV_TRY(pv__column_create(g->txn, g->owner + GMETA_OWNER_BOOKS, PV__BOOK_ROW_BYTES, 1,
                                 &m->books_root, err));
    }
    PV_TRY(pv__column_create_part(g->txn, g->owner + GMETA_OWNER_MAPS, 4, 1, 0, &m->slot_of_root,
                                  err));
    PV_TRY(pv__column_create_part(g->txn, g->owner + GMETA_OWNER_MAPS, 4, 1, 1, &m->node_of_root,
                                  err));
    PV_TRY(pv__tree_create(g->txn, g->owner, &m->dups_root, err));
    PV_TRY(gmeta_open_columns(g, err));
    g->built = true;
    g->changed = true;
    return 0;
}

int pv__graph_level_begin(pv__graph *g, uint32_t level, pv_error *err) {
    const uint32_t owner = g->owner + GMETA_OWNER_UPPER + level;
    pv__graph_level *l = &g->meta.levels[level];
    if (l->root == 0) {
        PV_TRY(pv__column_create(g->txn, owner, g->shape->upper_bytes(g), 1, &l->root, err));
        g->changed = true;
    }
    return pv__column_open(g->txn, owner, l->root, g->shape->upper_bytes(g), &g->upper[level], err);
}

int pv__graph_word_get(const pv__column *c, uint32_t at, uint32_t *out, pv_error *err) {
    const uint8_t *row;
    PV_TRY(pv__column_read(c, at, &row, err));
    *out = pv__get32(row);
    return 0;
}

int pv__graph_word_set(const pv__column *c, uint32_t at, uint32_t v, pv_error *err) {
    uint8_t *row;
    PV_TRY(pv__column_write(c, at, &row, err));
    pv__put32(row, v);
    return 0;
}

#undef GMETA_VERSION
#undef GMETA_VERSION_LISTS
#undef GMETA_VERSION_PLAIN
#undef GMETA_VERSION_PRODUCT
#undef GMETA_SHAPE
#undef GMETA_AT
#undef GMETA_LEVELS
#undef GMETA_LEVEL_BYTES
#undef GMETA_CURVE
#undef GMETA_CURVE_OLD
#undef GMETA_CURVE_SUMS
#undef GMETA_CODES
#undef GMETA_BOOKS
#undef GMETA_BOOK_BYTES
#undef GMETA_CENTRED
#undef GMETA_COARSE
#undef GMETA_REMOVED
#undef GMETA_CHOICE
#undef GMETA_OWNER_CODES
#undef GMETA_OWNER_MAPS
#undef GMETA_OWNER_UPPER
#undef GMETA_OWNER_FINES
#undef GMETA_OWNER_BOOKS
#undef GMETA_CODE_WASTE_PERCENT
