/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - what the commands of the program `piramid` share.
 *
 * A command parses its arguments with cli_parse, opens the database with cli_open, writes to
 * c->out, and returns an exit code; main prints what is left in c->out. Messages go to standard
 * error in one line through cli_fail. The program sees only pv.h and examples/common. */
#ifndef CLI_H
#define CLI_H

#include <pv.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ex_buf.h"
#include "common/ex_json.h"

/* Exit codes; part of what the program promises. */
#define CLI_OK 0
#define CLI_NO 1    /* the answer is no: not found */
#define CLI_USAGE 2 /* wrong arguments or wrong input */
#define CLI_IO 3    /* files, or damage found */
#define CLI_BUSY 4  /* somebody else writes, or it exists already */
#define CLI_LIMIT 6 /* a limit or memory */

typedef struct cli {
    const char *command; /* name of the command that runs */
    int json;            /* --json */
    int quiet;           /* --quiet */
    int help;            /* --help was given: the command is not run */
    uint64_t busy_ms;    /* --busy-timeout; 0: the library's default */
    const char *sync;    /* --sync full|async, or NULL */
    uint64_t cache_mib;  /* --cache; 0: the library's default */
    ex_buf out;          /* waits for standard output */
    int out_closed;      /* standard output went away or failed */
    pv_error err;
} cli;

/* ---- arguments (args.c) ---- */

typedef enum cli_kind { CLI_FLAG, CLI_TEXT, CLI_U64, CLI_FLOAT } cli_kind;

typedef struct cli_option {
    const char *name; /* without the dashes */
    char letter;      /* of the short form, or 0 */
    cli_kind kind;
    void *out; /* int, const char *, uint64_t or float */
    int *seen; /* set to 1 when it was given; may be NULL */
} cli_option;

typedef struct cli_args {
    const char **at; /* what is no option, in the order given; points into argv */
    size_t count;
} cli_args;

/* Options may stand anywhere before "--". `wanted_min` and `wanted_max` bound the number of other
 * arguments. Returns CLI_OK or CLI_USAGE. The array `args->at` is argv itself, reordered. */
int cli_parse(cli *c, int argc, char **argv, const cli_option *options, size_t option_count,
              size_t wanted_min, size_t wanted_max, cli_args *args);

/* A decimal number without sign and blanks; 0 or -1. */
int cli_number(const char *text, uint64_t *out);

/* ---- output and errors (out.c) ---- */

/* Prints "piramid: ..." as one line and returns `exit_code`. */
int cli_fail(cli *c, int exit_code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Prints c->err and returns the exit code that stands for its code. */
int cli_fail_pv(cli *c);
int cli_exit_code(int pv_code);

/* Writes c->out to standard output when it holds `least` bytes or more. CLI_OK or CLI_IO. */
int cli_flush(cli *c, size_t least);

/* Writes all bytes to a descriptor; 0 or an errno. */
int cli_write(int fd, const char *data, size_t len);

/* As numbers, whatever pv.h stores them as. */
void cli_put_vector(ex_buf *out, const void *vector, uint32_t type, size_t dims);
/* The id as JSON: a string, or a number for number keys (id NULL). */
void cli_put_id(ex_buf *out, const char *id, uint64_t id_u64);
/* For people: the text itself, control characters escaped. */
void cli_put_id_plain(ex_buf *out, const char *id, uint64_t id_u64);
void cli_put_format(ex_buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- database (db.c) ---- */

#define CLI_READ PV_OPEN_READONLY
#define CLI_WRITE PV_OPEN_NOCREATE
#define CLI_CREATE PV_OPEN_CREATE

int cli_open(cli *c, const char *path, uint32_t flags, pv_db **out_db);
/* Closes; an error counts only where `exit_code` is CLI_OK. Returns the exit code. */
int cli_close(cli *c, pv_db *db, int exit_code);

const char *cli_metric_name(uint32_t metric);
const char *cli_key_name(uint32_t key);
const char *cli_type_name(uint32_t type);
const char *cli_index_name(uint32_t index);
const char *cli_code_name(uint32_t code);
int cli_metric(cli *c, const char *name, uint32_t *out); /* NULL name: the default */
int cli_type(cli *c, const char *name, uint32_t *out);
int cli_key(cli *c, const char *name, uint32_t *out);
int cli_index(cli *c, const char *name, uint32_t *out); /* NULL: auto */
int cli_code(cli *c, const char *name, uint32_t *out);  /* NULL: auto */

/* The ids on the command line, as the collection wants them. cli_ids_done frees. */
typedef struct cli_ids {
    pv_ids ids;
    uint64_t *numbers;
} cli_ids;
int cli_ids_init(cli *c, uint32_t key, const cli_args *args, size_t first, cli_ids *out);
void cli_ids_done(cli_ids *ids);

/* A JSON array of numbers into a new array (the caller frees). On failure a message is printed
 * and the exit code returned. `what` names the text in that message. */
int cli_vector(cli *c, const char *text, size_t len, const char *what, float **out, size_t *out_n);

/* ---- commands ---- */

int cmd_create(cli *c, int argc, char **argv);
int cmd_drop(cli *c, int argc, char **argv);
int cmd_list(cli *c, int argc, char **argv);
int cmd_info(cli *c, int argc, char **argv);
int cmd_import(cli *c, int argc, char **argv);
int cmd_export(cli *c, int argc, char **argv);
int cmd_search(cli *c, int argc, char **argv);
int cmd_get(cli *c, int argc, char **argv);
int cmd_delete(cli *c, int argc, char **argv);
int cmd_count(cli *c, int argc, char **argv);
int cmd_check(cli *c, int argc, char **argv);
int cmd_stats(cli *c, int argc, char **argv);
int cmd_checkpoint(cli *c, int argc, char **argv);
int cmd_version(cli *c, int argc, char **argv);

#endif
