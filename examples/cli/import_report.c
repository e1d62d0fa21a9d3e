/* SPDX-License-Identifier: Apache-2.0 */
/* import_report.c - bad rows and progress.
 *
 * Progress goes to standard error, and only where that is a terminal: one line that is written
 * over, with rows, rate and, for files of known size, the part done and the time left. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/import.h"

#define PROGRESS_EVERY_US 200000u

int import_reject(import_job *job, const char *where, uint64_t place, const char *message,
                  const char *raw, size_t raw_len) {
    ex_buf line = {0};
    job->rejected++;
    if (!job->skip_bad) {
        return cli_fail(job->c, CLI_USAGE, "%s: %s", where, message);
    }
    if (job->rejects_fd < 0) {
        if (!job->c->quiet) {
            import_progress_show(job, 1);
            (void)cli_fail(job->c, CLI_OK, "%s: %s (skipped)", where, message);
        }
        return CLI_OK;
    }
    cli_put_format(&line, "{\"line\":%llu,\"error\":", (unsigned long long)place);
    ex_buf_json(&line, message, strlen(message));
    if (raw != NULL) {
        ex_buf_puts(&line, ",\"row\":");
        ex_buf_json(&line, raw, raw_len);
    }
    ex_buf_puts(&line, "}\n");
    int failed = line.failed ? -1 : cli_write(job->rejects_fd, line.data, line.len);
    ex_buf_done(&line);
    if (failed != 0) {
        return cli_fail(job->c, failed < 0 ? CLI_LIMIT : CLI_IO, "cannot write the rejects: %s",
                        failed < 0 ? "out of memory" : strerror(failed));
    }
    return CLI_OK;
}

uint64_t import_now_us(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

void import_progress_begin(import_job *job) {
    job->progress.on = !job->c->quiet && isatty(STDERR_FILENO) == 1;
    job->progress.begin_us = import_now_us();
    job->progress.shown_us = job->progress.begin_us;
}

/* `last` wipes the line away, so that what follows stands alone. */
void import_progress_show(import_job *job, int last) {
    import_progress *p = &job->progress;
    char text[160];
    char left[64] = "";
    uint64_t now = import_now_us();
    if (!p->on || (last && !p->shown) || (!last && now - p->shown_us < PROGRESS_EVERY_US)) {
        return;
    }
    if (last) {
        (void)cli_write(STDERR_FILENO, "\r\033[K", 4);
        p->shown = 0;
        return;
    }
    double seconds = (double)(now - p->begin_us) / 1e6;
    uint64_t size = job->rd.in.size;
    uint64_t read = job->rd.in.total;
    if (size > 0 && read > 0) {
        double part = read < size ? (double)read / (double)size : 1.0;
        (void)snprintf(left, sizeof(left), ", %.0f %%, %.0f s left", part * 100.0,
                       seconds * (1.0 - part) / part);
    }
    int n = snprintf(text, sizeof(text), "\r\033[K%llu rows, %.0f rows/s%s",
                     (unsigned long long)job->rd.rows, (double)job->rd.rows / seconds, left);
    if (n > 0) {
        (void)cli_write(STDERR_FILENO, text, strlen(text));
    }
    p->shown = 1;
    p->shown_us = now;
}
