/* SPDX-License-Identifier: MIT */
/* probe.h - which format the first bytes of a file look like */
#ifndef QCF_PROBE_H
#define QCF_PROBE_H

#include <stddef.h>

/* As qcowfmt_probe(). */
int qcf_probe(const void *bytes, size_t len);

#endif
