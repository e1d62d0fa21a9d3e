/* SPDX-License-Identifier: Apache-2.0 */
/* db.c - opening and closing, names of metrics and keys, ids and vectors from the command line. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

int cli_open(cli *c, const char *path, uint32_t flags, pv_db **out_db) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    *out_db = NULL;
    o.flags = flags;
    o.sync = c->sync != NULL && strcmp(c->sync, "async") == 0 ? PV_SYNC_ASYNC : PV_SYNC_FULL;
    o.busy_timeout_ms = c->busy_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)c->busy_ms;
    o.cache_bytes = c->cache_mib << 20;
    if (strcmp(path, ":memory:") == 0) {
        return cli_fail(c, CLI_USAGE, "a database in memory would end with this command");
    }
    if (pv_open(path, &o, out_db, &c->err) == PV_OK) {
        return CLI_OK;
    }
    int code = cli_fail_pv(c);
    /* A file that is missing or is no database is a matter of files, not an answer or a usage. */
    if (c->err.code == PV_ERR_NOTFOUND || c->err.code == PV_ERR_FORMAT) {
        code = CLI_IO;
    }
    return code;
}

int cli_close(cli *c, pv_db *db, int exit_code) {
    pv_error err = PV_ERROR_INIT;
    if (pv_close(db, &err) != PV_OK && exit_code == CLI_OK) {
        c->err = err;
        return cli_fail_pv(c);
    }
    return exit_code;
}

static const char *const db_metrics[] = {"unknown", "l2",      "cosine", "dot",
                                         "l1",      "hamming", "jaccard"};
static const char *const db_indexes[] = {"auto", "flat", "hnsw", "ivf"};
static const char *const db_codes[] = {"auto", "f32", "sq8", "q4", "b1", "f16", "pq", "i8", "bit"};
static const char *const db_types[] = {"unknown", "f32", "f16", "bf16", "i8", "bit"};

const char *cli_metric_name(uint32_t metric) {
    return db_metrics[metric <= PV_METRIC_JACCARD ? metric : 0];
}

const char *cli_key_name(uint32_t key) {
    return key == PV_KEY_U64 ? "u64" : key == PV_KEY_STRING ? "string" : "unknown";
}

const char *cli_type_name(uint32_t type) { return db_types[type <= PV_TYPE_BIT ? type : 0]; }

const char *cli_index_name(uint32_t index) {
    return index <= PV_INDEX_IVF ? db_indexes[index] : "unknown";
}

const char *cli_code_name(uint32_t code) {
    return code <= PV_CODE_BIT ? db_codes[code] : "unknown";
}

/* The place of a name among those from 1 on, or 0. */
static uint32_t db_find(const char *const *names, uint32_t last, const char *name) {
    while (last > 0 && strcmp(names[last], name) != 0) {
        last--;
    }
    return last;
}

int cli_metric(cli *c, const char *name, uint32_t *out) {
    *out = name == NULL ? PV_METRIC_COSINE : db_find(db_metrics, PV_METRIC_JACCARD, name);
    return *out != 0
               ? CLI_OK
               : cli_fail(c, CLI_USAGE,
                          "--metric wants l2, cosine, dot, l1, hamming or jaccard, not '%s'", name);
}

int cli_type(cli *c, const char *name, uint32_t *out) {
    *out = name == NULL ? PV_TYPE_F32 : db_find(db_types, PV_TYPE_BIT, name);
    return *out != 0 ? CLI_OK
                     : cli_fail(c, CLI_USAGE, "--type wants f32, f16, i8 or bit, not '%s'", name);
}

int cli_index(cli *c, const char *name, uint32_t *out) {
    *out = name == NULL ? PV_INDEX_AUTO : db_find(db_indexes, PV_INDEX_IVF, name);
    return *out != PV_INDEX_AUTO || name == NULL || strcmp(name, db_indexes[0]) == 0
               ? CLI_OK
               : cli_fail(c, CLI_USAGE, "--index wants auto, flat, hnsw or ivf, not '%s'", name);
}

int cli_code(cli *c, const char *name, uint32_t *out) {
    *out = name == NULL ? PV_CODE_AUTO : db_find(db_codes, PV_CODE_BIT, name);
    return *out != PV_CODE_AUTO || name == NULL || strcmp(name, db_codes[0]) == 0
               ? CLI_OK
               : cli_fail(c, CLI_USAGE,
                          "--code wants auto, f32, f16, sq8, q4, b1, pq, i8 or bit, not '%s'",
                          name);
}

int cli_key(cli *c, const char *name, uint32_t *out) {
    *out = PV_KEY_STRING;
    if (name == NULL || strcmp(name, "string") == 0) {
        return CLI_OK;
    }
    if (strcmp(name, "u64") == 0) {
        *out = PV_KEY_U64;
        return CLI_OK;
    }
    return cli_fail(c, CLI_USAGE, "--key wants string or u64, not '%s'", name);
}

int cli_ids_init(cli *c, uint32_t key, const cli_args *args, size_t first, cli_ids *out) {
    const pv_ids none = PV_IDS_INIT;
    out->ids = none;
    out->ids.count = args->count - first;
    out->numbers = NULL;
    if (key != PV_KEY_U64) {
        out->ids.ids = args->at + first;
        return CLI_OK;
    }
    out->numbers = calloc(out->ids.count + 1, sizeof(uint64_t));
    if (out->numbers == NULL) {
        return cli_fail(c, CLI_LIMIT, "out of memory");
    }
    out->ids.ids_u64 = out->numbers;
    for (size_t i = 0; i < out->ids.count; i++) {
        if (cli_number(args->at[first + i], &out->numbers[i]) != 0) {
            return cli_fail(c, CLI_USAGE, "the collection's ids are numbers, '%s' is none",
                            args->at[first + i]);
        }
    }
    return CLI_OK;
}

void cli_ids_done(cli_ids *ids) {
    free(ids->numbers);
    ids->numbers = NULL;
}

int cli_vector(cli *c, const char *text, size_t len, const char *what, float **out, size_t *out_n) {
    ex_json j;
    ex_json_token t;
    size_t n = 0;
    float *values = malloc((size_t)PV_LIMIT_DIMS * sizeof(float));
    if (values == NULL) {
        return cli_fail(c, CLI_LIMIT, "out of memory");
    }
    ex_json_init(&j, text, len);
    int ok = ex_json_next(&j, &t) == EX_JSON_ARRAY;
    while (ok && ex_json_next(&j, &t) == EX_JSON_NUMBER) {
        if (n == PV_LIMIT_DIMS) {
            free(values);
            return cli_fail(c, CLI_LIMIT, "%s has more than %d numbers", what, PV_LIMIT_DIMS);
        }
        ok = ex_json_f32(&j, &t, &values[n++]) == 0;
    }
    ok = ok && t.type == EX_JSON_ARRAY_END && ex_json_next(&j, &t) == EX_JSON_END;
    if (!ok || n == 0) {
        free(values);
        return cli_fail(c, CLI_USAGE, "%s is not a JSON array of numbers%s%s", what,
                        j.error != NULL ? ": " : "", j.error != NULL ? j.error : "");
    }
    *out = values;
    *out_n = n;
    return CLI_OK;
}
