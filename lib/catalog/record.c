/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - the bytes of one collection in the catalogue tree.
 *
 *     0  u32  version        1
 *     4  u32  object_id
 *     8  u64  page           of kind PV__PAGE_COLLECTION
 *    16  u64  idmap_root
 *    24  u64  docs_root
 *    32  u32  flags          0
 *    36  u8   key            PV_KEY_
 *    37  u8   reserved       0
 *    38  u16  field_count    1
 *    40  ..   fields, one after the other:
 *         0  u16  size       of this field, all its bytes: 24 without, 40 with a graph
 *         2  u16  name_len   0
 *         4  u32  dims
 *         8  u32  owner      object id of the column
 *        12  u8   metric     PV_METRIC_
 *        13  u8   type       PV_TYPE_
 *        14  u16  flags      0
 *        16  u64  root       of the column
 *        24  u64  graph      page of the graph
 *        32  u8   index      PV_INDEX_
 *        33  u8   code       PV__CODE_ of the graph
 *        34  u16  ef_construction
 *        36  u32  shape      pq: bits of a part | parts << 8; else 0
 *        ..       name
 *
 * A version this library does not know, more than one field, a name, flags, and numbers of metric,
 * type and key that it does not know are of a later version: PV_ERR_FORMAT. What no version can
 * mean is PV_ERR_CORRUPT. */
#include "base/bytes.h"
#include "catalog/catalog.h"
#include "kernel/element.h"

#define CATREC_VERSION 1u
#define CATREC_FIELD_SIZE 24u
#define CATREC_FIELD_SIZE_GRAPH 40u

PV_STATIC_ASSERT(PV_METRIC_L2 == 1 && PV_METRIC_COSINE == 2 && PV_METRIC_DOT == 3 &&
                     PV_METRIC_L1 == 4 && PV_METRIC_HAMMING == 5 && PV_METRIC_JACCARD == 6,
                 catrec_metrics_are_disk_format);
PV_STATIC_ASSERT(PV_TYPE_F32 == 1 && PV_TYPE_F16 == 2 && PV_TYPE_BF16 == 3 && PV_TYPE_I8 == 4 &&
                     PV_TYPE_BIT == 5,
                 catrec_types_are_disk_format);
PV_STATIC_ASSERT(PV_KEY_STRING == 1 && PV_KEY_U64 == 2, catrec_keys_are_disk_format);

static void catrec_put_u16(pv__buf *out, uint16_t v) {
    pv__buf_add_u8(out, (uint8_t)(v & 0xFFu));
    pv__buf_add_u8(out, (uint8_t)(v >> 8));
}

void pv__catalog_record_encode(const pv__collection *c, pv__buf *out) {
    pv__buf_add_u32(out, CATREC_VERSION);
    pv__buf_add_u32(out, c->object_id);
    pv__buf_add_u64(out, c->page);
    pv__buf_add_u64(out, c->idmap_root);
    pv__buf_add_u64(out, c->docs_root);
    pv__buf_add_u32(out, 0);
    pv__buf_add_u8(out, c->key);
    pv__buf_add_u8(out, 0);
    catrec_put_u16(out, 1);
    catrec_put_u16(out, c->field.graph ? CATREC_FIELD_SIZE_GRAPH : CATREC_FIELD_SIZE);
    catrec_put_u16(out, 0);
    pv__buf_add_u32(out, c->field.dims);
    pv__buf_add_u32(out, c->field.owner);
    pv__buf_add_u8(out, c->field.metric);
    pv__buf_add_u8(out, c->field.type);
    catrec_put_u16(out, 0);
    pv__buf_add_u64(out, c->field.root);
    if (c->field.graph) {
        pv__buf_add_u64(out, c->field.graph);
        pv__buf_add_u8(out, c->field.index);
        pv__buf_add_u8(out, (uint8_t)(c->field.code & 0xFFu));
        catrec_put_u16(out, c->field.ef_construction);
        pv__buf_add_u32(out, c->field.code >> 8);
    }
}

static int catrec_newer(const pv__collection *c, const char *what, uint32_t value, pv_error *err) {
    return pv__err(err, PV_ERR_FORMAT,
                   "collection '%s' needs a newer version of the library (%s %u)", c->name, what,
                   (unsigned)value);
}

static int catrec_bad(const pv__collection *c, const char *what, pv_error *err) {
    return pv__err(err, PV_ERR_CORRUPT, "catalogue record of collection '%s': %s", c->name, what);
}

static uint16_t catrec_get_u16(pv__reader *r) {
    const uint8_t *p = pv__reader_take(r, 2);
    return p ? pv__get16(p) : 0;
}

static int catrec_decode_graph(pv__reader *r, pv__collection *c, pv_error *err) {
    pv__field *f = &c->field;
    f->graph = pv__reader_u64(r);
    f->index = pv__reader_u8(r);
    f->code = pv__reader_u8(r);
    f->ef_construction = catrec_get_u16(r);
    const uint32_t shape = pv__reader_u32(r);
    if (r->bad || f->graph == 0 || f->code == 0 || f->ef_construction == 0) {
        return catrec_bad(c, "the graph of a vector field is out of range", err);
    }
    f->code |= shape << 8;
    if (f->index > PV_INDEX_IVF || shape >> 24 != 0) {
        return catrec_newer(c, "index", f->index, err);
    }
    return 0;
}

static int catrec_decode_field(pv__reader *r, pv__collection *c, pv_error *err) {
    pv__field *f = &c->field;
    uint16_t size = catrec_get_u16(r);
    uint16_t name_len = catrec_get_u16(r);
    f->dims = pv__reader_u32(r);
    f->owner = pv__reader_u32(r);
    f->metric = pv__reader_u8(r);
    f->type = pv__reader_u8(r);
    uint16_t flags = catrec_get_u16(r);
    f->root = pv__reader_u64(r);
    if (r->bad || size < CATREC_FIELD_SIZE) {
        return catrec_bad(c, "a vector field is cut short", err);
    }
    if (name_len != 0 || flags != 0 ||
        (size != CATREC_FIELD_SIZE && size != CATREC_FIELD_SIZE_GRAPH)) {
        return catrec_newer(c, "vector field flags", flags, err);
    }
    f->index = PV_INDEX_FLAT;
    if (size == CATREC_FIELD_SIZE_GRAPH) {
        PV_TRY(catrec_decode_graph(r, c, err));
    }
    if (!pv__metric_of(f->metric)) {
        return catrec_newer(c, "metric", f->metric, err);
    }
    if (!pv__element_of(f->type) || !pv__measure_exists(f->type, f->metric)) {
        return catrec_newer(c, "element type", f->type, err);
    }
    if (f->dims == 0 || f->dims > PV__DIMS_MAX || f->root == 0 || f->owner < PV__OBJECT_FIRST) {
        return catrec_bad(c, "a vector field is out of range", err);
    }
    return 0;
}

int pv__catalog_record_decode(pv__bytes value, pv__collection *c, pv_error *err) {
    pv__reader r = pv__reader_of(value.data, value.size);
    uint32_t version = pv__reader_u32(&r);
    if (!r.bad && version != CATREC_VERSION) {
        return version == 0 ? catrec_bad(c, "version 0", err)
                            : catrec_newer(c, "record version", version, err);
    }
    c->object_id = pv__reader_u32(&r);
    c->page = pv__reader_u64(&r);
    c->idmap_root = pv__reader_u64(&r);
    c->docs_root = pv__reader_u64(&r);
    uint32_t flags = pv__reader_u32(&r);
    c->key = pv__reader_u8(&r);
    uint8_t reserved = pv__reader_u8(&r);
    uint16_t field_count = catrec_get_u16(&r);
    if (r.bad) {
        return catrec_bad(c, "cut short", err);
    }
    if (flags != 0 || reserved != 0 || field_count > 1) {
        return catrec_newer(c, field_count > 1 ? "vector fields" : "flags",
                            field_count > 1 ? field_count : flags, err);
    }
    if (field_count == 0 || c->page == 0 || c->idmap_root == 0 || c->docs_root == 0 ||
        c->object_id < PV__OBJECT_FIRST || c->object_id > UINT32_MAX - PV__OBJECT_IDS_GRAPH) {
        return catrec_bad(c, "a number is out of range", err);
    }
    if (c->key != PV_KEY_STRING && c->key != PV_KEY_U64) {
        return catrec_newer(c, "key kind", c->key, err);
    }
    PV_TRY(catrec_decode_field(&r, c, err));
    if (pv__reader_left(&r) != 0) {
        return catrec_bad(c, "bytes behind its end", err);
    }
    return 0;
}

#undef CATREC_VERSION
#undef CATREC_FIELD_SIZE
#undef CATREC_FIELD_SIZE_GRAPH
