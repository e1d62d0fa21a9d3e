/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_admin.c - check, stats, checkpoint, version. */
#include "cli/cli.h"

typedef struct admin_findings {
    cli *c;
    uint64_t count;
} admin_findings;

static void admin_finding(void *ctx, const char *collection, uint64_t page_id,
                          const char *message) {
    admin_findings *f = ctx;
    ex_buf *out = &f->c->out;
    if (!f->c->json) {
        cli_put_format(out, "%s\n", message);
    } else {
        ex_buf_puts(out, f->count > 0 ? ",{\"collection\":" : "{\"collection\":");
        if (collection != NULL) {
            cli_put_id(out, collection, 0);
        } else {
            ex_buf_puts(out, "null");
        }
        cli_put_format(out, ",\"page\":%llu,\"message\":", (unsigned long long)page_id);
        cli_put_id(out, message, 0);
        ex_buf_putc(out, '}');
    }
    f->count++;
}

int cmd_check(cli *c, int argc, char **argv) {
    int deep = 0;
    const cli_option options[] = {{"deep", 0, CLI_FLAG, &deep, NULL}};
    admin_findings found = {c, 0};
    uint64_t problems = 0;
    cli_args args;
    pv_db *db = NULL;
    int rc = cli_parse(c, argc, argv, options, 1, 1, 1, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    rc = cli_open(c, args.at[0], CLI_READ, &db);
    if (rc != CLI_OK) {
        return rc;
    }
    ex_buf_puts(&c->out, c->json ? "{\"findings\":[" : "");
    if (pv_check(db, deep ? PV_CHECK_DEEP : PV_CHECK_QUICK, admin_finding, &found, &problems,
                 &c->err) != PV_OK) {
        ex_buf_clear(&c->out);
        rc = cli_fail_pv(c);
    } else {
        cli_put_format(&c->out, c->json ? "],\"problems\":%llu}\n" : "%llu problems\n",
                       (unsigned long long)problems);
        rc = problems > 0 ? CLI_IO : CLI_OK;
    }
    return cli_close(c, db, rc);
}

static void admin_put_number(cli *c, const char *name, uint64_t value) {
    cli_put_format(&c->out, c->json ? ",\"%s\":%llu" : "%-16s %llu\n", name,
                   (unsigned long long)value);
}

static void admin_put_stats(cli *c, const pv_stats *s) {
    char uuid[33];
    static const char hex[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        uuid[2 * i] = hex[s->uuid[i] >> 4];
        uuid[2 * i + 1] = hex[s->uuid[i] & 15];
    }
    uuid[32] = '\0';
    cli_put_format(&c->out,
                   c->json ? "{\"uuid\":\"%s\",\"db_checksum\":\"%016llx\""
                           : "uuid             %s\ndb_checksum      %016llx\n",
                   uuid, (unsigned long long)s->db_checksum);
    admin_put_number(c, "lsn", s->lsn);
    admin_put_number(c, "durable_lsn", s->durable_lsn);
    admin_put_number(c, "checkpoint_lsn", s->checkpoint_lsn);
    admin_put_number(c, "file_bytes", s->file_bytes);
    admin_put_number(c, "log_bytes", s->log_bytes);
    admin_put_number(c, "pages", s->pages);
    admin_put_number(c, "free_bytes", s->free_bytes);
    admin_put_number(c, "cache_bytes", s->cache_bytes);
    admin_put_number(c, "cache_limit", s->cache_limit);
    admin_put_number(c, "memory_bytes", s->memory_bytes);
    admin_put_number(c, "memory_peak", s->memory_peak);
    admin_put_number(c, "page_hits", s->page_hits);
    admin_put_number(c, "page_misses", s->page_misses);
    admin_put_number(c, "log_syncs", s->log_syncs);
    admin_put_number(c, "commits", s->commits);
    admin_put_number(c, "checkpoints", s->checkpoints);
    ex_buf_puts(&c->out, c->json ? "}\n" : "");
}

int cmd_stats(cli *c, int argc, char **argv) {
    pv_stats stats = PV_STATS_INIT;
    cli_args args;
    pv_db *db = NULL;
    int rc = cli_parse(c, argc, argv, NULL, 0, 1, 1, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    rc = cli_open(c, args.at[0], CLI_READ, &db);
    if (rc != CLI_OK) {
        return rc;
    }
    if (pv_stats_get(db, &stats, &c->err) != PV_OK) {
        rc = cli_fail_pv(c);
    } else {
        admin_put_stats(c, &stats);
    }
    return cli_close(c, db, rc);
}

int cmd_checkpoint(cli *c, int argc, char **argv) {
    cli_args args;
    pv_db *db = NULL;
    int rc = cli_parse(c, argc, argv, NULL, 0, 1, 1, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    rc = cli_open(c, args.at[0], CLI_WRITE, &db);
    if (rc != CLI_OK) {
        return rc;
    }
    if (pv_checkpoint(db, &c->err) != PV_OK) {
        rc = cli_fail_pv(c);
    }
    return cli_close(c, db, rc);
}

int cmd_version(cli *c, int argc, char **argv) {
    cli_args args;
    int rc = cli_parse(c, argc, argv, NULL, 0, 0, 0, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    const char *compiler = pv_build_option("compiler");
    const char *arch = pv_build_option("arch");
    if (!c->json) {
        cli_put_format(&c->out, "piramid %s (library %s, %s, %s)\n", PV_VERSION_STRING,
                       pv_version_string(), compiler != NULL ? compiler : "unknown compiler",
                       arch != NULL ? arch : "unknown machine");
        return CLI_OK;
    }
    cli_put_format(&c->out,
                   "{\"version\":\"%s\",\"library\":\"%s\",\"compiler\":", PV_VERSION_STRING,
                   pv_version_string());
    cli_put_id(&c->out, compiler != NULL ? compiler : "", 0);
    ex_buf_puts(&c->out, ",\"arch\":");
    cli_put_id(&c->out, arch != NULL ? arch : "", 0);
    ex_buf_puts(&c->out, "}\n");
    return CLI_OK;
}
