/* SPDX-License-Identifier: Apache-2.0 */
/* args.c - options and other arguments of a command.
 *
 * --name VALUE, --name=VALUE, -k VALUE, flags, and "--" after which nothing is an option. Options
 * that every command has (--json, --quiet, --help, --busy-timeout, --sync, --cache) are handled
 * here. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

int cli_number(const char *text, uint64_t *out) {
    uint64_t value = 0;
    if (*text == '\0') {
        return -1;
    }
    for (const char *s = text; *s != '\0'; s++) {
        unsigned digit = (unsigned)(*s - '0');
        if (*s < '0' || *s > '9' || value > (UINT64_MAX - digit) / 10) {
            return -1;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return 0;
}

/* Does `arg` name this option? *out_value is then the text behind '=', or NULL. */
static int args_matches(const cli_option *o, const char *arg, const char **out_value) {
    *out_value = NULL;
    if (arg[1] != '-') {
        return o->letter != 0 && arg[1] == o->letter && arg[2] == '\0';
    }
    size_t len = strlen(o->name);
    if (strncmp(arg + 2, o->name, len) != 0) {
        return 0;
    }
    if (arg[2 + len] == '=') {
        *out_value = arg + 2 + len + 1;
        return 1;
    }
    return arg[2 + len] == '\0';
}

static const cli_option *args_find(const cli_option *options, size_t count, const char *arg,
                                   const char **out_value) {
    for (size_t i = 0; i < count; i++) {
        if (args_matches(&options[i], arg, out_value)) {
            return &options[i];
        }
    }
    return NULL;
}

static int args_store(cli *c, const cli_option *o, const char *value) {
    if (o->seen != NULL) {
        *o->seen = 1;
    }
    if (o->kind == CLI_FLAG) {
        *(int *)o->out = 1;
        return CLI_OK;
    }
    if (o->kind == CLI_TEXT) {
        *(const char **)o->out = value;
        return CLI_OK;
    }
    if (o->kind == CLI_U64) {
        if (cli_number(value, (uint64_t *)o->out) != 0) {
            return cli_fail(c, CLI_USAGE, "--%s wants a number, not '%s'", o->name, value);
        }
        return CLI_OK;
    }
    char *end = NULL;
    float number = strtof(value, &end);
    if (end == value || *end != '\0' || isnan(number)) {
        return cli_fail(c, CLI_USAGE, "--%s wants a number, not '%s'", o->name, value);
    }
    *(float *)o->out = number;
    return CLI_OK;
}

static int args_option(cli *c, int argc, char **argv, int *i, const cli_option *options,
                       size_t count) {
    const cli_option common[] = {
        {"json", 0, CLI_FLAG, &c->json, NULL},
        {"quiet", 'q', CLI_FLAG, &c->quiet, NULL},
        {"help", 'h', CLI_FLAG, &c->help, NULL},
        {"busy-timeout", 0, CLI_U64, &c->busy_ms, NULL},
        {"sync", 0, CLI_TEXT, (void *)&c->sync, NULL},
        {"cache", 0, CLI_U64, &c->cache_mib, NULL},
    };
    const char *arg = argv[*i];
    const char *value = NULL;
    const cli_option *o = args_find(options, count, arg, &value);
    if (o == NULL) {
        o = args_find(common, sizeof(common) / sizeof(common[0]), arg, &value);
    }
    if (o == NULL) {
        return cli_fail(c, CLI_USAGE, "unknown option '%s' (see: piramid help %s)", arg,
                        c->command);
    }
    if (o->kind == CLI_FLAG && value != NULL) {
        return cli_fail(c, CLI_USAGE, "--%s takes no value", o->name);
    }
    if (o->kind != CLI_FLAG && value == NULL) {
        if (*i + 1 >= argc) {
            return cli_fail(c, CLI_USAGE, "--%s wants a value", o->name);
        }
        value = argv[++*i];
    }
    return args_store(c, o, value);
}

int cli_parse(cli *c, int argc, char **argv, const cli_option *options, size_t option_count,
              size_t wanted_min, size_t wanted_max, cli_args *args) {
    size_t count = 0;
    int only_args = 0;
    for (int i = 0; i < argc; i++) {
        if (!only_args && strcmp(argv[i], "--") == 0) {
            only_args = 1;
        } else if (!only_args && argv[i][0] == '-' && argv[i][1] != '\0') {
            int rc = args_option(c, argc, argv, &i, options, option_count);
            if (rc != CLI_OK) {
                return rc;
            }
        } else {
            argv[count++] = argv[i]; /* count <= i: never overtakes the reading */
        }
    }
    args->at = (const char **)argv;
    args->count = count;
    if (c->help) {
        return CLI_OK;
    }
    if (c->sync != NULL && strcmp(c->sync, "full") != 0 && strcmp(c->sync, "async") != 0) {
        return cli_fail(c, CLI_USAGE, "--sync wants full or async, not '%s'", c->sync);
    }
    if (c->cache_mib > 1u << 20) {
        return cli_fail(c, CLI_LIMIT, "--cache wants at most %u MiB", 1u << 20);
    }
    if (count < wanted_min) {
        return cli_fail(c, CLI_USAGE, "too few arguments (see: piramid help %s)", c->command);
    }
    if (count > wanted_max) {
        return cli_fail(c, CLI_USAGE, "unexpected argument '%s' (see: piramid help %s)",
                        args->at[wanted_max], c->command);
    }
    return CLI_OK;
}
