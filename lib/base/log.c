/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - messages go to the caller's callback or nowhere. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#define LOG_LINE_MAX 1024

void pv__log(const pv__logger *l, int level, const char *category, const char *fmt, ...) {
    if (!l || !l->fn || level > l->level_max) {
        return;
    }
    char line[LOG_LINE_MAX];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n >= 0) {
        l->fn(l->ctx, level, category, line);
    }
}

#undef LOG_LINE_MAX
