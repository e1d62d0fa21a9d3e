/* SPDX-License-Identifier: Apache-2.0 */
/* rows.c - the module piramiddb._rows: the usual search, and the rows of an answer as an object.
 *
 * What is called once for every search stands here in C; all else goes through cffi. One call of a
 * function by cffi costs Python about as much as a small search, and each object that stands for
 * memory of C as much again. Nothing of the library is linked in: glue.c hands a table of it over.
 *
 * Python's stable ABI of 3.9 has no Py_buffer, though all versions have had it as it stands below;
 * 3.11 made it stable like this.
 *
 * The interpreter's lock is let go for the search alone. */
#define Py_LIMITED_API 0x03090000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "glue.h"

typedef struct rows_buffer {
    void *buf;
    PyObject *obj;
    Py_ssize_t len, itemsize;
    int readonly, ndim;
    char *format;
    Py_ssize_t *shape, *strides, *suboffsets;
    void *internal;
} rows_buffer;
#if Py_LIMITED_API < 0x030b0000
extern int PyObject_GetBuffer(PyObject *object, rows_buffer *view, int flags);
extern void PyBuffer_Release(rows_buffer *view);
#endif

typedef struct rows_object {
    PyObject_HEAD pv_results *results; /* NULL: no rows */
    PyObject *owner;                   /* what the results belong to; NULL: to this object */
    Py_ssize_t count;
    char texts; /* keys are strings */
} rows_object;

/* Both are written once, when the module is imported. */
static const pvpy_table *rows_c;
static PyTypeObject *rows_type;

/* Takes the results over, in every case. */
static PyObject *rows_new(pv_results *results, PyObject *owner) {
    rows_object *rows = PyObject_New(rows_object, rows_type);
    if (!rows) {
        if (!owner) {
            rows_c->results_free(results);
        }
        return NULL;
    }
    Py_XINCREF(owner);
    rows->results = results;
    rows->owner = owner;
    rows->count = (Py_ssize_t)rows_c->results_count(results);
    rows->texts = rows_c->results_ids_text(results, NULL) != NULL;
    return (PyObject *)rows;
}

static void rows_dealloc(PyObject *self) {
    rows_object *rows = (rows_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (rows->owner) {
        Py_DECREF(rows->owner);
    } else if (rows->results) {
        rows_c->results_free(rows->results);
    }
    PyObject_Free(self);
    Py_DECREF(type); /* of types made by PyType_FromSpec an object holds one */
}

static PyObject *rows_bytes(const void *column, Py_ssize_t size) {
    return PyBytes_FromStringAndSize(column ? column : "", column ? size : 0);
}

static PyObject *rows_address(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromVoidPtr(((rows_object *)self)->results);
}

static PyObject *rows_keys(PyObject *self, PyObject *unused) {
    const rows_object *rows = (rows_object *)self;
    const uint64_t *at = NULL;
    const char *text = rows_c->results_ids_text(rows->results, &at);
    const uint64_t *numbers = rows_c->results_ids_u64(rows->results);
    PyObject *list = PyList_New(rows->count);
    (void)unused;
    for (Py_ssize_t i = 0; list && i < rows->count; i++) {
        PyObject *key =
            text ? PyUnicode_DecodeUTF8(text + at[i], (Py_ssize_t)(at[i + 1] - at[i] - 1), NULL)
                 : PyLong_FromUnsignedLongLong(numbers[i]);
        if (!key) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SetItem(list, i, key); /* takes it over */
    }
    return list;
}

static PyObject *rows_numbers(PyObject *self, PyObject *unused) {
    const rows_object *rows = (rows_object *)self;
    (void)unused;
    return rows_bytes(rows_c->results_ids_u64(rows->results),
                      rows->count * (Py_ssize_t)sizeof(uint64_t));
}

static PyObject *rows_scores(PyObject *self, PyObject *unused) {
    const rows_object *rows = (rows_object *)self;
    (void)unused;
    return rows_bytes(rows_c->results_scores(rows->results),
                      rows->count * (Py_ssize_t)sizeof(float));
}

static PyObject *rows_distances(PyObject *self, PyObject *unused) {
    const rows_object *rows = (rows_object *)self;
    (void)unused;
    return rows_bytes(rows_c->results_distances(rows->results),
                      rows->count * (Py_ssize_t)sizeof(float));
}

static PyObject *rows_score_list(PyObject *self, PyObject *unused) {
    const rows_object *rows = (rows_object *)self;
    const float *scores = rows_c->results_scores(rows->results);
    PyObject *list = PyList_New(scores ? rows->count : 0);
    (void)unused;
    for (Py_ssize_t i = 0; list && scores && i < rows->count; i++) {
        PyObject *score = PyFloat_FromDouble((double)scores[i]);
        if (!score) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SetItem(list, i, score);
    }
    return list;
}

/* One number of a column. */
static PyObject *rows_one(const rows_object *rows, const float *column, PyObject *row) {
    const Py_ssize_t at = PyLong_AsSsize_t(row);
    if (at == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (!column || at < 0 || at >= rows->count) {
        PyErr_SetString(PyExc_IndexError, "there is no such row");
        return NULL;
    }
    return PyFloat_FromDouble((double)column[at]);
}

static PyObject *rows_score(PyObject *self, PyObject *row) {
    const rows_object *rows = (rows_object *)self;
    return rows_one(rows, rows_c->results_scores(rows->results), row);
}

static PyObject *rows_distance(PyObject *self, PyObject *row) {
    const rows_object *rows = (rows_object *)self;
    return rows_one(rows, rows_c->results_distances(rows->results), row);
}

static PyMethodDef rows_methods[] = {
    {"address", rows_address, METH_NOARGS, "Where the pv_results is."},
    {"keys", rows_keys, METH_NOARGS, "Ids of all rows."},
    {"numbers", rows_numbers, METH_NOARGS, "Ids of all rows as bytes; none where they are texts."},
    {"scores", rows_scores, METH_NOARGS, "Scores as bytes; none without scores."},
    {"distances", rows_distances, METH_NOARGS, "Distances as bytes; none without distances."},
    {"score_list", rows_score_list, METH_NOARGS, "Scores of all rows."},
    {"score", rows_score, METH_O, "Score of one row."},
    {"distance", rows_distance, METH_O, "Distance of one row."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef rows_members[] = {
    {"count", T_PYSSIZET, offsetof(rows_object, count), READONLY, "How many rows there are."},
    {"texts", T_BOOL, offsetof(rows_object, texts), READONLY, "Are the ids strings?"},
    {NULL, 0, 0, 0, NULL},
};

static PyObject *module_bind(PyObject *module, PyObject *address) {
    (void)module;
    rows_c = PyLong_AsVoidPtr(address);
    if (!rows_c && PyErr_Occurred()) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *module_own(PyObject *module, PyObject *address) {
    pv_results *results = PyLong_AsVoidPtr(address);
    (void)module;
    return !results && PyErr_Occurred() ? NULL : rows_new(results, NULL);
}

static PyObject *module_view(PyObject *module, PyObject *args) {
    (void)module;
    if (PyTuple_Size(args) != 2) {
        PyErr_SetString(PyExc_TypeError, "view takes an address and an owner");
        return NULL;
    }
    pv_results *results = PyLong_AsVoidPtr(PyTuple_GetItem(args, 0));
    return !results && PyErr_Occurred() ? NULL : rows_new(results, PyTuple_GetItem(args, 1));
}

/* By hand: PyArg_ParseTuple takes longer than all of the rest. */
static PyObject *module_search(PyObject *module, PyObject *args) {
    rows_buffer vector;
    (void)module;
    if (PyTuple_Size(args) != 4) {
        PyErr_SetString(PyExc_TypeError, "search takes place, vector, k and include");
        return NULL;
    }
    const pvpy_place *place = PyLong_AsVoidPtr(PyTuple_GetItem(args, 0));
    const long long k = PyLong_AsLongLong(PyTuple_GetItem(args, 2));
    const unsigned long include = PyLong_AsUnsignedLong(PyTuple_GetItem(args, 3));
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (PyObject_GetBuffer(PyTuple_GetItem(args, 1), &vector, 0) != 0) { /* 0: without gaps */
        return NULL;
    }
    pv_results *results;
    PyThreadState *state = PyEval_SaveThread();
    results = rows_c->search(place, vector.buf, k, (uint32_t)include);
    PyEval_RestoreThread(state);
    PyBuffer_Release(&vector);
    if (!results) {
        Py_RETURN_NONE;
    }
    return rows_new(results, NULL);
}

static PyMethodDef module_methods[] = {
    {"bind", module_bind, METH_O, "Take the address of pvpy_functions; first of all."},
    {"own", module_own, METH_O, "Rows of a pv_results, by its address; they free it."},
    {"view", module_view, METH_VARARGS, "Rows of a pv_results that belongs to another object."},
    {"search", module_search, METH_VARARGS, "pvpy_search; None: pvpy_err has the error."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    "piramiddb._rows",
    "The usual search, and rows of answers.",
    -1,
    module_methods,
    NULL,
    NULL,
    NULL,
    NULL,
};

PyMODINIT_FUNC PyInit__rows(void) {
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, rows_dealloc},
        {Py_tp_methods, rows_methods},
        {Py_tp_members, rows_members},
        {0, NULL},
    };
    static PyType_Spec spec = {"piramiddb._rows.Rows", sizeof(rows_object), 0, Py_TPFLAGS_DEFAULT,
                               slots};
    PyObject *module = PyModule_Create(&module_def);
    PyObject *type = module ? PyType_FromSpec(&spec) : NULL;
    if (!type || PyModule_AddObject(module, "Rows", type) != 0) { /* takes it over */
        Py_XDECREF(type);
        Py_XDECREF(module);
        return NULL;
    }
    Py_INCREF(type);
    rows_type = (PyTypeObject *)type;
    return module;
}
