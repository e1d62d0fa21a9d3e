/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the program `piramid`: picks the command, prints help, flushes standard output.
 *
 * Exit codes: 0 done; 1 the answer is no (not found); 2 wrong arguments or input; 3 files, or
 * damage found; 4 somebody else writes, or it exists already; 6 a limit or memory. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

typedef struct command {
    const char *name;
    int (*run)(cli *c, int argc, char **argv);
    const char *arguments;
    const char *summary;
    const char *options; /* lines, or "" */
} command;

static const command commands[] = {
    {"create", cmd_create, "DB COLLECTION --dims N", "make a collection, and the file if missing",
     "  -d, --dims N         dimensions of its vectors\n"
     "      --metric M       cosine (default), l2, dot or l1; of bits hamming or jaccard\n"
     "      --type T         f32 (default), f16, i8 or bit: what its vectors are made of\n"
     "      --key K          string (default) or u64: what its ids are\n"
     "      --index I        auto (default), flat, hnsw (a graph) or ivf (lists)\n"
     "      --code C         what is compared first: auto (default), f32, f16, sq8, q4, b1, pq,\n"
     "                       i8 or bit; flat has none unless sq8 is asked for\n"
     "      --if-missing     fine when it exists with the same options\n"},
    {"import", cmd_import, "DB COLLECTION FILE|-", "add records from a file",
     "      --format F       jsonl, csv, npy or fvecs; default: by the file's name\n"
     "      --create         make the collection from the first row (--metric M, --type T,\n"
     "                       --key K)\n"
     "      --upsert         replace records that exist; default: they are an error\n"
     "  -b, --batch N        rows in one transaction, default 1000\n"
     "      --strict         one transaction for all: a bad row leaves nothing imported\n"
     "      --skip-bad       pass over bad rows; --rejects FILE writes them down\n"
     "      --dry-run        check the rows, write nothing\n"
     "      --skip N         pass over the first N rows (to go on after an interruption)\n"
     "      --limit N        at most N rows\n"
     "      --id-field, --vector-field, --metadata-field NAME\n"
     "                       members or columns with these roles: id, vector, metadata\n"
     "      --rest R         other members: refuse (default), metadata or ignore\n"
     "      --metadata FILE  npy, fvecs: JSON lines with id and metadata, row for row\n"
     "      --types a=int,.. csv: string, int, float, bool or json; also in the header (a:int)\n"
     "      --delimiter C    csv: default a comma; tab\n"
     "      --ack FILE, --ack-fd N\n"
     "                       a line with the ids of each batch, once it is durable\n"},
    {"search", cmd_search, "DB COLLECTION --vector JSON|- | --like ID | --queries FILE",
     "find the nearest records",
     "  -v, --vector JSON    an array of numbers; - reads it from standard input\n"
     "  -l, --like ID        what is near this record (which is left out)\n"
     "      --queries FILE   many at once: jsonl, csv, npy or fvecs (--format F)\n"
     "      --metadata FILE  names of the queries of an npy or fvecs file\n"
     "  -k, --limit N        rows, default 10\n"
     "  -f, --filter JSON    only records whose metadata match\n"
     "      --max-distance X only records at most this far away\n"
     "      --exact          compare with every record\n"
     "      --with-vectors, --no-metadata\n"
     "      --show a,b       print these members of the metadata\n"},
    {"get", cmd_get, "DB COLLECTION ID...", "print records by id", "      --no-vectors\n"},
    {"delete", cmd_delete, "DB COLLECTION ID... | --filter JSON", "remove records",
     "  -f, --filter JSON    all that match ({} is all)\n"},
    {"count", cmd_count, "DB COLLECTION", "count records", "  -f, --filter JSON\n"},
    {"export", cmd_export, "DB COLLECTION [FILE|-]", "write all records, in the order of ids",
     "      --format F       jsonl (default), npy or fvecs\n"
     "  -f, --filter JSON    only records that match\n"
     "      --metadata FILE  npy, fvecs: ids and metadata as JSON lines beside it\n"
     "      --no-vectors     jsonl: ids and metadata alone\n"},
    {"list", cmd_list, "DB", "list the collections", ""},
    {"info", cmd_info, "DB COLLECTION", "describe a collection", ""},
    {"drop", cmd_drop, "DB COLLECTION", "remove a collection with its records", ""},
    {"check", cmd_check, "DB", "look for damage; exit code 3 when there is some",
     "      --deep           every page, key, document and vector\n"},
    {"stats", cmd_stats, "DB", "figures of the file and its log", ""},
    {"checkpoint", cmd_checkpoint, "DB", "write the log into the file", ""},
    {"version", cmd_version, "", "print the version", ""},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static const command *main_find(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static void main_help_command(cli *c, const command *cmd) {
    cli_put_format(&c->out, "usage: piramid %s %s\n%s\n\n%s", cmd->name, cmd->arguments,
                   cmd->summary, cmd->options);
    ex_buf_puts(&c->out, "      --json           machine-readable output\n"
                         "  -q, --quiet          no progress and no summary\n"
                         "      --busy-timeout MS  wait this long for another writer\n"
                         "      --cache MIB      page cache; default: the library's, import 128\n"
                         "      --sync full|async  when a change is durable; default full\n");
}

static void main_help(cli *c) {
    ex_buf_puts(&c->out, "usage: piramid COMMAND ...\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        cli_put_format(&c->out, "  %-11s %s\n", commands[i].name, commands[i].summary);
    }
    ex_buf_puts(&c->out,
                "  help        describe a command: piramid help COMMAND\n\n"
                "exit codes: 0 done, 1 not found, 2 wrong arguments or input, 3 files or damage,\n"
                "4 busy or exists already, 6 a limit\n");
}

static int main_run(cli *c, int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--version") == 0) {
        name = "version";
    }
    if (argc > 1 &&
        (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)) {
        const command *cmd = argc > 2 ? main_find(argv[2]) : NULL;
        if (argc > 2 && cmd == NULL) {
            return cli_fail(c, CLI_USAGE, "unknown command '%s' (see: piramid help)", argv[2]);
        }
        if (cmd != NULL) {
            main_help_command(c, cmd);
        } else {
            main_help(c);
        }
        return CLI_OK;
    }
    const command *cmd = main_find(name);
    if (cmd == NULL) {
        return argc > 1 ? cli_fail(c, CLI_USAGE, "unknown command '%s' (see: piramid help)", name)
                        : cli_fail(c, CLI_USAGE, "a command is wanted (see: piramid help)");
    }
    c->command = cmd->name;
    int rc = cmd->run(c, argc - 2, argv + 2);
    if (rc == CLI_OK && c->help) {
        main_help_command(c, cmd);
    }
    return rc;
}

int main(int argc, char **argv) {
    cli c = {.err = PV_ERROR_INIT};
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write() instead */
    int rc = main_run(&c, argc, argv);
    int flushed = cli_flush(&c, 0);
    ex_buf_done(&c.out);
    return rc != CLI_OK ? rc : flushed;
}
