/* SPDX-License-Identifier: MIT */
/*
 * probe.c - which format the first bytes of a file look like
 *
 * A file shorter than the probe buffer counts as filled up with zeros, as
 * other software reads it; so eight bytes decide everything.  Any version
 * above 1 is qcow2: what cannot be opened must not fall back to raw.
 */
#include "probe.h"

#include "bytes.h"
#include "header.h"
#include "qcowfmt.h"

#define PROBE_LEN 8u

int qcf_probe(const void *bytes, size_t len)
{
	uint8_t padded[PROBE_LEN] = { 0 };

	if (len > 0)
		memcpy(padded, bytes, QCF_MIN(len, sizeof(padded)));

	struct qcf_reader reader = qcf_reader_init(padded, sizeof(padded));
	uint32_t magic = qcf_read_u32(&reader);
	uint32_t version = qcf_read_u32(&reader);

	if (magic != QCF_MAGIC || version == 0)
		return QCOWFMT_FORMAT_RAW;
	return version == 1 ? QCOWFMT_FORMAT_QCOW : QCOWFMT_FORMAT_QCOW2;
}
