/* SPDX-License-Identifier: Apache-2.0 */
/* json_read.c - JSON text to a binary document: the events of json_scan.c go into the builder. */
#include "value/json.h"

/* One event into the builder. */
static void jread_event(const pv__json *j, pv__docb *b) {
    switch (j->event) {
    case PV__JSON_NULL:
        pv__docb_null(b);
        break;
    case PV__JSON_FALSE:
    case PV__JSON_TRUE:
        pv__docb_bool(b, j->event == PV__JSON_TRUE);
        break;
    case PV__JSON_INT:
        pv__docb_int(b, j->number_int);
        break;
    case PV__JSON_DOUBLE:
        pv__docb_double(b, j->number_double);
        break;
    case PV__JSON_STRING:
        pv__docb_string(b, j->str, j->str_len);
        break;
    case PV__JSON_KEY:
        b->source = (uint32_t)j->at;
        pv__docb_key(b, j->str, j->str_len);
        break;
    case PV__JSON_ARRAY:
        pv__docb_array(b);
        break;
    case PV__JSON_OBJECT:
        pv__docb_object(b);
        break;
    default:
        pv__docb_end(b);
        break;
    }
}

static int jread_refuse(const pv__json_opts *opts, pv_error *err) {
    return pv__err(err, PV_ERR_FORMAT, "%s: expected an object at byte 0", opts->what);
}

void pv__json_reader_init(pv__json_reader *r, pv__mem *mem) {
    pv__json_init(&r->json, mem, NULL, NULL, 0);
    memset(&r->docb, 0, sizeof r->docb);
    pv__buf_init(&r->docb.keys, mem);
    pv__buf_init(&r->docb.scratch, mem);
}

void pv__json_reader_done(pv__json_reader *r) {
    pv__json_done(&r->json);
    pv__docb_release(&r->docb);
}

int pv__json_reader_read(pv__json_reader *r, const pv__json_opts *opts, const char *text,
                         size_t len, pv__buf *out, pv_error *err) {
    size_t bytes_max = PV_MIN(opts->bytes_max, (size_t)PV__DOC_BYTES_MAX);
    if (len > bytes_max) {
        return pv__err(err, PV_ERR_LIMIT, "%s: %zu bytes of JSON, the limit is %zu", opts->what,
                       len, bytes_max);
    }
    if (pv__json_flat(text, len, out)) {
        return 0;
    }
    pv__json *j = &r->json;
    pv__docb *b = &r->docb;
    const pv__buf scratch = j->scratch;
    pv__json_init(j, out->mem, opts->what, text, len);
    j->scratch = scratch;
    pv__docb_again(b, out, opts->what, err);
    b->from_text = true; /* json_scan.c has checked the UTF-8, and positions are known */
    int rc = 0;
    for (bool first = true; rc == 0 && b->rc == 0; first = false) {
        rc = pv__json_next(j, err);
        if (rc || j->event == PV__JSON_END) {
            break;
        }
        if (first && opts->want_object && j->event != PV__JSON_OBJECT) {
            rc = jread_refuse(opts, err);
            break;
        }
        jread_event(j, b);
    }
    if (rc && b->rc == 0) {
        b->rc = rc; /* the builder then undoes what it has written and keeps the message */
    }
    return pv__docb_finish(b);
}

int pv__json_read(const pv__json_opts *opts, const char *text, size_t len, pv__buf *out,
                  pv_error *err) {
    pv__json_reader r;
    pv__json_reader_init(&r, out->mem);
    int rc = pv__json_reader_read(&r, opts, text, len, out, err);
    pv__json_reader_done(&r);
    return rc;
}
