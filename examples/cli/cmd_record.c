/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_record.c - get, delete, count. */
#include "cli/cli.h"

static void record_put_json(ex_buf *out, const pv_results *r, size_t i, int vectors) {
    size_t len = 0;
    const char *metadata = pv_results_metadata(r, i, &len);
    ex_buf_puts(out, "{\"id\":");
    cli_put_id(out, pv_results_id(r, i), pv_results_id_u64(r, i));
    if (vectors && pv_results_vector(r, i) != NULL) {
        ex_buf_puts(out, ",\"vector\":");
        cli_put_vector(out, pv_results_vector(r, i), pv_results_type(r), pv_results_dims(r));
    }
    if (metadata != NULL) {
        ex_buf_puts(out, ",\"metadata\":");
        ex_buf_add(out, metadata, len);
    }
    ex_buf_putc(out, '}');
}

/* Prints what was found as lines; with --json as one document with the ids that are missing. */
static size_t record_put_all(cli *c, const pv_results *r, int vectors) {
    size_t missing = 0;
    size_t found = 0;
    ex_buf_puts(&c->out, c->json ? "{\"records\":[" : "");
    for (size_t i = 0; i < pv_results_count(r); i++) {
        if (!pv_results_found(r, i)) {
            missing++;
            continue;
        }
        ex_buf_puts(&c->out, c->json && found > 0 ? "," : "");
        record_put_json(&c->out, r, i, vectors);
        ex_buf_puts(&c->out, c->json ? "" : "\n");
        found++;
    }
    if (c->json) {
        size_t named = 0;
        ex_buf_puts(&c->out, "],\"missing\":[");
        for (size_t i = 0; i < pv_results_count(r); i++) {
            if (!pv_results_found(r, i)) {
                ex_buf_puts(&c->out, named++ > 0 ? "," : "");
                cli_put_id(&c->out, pv_results_id(r, i), pv_results_id_u64(r, i));
            }
        }
        ex_buf_puts(&c->out, "]}\n");
    }
    return missing;
}

static int record_say_missing(cli *c, const char *collection, const pv_results *r) {
    ex_buf name = {0};
    for (size_t i = 0; i < pv_results_count(r); i++) {
        if (!pv_results_found(r, i)) {
            ex_buf_clear(&name);
            cli_put_id_plain(&name, pv_results_id(r, i), pv_results_id_u64(r, i));
            (void)cli_fail(c, CLI_NO, "collection '%s' has no record '%s'", collection,
                           name.data != NULL ? name.data : "");
        }
    }
    ex_buf_done(&name);
    return CLI_NO;
}

int cmd_get(cli *c, int argc, char **argv) {
    int no_vector = 0;
    const cli_option options[] = {{"no-vectors", 0, CLI_FLAG, &no_vector, NULL}};
    cli_args args;
    cli_ids ids = {PV_IDS_INIT, NULL};
    pv_db *db = NULL;
    pv_results *r = NULL;
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    int rc = cli_parse(c, argc, argv, options, 1, 3, PV_LIMIT_BATCH_RECORDS, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    rc = cli_open(c, args.at[0], CLI_READ, &db);
    if (rc != CLI_OK) {
        return rc;
    }
    uint32_t include = PV_INCLUDE_METADATA | (no_vector ? 0 : PV_INCLUDE_VECTOR);
    if (pv_collection_info_get(db, NULL, args.at[1], &info, &c->err) != PV_OK) {
        rc = cli_fail_pv(c);
    } else {
        rc = cli_ids_init(c, info.key, &args, 2, &ids);
    }
    if (rc == CLI_OK && pv_get_many(db, NULL, args.at[1], &ids.ids, include, &r, &c->err)) {
        rc = cli_fail_pv(c);
    }
    if (rc == CLI_OK && record_put_all(c, r, !no_vector) > 0) {
        rc = record_say_missing(c, args.at[1], r);
    }
    pv_results_free(r);
    cli_ids_done(&ids);
    return cli_close(c, db, rc);
}

static int record_delete(cli *c, pv_db *db, const cli_args *args, const char *filter,
                         uint64_t *out_deleted) {
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    cli_ids ids = {PV_IDS_INIT, NULL};
    const char *name = args->at[1];
    if (filter != NULL) {
        int failed = pv_delete_where(db, NULL, name, filter, out_deleted, &c->err);
        return failed ? cli_fail_pv(c) : CLI_OK;
    }
    if (pv_collection_info_get(db, NULL, name, &info, &c->err) != PV_OK) {
        return cli_fail_pv(c);
    }
    int rc = cli_ids_init(c, info.key, args, 2, &ids);
    if (rc == CLI_OK && pv_delete_many(db, NULL, name, &ids.ids, out_deleted, &c->err) != PV_OK) {
        rc = cli_fail_pv(c);
    }
    cli_ids_done(&ids);
    if (rc == CLI_OK && *out_deleted == 0) {
        rc = cli_fail(c, CLI_NO, "collection '%s' has none of these records", name);
    }
    return rc;
}

int cmd_delete(cli *c, int argc, char **argv) {
    const char *filter = NULL;
    uint64_t deleted = 0;
    const cli_option options[] = {{"filter", 'f', CLI_TEXT, (void *)&filter, NULL}};
    cli_args args;
    pv_db *db = NULL;
    int rc = cli_parse(c, argc, argv, options, 1, 2, PV_LIMIT_BATCH_RECORDS, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    if ((filter == NULL) == (args.count == 2)) {
        return cli_fail(c, CLI_USAGE, "delete wants either ids or --filter");
    }
    rc = cli_open(c, args.at[0], CLI_WRITE, &db);
    if (rc != CLI_OK) {
        return rc;
    }
    rc = record_delete(c, db, &args, filter, &deleted);
    if (rc == CLI_OK || (rc == CLI_NO && c->json && c->err.code == PV_OK)) {
        cli_put_format(&c->out, c->json ? "{\"deleted\":%llu}\n" : "deleted %llu\n",
                       (unsigned long long)deleted);
    }
    return cli_close(c, db, rc);
}

int cmd_count(cli *c, int argc, char **argv) {
    const char *filter = NULL;
    uint64_t count = 0;
    const cli_option options[] = {{"filter", 'f', CLI_TEXT, (void *)&filter, NULL}};
    cli_args args;
    pv_db *db = NULL;
    int rc = cli_parse(c, argc, argv, options, 1, 2, 2, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    rc = cli_open(c, args.at[0], CLI_READ, &db);
    if (rc != CLI_OK) {
        return rc;
    }
    if (pv_count(db, NULL, args.at[1], filter, &count, &c->err) != PV_OK) {
        rc = cli_fail_pv(c);
    } else {
        cli_put_format(&c->out, c->json ? "{\"count\":%llu}\n" : "%llu\n",
                       (unsigned long long)count);
    }
    return cli_close(c, db, rc);
}
