/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_collection.c - create, drop, list, info. */
#include "cli/cli.h"

int cmd_create(cli *c, int argc, char **argv) {
    uint64_t dims = 0;
    const char *metric = NULL;
    const char *type = NULL;
    const char *key = NULL;
    const char *index = NULL;
    const char *code = NULL;
    int if_missing = 0;
    const cli_option options[] = {
        {"dims", 'd', CLI_U64, &dims, NULL},
        {"metric", 0, CLI_TEXT, (void *)&metric, NULL},
        {"type", 0, CLI_TEXT, (void *)&type, NULL},
        {"key", 0, CLI_TEXT, (void *)&key, NULL},
        {"index", 0, CLI_TEXT, (void *)&index, NULL},
        {"code", 0, CLI_TEXT, (void *)&code, NULL},
        {"if-missing", 0, CLI_FLAG, &if_missing, NULL},
    };
    pv_collection_opts o = PV_COLLECTION_OPTS_INIT;
    cli_args args;
    pv_db *db = NULL;
    int rc = cli_parse(c, argc, argv, options, 7, 2, 2, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    if (dims == 0) {
        return cli_fail(c, CLI_USAGE, "--dims wants the number of dimensions");
    }
    if (dims > PV_LIMIT_DIMS) {
        return cli_fail(c, CLI_LIMIT, "--dims %llu is above the limit of %d",
                        (unsigned long long)dims, PV_LIMIT_DIMS);
    }
    o.dims = (uint32_t)dims;
    rc = cli_metric(c, metric, &o.metric);
    rc = rc == CLI_OK ? cli_type(c, type, &o.type) : rc;
    rc = rc == CLI_OK ? cli_key(c, key, &o.key) : rc;
    rc = rc == CLI_OK ? cli_index(c, index, &o.index) : rc;
    rc = rc == CLI_OK ? cli_code(c, code, &o.code) : rc;
    rc = rc == CLI_OK ? cli_open(c, args.at[0], CLI_CREATE, &db) : rc;
    if (rc != CLI_OK) {
        return rc;
    }
    int failed = if_missing ? pv_collection_ensure(db, NULL, args.at[1], &o, &c->err)
                            : pv_collection_create(db, NULL, args.at[1], &o, &c->err);
    rc = failed ? cli_fail_pv(c) : CLI_OK;
    if (rc == CLI_OK && c->json) {
        ex_buf_puts(&c->out, "{\"collection\":");
        cli_put_id(&c->out, args.at[1], 0);
        cli_put_format(&c->out, ",\"dims\":%u,\"metric\":\"%s\",\"type\":\"%s\",\"key\":\"%s\"}\n",
                       o.dims, cli_metric_name(o.metric), cli_type_name(o.type),
                       cli_key_name(o.key));
    }
    return cli_close(c, db, rc);
}

int cmd_drop(cli *c, int argc, char **argv) {
    cli_args args;
    pv_db *db = NULL;
    int rc = cli_parse(c, argc, argv, NULL, 0, 2, 2, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    rc = cli_open(c, args.at[0], CLI_WRITE, &db);
    if (rc != CLI_OK) {
        return rc;
    }
    if (pv_collection_drop(db, NULL, args.at[1], &c->err) != PV_OK) {
        rc = cli_fail_pv(c);
    } else if (c->json) {
        ex_buf_puts(&c->out, "{\"dropped\":");
        cli_put_id(&c->out, args.at[1], 0);
        ex_buf_puts(&c->out, "}\n");
    }
    return cli_close(c, db, rc);
}

/* The code of its index; NULL: it has none, or none yet. */
static const char *collection_code(const pv_collection_info *info) {
    return info->code == 0 ? NULL : cli_code_name(info->code);
}

static void collection_put_json(ex_buf *out, const char *name, const pv_collection_info *info) {
    ex_buf_puts(out, "{\"name\":");
    cli_put_id(out, name, 0);
    cli_put_format(out, ",\"count\":%llu,\"dims\":%u,\"metric\":\"%s\",\"type\":\"%s\"",
                   (unsigned long long)info->count, info->dims, cli_metric_name(info->metric),
                   cli_type_name(info->type));
    cli_put_format(out, ",\"key\":\"%s\",\"slots\":%llu,\"generation\":%llu",
                   cli_key_name(info->key), (unsigned long long)info->slots,
                   (unsigned long long)info->generation);
    const char *code = collection_code(info);
    cli_put_format(out, ",\"index\":\"%s\",\"indexed\":%llu,\"lists\":%u",
                   cli_index_name(info->index), (unsigned long long)info->indexed, info->lists);
    ex_buf_puts(out, ",\"code\":");
    if (code) {
        cli_put_id(out, code, 0);
    } else {
        ex_buf_puts(out, "null");
    }
    cli_put_format(out, ",\"code_asked\":\"%s\",\"code_reason\":", cli_code_name(info->code_asked));
    cli_put_id(out, info->code_reason, 0);
    ex_buf_putc(out, '}');
}

static int collection_put_all(cli *c, pv_db *db, pv_txn *txn, const pv_names *names) {
    for (size_t i = 0; i < pv_names_count(names); i++) {
        pv_collection_info info = PV_COLLECTION_INFO_INIT;
        const char *name = pv_names_get(names, i);
        if (pv_collection_info_get(db, txn, name, &info, &c->err) != PV_OK) {
            return cli_fail_pv(c);
        }
        if (c->json) {
            ex_buf_puts(&c->out, i > 0 ? "," : "");
            collection_put_json(&c->out, name, &info);
        } else {
            cli_put_format(&c->out, "%s\t%llu records\t%u dims\t%s\t%s\n", name,
                           (unsigned long long)info.count, info.dims, cli_metric_name(info.metric),
                           cli_key_name(info.key));
        }
    }
    return CLI_OK;
}

int cmd_list(cli *c, int argc, char **argv) {
    cli_args args;
    pv_db *db = NULL;
    pv_txn *txn = NULL;
    pv_names *names = NULL;
    int rc = cli_parse(c, argc, argv, NULL, 0, 1, 1, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    rc = cli_open(c, args.at[0], CLI_READ, &db);
    if (rc != CLI_OK) {
        return rc;
    }
    if (pv_txn_begin(db, PV_TXN_READ, &txn, &c->err) != PV_OK ||
        pv_collection_list(db, txn, &names, &c->err) != PV_OK) {
        rc = cli_fail_pv(c);
    } else {
        ex_buf_puts(&c->out, c->json ? "{\"collections\":[" : "");
        rc = collection_put_all(c, db, txn, names);
        ex_buf_puts(&c->out, c->json ? "]}\n" : "");
    }
    pv_names_free(names);
    pv_txn_rollback(txn);
    return cli_close(c, db, rc);
}

static void collection_put_text(ex_buf *out, const char *name, const pv_collection_info *info) {
    const char *code = collection_code(info);
    cli_put_format(out, "name        %s\nrecords     %llu\ndimensions  %u\n", name,
                   (unsigned long long)info->count, info->dims);
    cli_put_format(out, "metric      %s\nelements    %s\nids         %s\n",
                   cli_metric_name(info->metric), cli_type_name(info->type),
                   cli_key_name(info->key));
    cli_put_format(out, "index       %s\nindexed     %llu\n", cli_index_name(info->index),
                   (unsigned long long)info->indexed);
    if (info->index == PV_INDEX_IVF) {
        cli_put_format(out, "lists       %u\n", info->lists);
    }
    cli_put_format(out, "code        %s (asked for: %s)\n", code ? code : "none",
                   cli_code_name(info->code_asked));
    if (info->code_reason[0] != '\0') {
        cli_put_format(out, "because     %s\n", info->code_reason);
    }
    cli_put_format(out, "slots       %llu\ngeneration  %llu\n", (unsigned long long)info->slots,
                   (unsigned long long)info->generation);
}

int cmd_info(cli *c, int argc, char **argv) {
    cli_args args;
    pv_db *db = NULL;
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    int rc = cli_parse(c, argc, argv, NULL, 0, 2, 2, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    rc = cli_open(c, args.at[0], CLI_READ, &db);
    if (rc != CLI_OK) {
        return rc;
    }
    if (pv_collection_info_get(db, NULL, args.at[1], &info, &c->err) != PV_OK) {
        rc = cli_fail_pv(c);
    } else if (c->json) {
        collection_put_json(&c->out, args.at[1], &info);
        ex_buf_putc(&c->out, '\n');
    } else {
        collection_put_text(&c->out, args.at[1], &info);
    }
    return cli_close(c, db, rc);
}
