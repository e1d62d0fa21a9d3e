/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_search.c - search: by a vector, by a stored record (--like), or by many vectors at once
 * (--queries FILE: npy, fvecs, JSON lines or CSV, read as `import` reads them).
 *
 *      arguments -> search_args -> queries (vectors + names) -> pv_search_many -> lines or JSON
 *
 * --like asks for one row more and leaves out the record itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/read.h"
#include "common/ex_element.h"
#include "common/ex_input.h"

#define SEARCH_VECTOR_BYTES_MAX (1u << 20)
#define SEARCH_BLOCK_BYTES (16u << 20) /* of query vectors searched at once */

typedef struct search {
    cli *c;
    pv_db *db;
    const char *collection;
    const char *vector;  /* --vector */
    const char *like;    /* --like */
    const char *file;    /* --queries */
    const char *format;  /* --format of that file */
    const char *sidecar; /* --metadata: names of the queries of an npy file */
    const char *filter;
    const char *show; /* --show a,b: these metadata members, for people */
    uint64_t k;
    float max_distance;
    int within;
    int exact;
    int with_vectors;
    int no_metadata;
    pv_collection_info info;
    uint64_t like_number;
} search;

static void search_options(const search *s, pv_query *q) {
    q->flags = (s->exact ? PV_QUERY_EXACT : 0) | (s->within ? PV_QUERY_WITHIN : 0);
    q->k = (uint32_t)s->k;
    if (s->like != NULL && s->k > 0) {
        q->k = (uint32_t)s->k + 1; /* the record itself */
    }
    q->include =
        (s->no_metadata ? 0 : PV_INCLUDE_METADATA) | (s->with_vectors ? PV_INCLUDE_VECTOR : 0);
    q->filter = s->filter;
    q->max_distance = s->within ? s->max_distance : 0.0f;
}

static int search_is_self(const search *s, const pv_results *r, size_t i) {
    if (s->like == NULL) {
        return 0;
    }
    const char *id = pv_results_id(r, i);
    return id != NULL ? strcmp(id, s->like) == 0 : pv_results_id_u64(r, i) == s->like_number;
}

/* Rows to print: --like asked for one more, for the case that the record itself is among them. */
static size_t search_rows(const search *s, const pv_results *r) {
    size_t n = pv_results_count(r);
    return s->like != NULL && s->k > 0 && n > s->k + 1 ? (size_t)s->k + 1 : n;
}

static void search_put_json(search *s, const pv_results *r, const char *query) {
    ex_buf *out = &s->c->out;
    size_t printed = 0;
    ex_buf_putc(out, '{');
    if (query != NULL) {
        ex_buf_puts(out, "\"query\":");
        ex_buf_puts(out, query);
        ex_buf_putc(out, ',');
    }
    ex_buf_puts(out, "\"results\":[");
    for (size_t i = 0; i < search_rows(s, r) && (s->like == NULL || s->k == 0 || printed < s->k);
         i++) {
        if (search_is_self(s, r, i)) {
            continue;
        }
        ex_buf_puts(out, printed++ > 0 ? ",{\"id\":" : "{\"id\":");
        cli_put_id(out, pv_results_id(r, i), pv_results_id_u64(r, i));
        ex_buf_puts(out, ",\"distance\":");
        ex_buf_f32(out, pv_results_distance(r, i));
        ex_buf_puts(out, ",\"score\":");
        ex_buf_f32(out, pv_results_score(r, i));
        if (pv_results_vector(r, i) != NULL) {
            ex_buf_puts(out, ",\"vector\":");
            cli_put_vector(out, pv_results_vector(r, i), pv_results_type(r), pv_results_dims(r));
        }
        size_t len = 0;
        const char *metadata = pv_results_metadata(r, i, &len);
        if (metadata != NULL) {
            ex_buf_puts(out, ",\"metadata\":");
            ex_buf_add(out, metadata, len);
        }
        ex_buf_putc(out, '}');
    }
    ex_buf_putc(out, ']');
}

/* Prints the value of one metadata member: text without its quotes, everything else as JSON. */
static void search_put_member(ex_buf *out, const char *metadata, size_t len, const char *name) {
    ex_json j;
    ex_json_token t;
    ex_json_init(&j, metadata, len);
    if (ex_json_next(&j, &t) != EX_JSON_OBJECT) {
        return;
    }
    while (ex_json_next(&j, &t) == EX_JSON_KEY) {
        int wanted = ex_json_equals(&j, &t, name);
        if (ex_json_next(&j, &t) == EX_JSON_ERROR || ex_json_skip(&j, &t) != 0) {
            return;
        }
        if (wanted && t.type == EX_JSON_STRING) {
            (void)ex_json_text(&j, &t, out);
        } else if (wanted) {
            ex_buf_add(out, metadata + t.begin, t.end - t.begin);
        }
        if (wanted) {
            return;
        }
    }
}

static void search_put_shown(ex_buf *out, const char *show, const char *metadata, size_t len) {
    ex_buf name = {0};
    while (*show != '\0') {
        size_t n = strcspn(show, ",");
        ex_buf_clear(&name);
        ex_buf_add(&name, show, n);
        ex_buf_putc(out, '\t');
        if (name.data != NULL) {
            search_put_member(out, metadata, len, name.data);
        }
        show += n + (show[n] == ',');
    }
    ex_buf_done(&name);
}

static void search_put_plain(search *s, const pv_results *r, const char *query) {
    ex_buf *out = &s->c->out;
    size_t printed = 0;
    if (query != NULL) {
        cli_put_format(out, "# %s\n", query);
    }
    for (size_t i = 0; i < search_rows(s, r) && (s->like == NULL || s->k == 0 || printed < s->k);
         i++) {
        if (search_is_self(s, r, i)) {
            continue;
        }
        size_t len = 0;
        const char *metadata = pv_results_metadata(r, i, &len);
        printed++;
        cli_put_format(out, "%.6f\t", (double)pv_results_distance(r, i));
        cli_put_id_plain(out, pv_results_id(r, i), pv_results_id_u64(r, i));
        if (metadata != NULL && s->show != NULL) {
            search_put_shown(out, s->show, metadata, len);
        } else if (metadata != NULL && len > 2) {
            ex_buf_putc(out, '\t');
            ex_buf_add(out, metadata, len);
        }
        if (pv_results_vector(r, i) != NULL) {
            ex_buf_putc(out, '\t');
            cli_put_vector(out, pv_results_vector(r, i), pv_results_type(r), pv_results_dims(r));
        }
        ex_buf_putc(out, '\n');
    }
}

static uint64_t search_now_us(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static int search_one(search *s, const void *vector, size_t dims) {
    pv_query q = PV_QUERY_INIT;
    pv_results *r = NULL;
    search_options(s, &q);
    q.vector = vector;
    q.dims = (uint32_t)dims;
    q.type = s->info.type;
    uint64_t begin = search_now_us();
    if (pv_search(s->db, NULL, s->collection, &q, &r, &s->c->err) != PV_OK) {
        return cli_fail_pv(s->c);
    }
    uint64_t took = search_now_us() - begin;
    if (s->c->json) {
        search_put_json(s, r, NULL);
        cli_put_format(&s->c->out, ",\"elapsed_us\":%llu}\n", (unsigned long long)took);
    } else {
        search_put_plain(s, r, NULL);
    }
    pv_results_free(r);
    return CLI_OK;
}

/* A query as the collection's elements; a message names `where`. */
static int search_pack(search *s, const float *numbers, size_t dims, const char *where, void *out) {
    size_t bad = 0;
    if (ex_element_pack(s->info.type, numbers, dims, out, &bad) != 0) {
        return cli_fail(s->c, CLI_USAGE, "%s: element %zu is %g, wanted %s", where, bad,
                        (double)numbers[bad], ex_element_wanted(s->info.type));
    }
    return CLI_OK;
}

static int search_numbers(search *s, const float *numbers, size_t dims) {
    unsigned char *vector = malloc(ex_element_bytes(s->info.type, dims) + 1);
    int rc = vector != NULL ? search_pack(s, numbers, dims, "--vector", vector)
                            : cli_fail(s->c, CLI_LIMIT, "out of memory");
    rc = rc == CLI_OK ? search_one(s, vector, dims) : rc;
    free(vector);
    return rc;
}

static int search_by_text(search *s) {
    ex_buf text = {0};
    float *vector = NULL;
    size_t dims = 0;
    int rc = CLI_OK;
    if (strcmp(s->vector, "-") == 0) {
        ex_input in;
        size_t done = 0;
        int failed = ex_input_open(&in, "-", 0);
        if (failed == 0 && ex_buf_reserve(&text, SEARCH_VECTOR_BYTES_MAX + 1) == 0 &&
            ex_input_read(&in, text.data, SEARCH_VECTOR_BYTES_MAX + 1, &done) != EX_INPUT_OK) {
            failed = in.sys_errno;
        }
        ex_input_close(&in);
        if (failed != 0 || text.failed) {
            ex_buf_done(&text);
            return cli_fail(s->c, CLI_IO, "stdin: %s", strerror(failed != 0 ? failed : ENOMEM));
        }
        text.len = done;
        text.data[done] = '\0';
    } else {
        ex_buf_puts(&text, s->vector);
    }
    if (text.failed) {
        rc = cli_fail(s->c, CLI_LIMIT, "out of memory");
    } else if (text.len > SEARCH_VECTOR_BYTES_MAX) {
        rc = cli_fail(s->c, CLI_LIMIT, "--vector is longer than %u bytes", SEARCH_VECTOR_BYTES_MAX);
    } else {
        rc = cli_vector(s->c, text.data, text.len, "--vector", &vector, &dims);
    }
    rc = rc == CLI_OK ? search_numbers(s, vector, dims) : rc;
    free(vector);
    ex_buf_done(&text);
    return rc;
}

static int search_by_record(search *s) {
    pv_results *r = NULL;
    int failed;
    if (s->info.key == PV_KEY_U64) {
        if (cli_number(s->like, &s->like_number) != 0) {
            return cli_fail(s->c, CLI_USAGE, "the collection's ids are numbers, '%s' is none",
                            s->like);
        }
        failed = pv_get_u64(s->db, NULL, s->collection, s->like_number, &r, &s->c->err);
    } else {
        failed = pv_get(s->db, NULL, s->collection, s->like, &r, &s->c->err);
    }
    if (failed) {
        return cli_fail_pv(s->c);
    }
    int rc = search_one(s, pv_results_vector(r, 0), pv_results_dims(r));
    pv_results_free(r);
    return rc;
}

/* A block of queries from a file: their vectors one behind the other, their names as JSON. */
typedef struct search_block {
    unsigned char *vectors; /* as they are stored */
    char **names;
    size_t count;
    size_t cap;
} search_block;

static int search_run_block(search *s, search_block *b) {
    pv_query q = PV_QUERY_INIT;
    pv_query_vectors v = PV_QUERY_VECTORS_INIT;
    pv_results **results = b->count > 0 ? calloc(b->count, sizeof(pv_results *)) : NULL;
    int rc = CLI_OK;
    if (b->count == 0) {
        return CLI_OK;
    }
    if (results == NULL) {
        return cli_fail(s->c, CLI_LIMIT, "out of memory");
    }
    search_options(s, &q);
    q.vector = b->vectors;
    q.dims = s->info.dims;
    q.type = s->info.type;
    v.count = b->count;
    if (pv_search_many(s->db, NULL, s->collection, &q, &v, results, &s->c->err) != PV_OK) {
        rc = cli_fail_pv(s->c);
    }
    for (size_t i = 0; i < b->count; i++) {
        if (rc == CLI_OK && s->c->json) {
            search_put_json(s, results[i], b->names[i]);
            ex_buf_puts(&s->c->out, "}\n");
            rc = cli_flush(s->c, 1u << 16);
        } else if (rc == CLI_OK) {
            search_put_plain(s, results[i], b->names[i]);
            rc = cli_flush(s->c, 1u << 16);
        }
        pv_results_free(results[i]);
        free(b->names[i]);
        b->names[i] = NULL;
    }
    free(results);
    b->count = 0;
    return rc;
}

/* Adds a row of the file; its name is its id, or else its number. */
static int search_take(search *s, search_block *b, read_row *row, const char *where) {
    ex_buf name = {0};
    if (row->packed && (row->dims + 7) / 8 == (s->info.dims + 7u) / 8) {
        row->dims = s->info.dims; /* the last byte is not full */
    }
    if (row->dims != s->info.dims) {
        return cli_fail(s->c, CLI_USAGE, "%s: vector has %zu dimensions, collection '%s' wants %u",
                        where, row->dims, s->collection, s->info.dims);
    }
    const char *id = row->id_kind == READ_ID_TEXT ? row->id.data : NULL;
    uint64_t number = row->id_kind == READ_ID_NONE ? row->number : row->id_u64;
    if (s->c->json) {
        cli_put_id(&name, id, number);
    } else {
        cli_put_id_plain(&name, id, number);
    }
    if (name.failed) {
        ex_buf_done(&name);
        return cli_fail(s->c, CLI_LIMIT, "out of memory");
    }
    unsigned char *place = b->vectors + b->count * ex_element_bytes(s->info.type, row->dims);
    b->names[b->count++] = name.data; /* freed by search_run_block */
    return search_pack(s, row->vector, row->dims, where, place);
}

static int search_by_file(search *s) {
    reader rd;
    reader_opts o = READER_OPTS_INIT;
    search_block b = {NULL, NULL, 0, 0};
    o.path = s->file;
    o.format = s->format;
    o.sidecar = s->sidecar;
    o.rest = READ_REST_IGNORE;
    int rc = reader_open(s->c, &rd, &o);
    if (rc != CLI_OK) {
        return rc;
    }
    const size_t row_bytes = ex_element_bytes(s->info.type, s->info.dims);
    b.cap = SEARCH_BLOCK_BYTES / row_bytes;
    b.cap = b.cap == 0 ? 1 : b.cap > 4096 ? 4096 : b.cap;
    b.vectors = malloc(b.cap * row_bytes);
    b.names = calloc(b.cap, sizeof(char *));
    if (b.vectors == NULL || b.names == NULL) {
        rc = cli_fail(s->c, CLI_LIMIT, "out of memory");
    }
    int got = READ_END;
    while (rc == CLI_OK && (got = reader_next(&rd)) == READ_ROW) {
        rc = search_take(s, &b, &rd.row, reader_where(&rd));
        if (rc == CLI_OK && b.count == b.cap) {
            rc = search_run_block(s, &b);
        }
    }
    if (rc == CLI_OK && got != READ_END) {
        rc = cli_fail(s->c, rd.exit_code, "%s: %s", reader_where(&rd), rd.message);
    }
    rc = rc == CLI_OK ? search_run_block(s, &b) : rc;
    for (size_t i = 0; b.names != NULL && i < b.count; i++) {
        free(b.names[i]);
    }
    free(b.names);
    free(b.vectors);
    reader_close(&rd);
    return rc;
}

static int search_check_options(search *s) {
    int ways = (s->vector != NULL) + (s->like != NULL) + (s->file != NULL);
    if (ways != 1) {
        return cli_fail(s->c, CLI_USAGE, "search wants one of --vector, --like and --queries");
    }
    if (s->k > PV_LIMIT_K - (s->like != NULL)) {
        return cli_fail(s->c, CLI_LIMIT, "-k %llu is above the limit of %d",
                        (unsigned long long)s->k, PV_LIMIT_K - (s->like != NULL));
    }
    if (s->show != NULL && (s->c->json || s->no_metadata)) {
        return cli_fail(s->c, CLI_USAGE, "--show does not go with --json or --no-metadata");
    }
    if (s->file == NULL && (s->format != NULL || s->sidecar != NULL)) {
        return cli_fail(s->c, CLI_USAGE, "--format and --metadata go with --queries");
    }
    if (s->k == 0 && !s->within) {
        s->k = 10;
    }
    return CLI_OK;
}

int cmd_search(cli *c, int argc, char **argv) {
    search s = {.c = c, .info = PV_COLLECTION_INFO_INIT};
    const cli_option options[] = {
        {"vector", 'v', CLI_TEXT, (void *)&s.vector, NULL},
        {"like", 'l', CLI_TEXT, (void *)&s.like, NULL},
        {"queries", 0, CLI_TEXT, (void *)&s.file, NULL},
        {"format", 0, CLI_TEXT, (void *)&s.format, NULL},
        {"metadata", 0, CLI_TEXT, (void *)&s.sidecar, NULL},
        {"filter", 'f', CLI_TEXT, (void *)&s.filter, NULL},
        {"show", 0, CLI_TEXT, (void *)&s.show, NULL},
        {"limit", 'k', CLI_U64, &s.k, NULL},
        {"max-distance", 0, CLI_FLOAT, &s.max_distance, &s.within},
        {"exact", 0, CLI_FLAG, &s.exact, NULL},
        {"with-vectors", 0, CLI_FLAG, &s.with_vectors, NULL},
        {"no-metadata", 0, CLI_FLAG, &s.no_metadata, NULL},
    };
    cli_args args;
    int rc = cli_parse(c, argc, argv, options, 12, 2, 2, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    rc = search_check_options(&s);
    rc = rc == CLI_OK ? cli_open(c, args.at[0], CLI_READ, &s.db) : rc;
    if (rc != CLI_OK) {
        return rc;
    }
    s.collection = args.at[1];
    if (pv_collection_info_get(s.db, NULL, s.collection, &s.info, &c->err) != PV_OK) {
        rc = cli_fail_pv(c);
    } else if (s.vector != NULL) {
        rc = search_by_text(&s);
    } else if (s.like != NULL) {
        rc = search_by_record(&s);
    } else {
        rc = search_by_file(&s);
    }
    return cli_close(c, s.db, rc);
}
