/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/* quickstart.c - a database, a collection, a record and a search, in one screen. Every call that
 * fails ends the chain with its message in `err`; run it twice, the output is the same. */
#include <pv.h>
#include <stdio.h>
int main(void) {
    pv_db *db = NULL; pv_results *res = NULL; pv_error err = PV_ERROR_INIT;
    const float v[4] = {0.1f, 0.2f, 0.3f, 0.4f};
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT; c.dims = 4; c.metric = PV_METRIC_COSINE;
    pv_record r = PV_RECORD_INIT; r.id = "a"; r.vector = v; r.dims = 4; r.metadata = "{\"year\": 2026}";
    pv_query q = PV_QUERY_INIT; q.vector = v; q.dims = 4; q.k = 10;
    int failed = pv_open("demo.pv", NULL, &db, &err)
              || pv_collection_ensure(db, NULL, "docs", &c, &err)   /* exists with the same options: fine */
              || pv_upsert(db, NULL, "docs", &r, 1, NULL, &err)     /* NULL txn: its own transaction */
              || pv_search(db, NULL, "docs", &q, &res, &err);
    for (size_t i = 0; i < pv_results_count(res); i++)              /* NULL holds none */
        printf("%s %.4f\n", pv_results_id(res, i), pv_results_score(res, i));
    pv_results_free(res);
    if (pv_close(db, failed ? NULL : &err) || failed) return fprintf(stderr, "%s\n", err.message), 1;
    return 0;
}
