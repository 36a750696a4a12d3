/* SPDX-License-Identifier: MIT */
/* header_ext.h - header extensions, for header.c */
#ifndef QCF_HEADER_EXT_H
#define QCF_HEADER_EXT_H

#include "bytes.h"
#include "header.h"

/*
 * Decode the extensions between two host offsets of the header cluster into
 * h->extensions, h->backing_format and h->data_file_name.  The area ends with
 * an END record or with its last byte.
 */
int qcf_extensions_decode(struct qcf_header *h, const uint8_t *bytes,
                          size_t start, size_t end,
                          struct qcowfmt_error **errp);

/* Encode all extensions and the END record; the cursor's overrun flag tells. */
void qcf_extensions_encode(const struct qcf_header *h,
                           struct qcf_writer *writer);

/*
 * Encode them from host offset tail on; between here and there comes a record
 * that readers step over.  False if there is no room for its head.  Bytes between
 * the end of the feature names and tail are not touched.
 */
bool qcf_extensions_encode_at(const struct qcf_header *h,
                              struct qcf_writer *writer, size_t tail);

/* Whether the records, from start on, end before a host offset. */
bool qcf_extensions_end_before(const uint8_t *bytes, size_t start, size_t end);

/* Extend a span over all records between two host offsets that mean something:
 * feature names do not.  The records have been decoded once. */
void qcf_extensions_find(const uint8_t *bytes, size_t start, size_t end,
                         struct qcf_span *span);

void qcf_extensions_fini(struct qcf_header *h);

/* Add an extension to a header that is being made; copies the data.  It takes
 * the place of any earlier one of its type where the type is known. */
int qcf_header_add_extension(struct qcf_header *h, uint32_t type,
                             const void *data, uint32_t len,
                             struct qcowfmt_error **errp);

/* Take all extensions of a type out. */
void qcf_header_remove_extension(struct qcf_header *h, uint32_t type);

/* "bitmaps" and so on; NULL for a type that is not known. */
const char *qcf_extension_name(uint32_t type);

/*
 * Bytes of an image as printable ASCII text: anything else becomes \xNN.  What
 * does not fit is cut; text always ends with NUL.
 */
void qcf_escape(char *text, size_t size, const void *bytes, size_t len);

#endif
