/* SPDX-License-Identifier: MIT */
/*
 * script.h - what a thread does, in a few letters
 *
 * "w0+4 f r0+4" writes four sectors from sector 0 on, flushes, and reads them.
 *
 *   w write  c write compressed  z zero  u zero, may unmap  d discard  r read
 *   f flush  k check  i info  q map
 *   s take a snapshot  a go back to snapshot "base"  x delete that
 *   g give the disk another size (g64+0: 64 sectors)
 *   b add, fill and remove a bitmap  e disable and enable one
 *   m change the width of refcounts (m1+0: 32 bits)  p compact  o commit  v convert  h open and close another handle
 *   C compare with the base  D the other way round  E with itself
 *   B convert the base into the image  T the other way round
 *   M merge a bitmap into one of the base  N the other way round
 *   K check the base  G give it another size
 *   R read what the image has itself
 */
#ifndef QCF_SCRIPT_H
#define QCF_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#define QCF_MAX_ACTS 24

struct qcf_act {
	char kind;
	uint64_t first; /* sectors */
	uint64_t count;
};

struct qcf_script {
	struct qcf_act acts[QCF_MAX_ACTS];
	int count;
};

void qcf_script_parse(struct qcf_script *script, const char *text);

/* A random one of at most that many acts: kinds are as likely as they are often
 * in the text.  Ranges begin and end with clusters more often than not, and lie
 * in the first few so that they meet. */
void qcf_script_invent(struct qcf_script *script, const char *kinds,
                       int max_acts, uint64_t cluster_sectors,
                       uint64_t disk_sectors, uint64_t *random);

/* Back to text. */
void qcf_script_print(const struct qcf_script *script, char *text, int size);

/* Acts that change what a range holds. */
static inline bool qcf_act_writes(const struct qcf_act *act)
{
	switch (act->kind) {
	case 'w':
	case 'c':
	case 'z':
	case 'u':
	case 'd':
		return true;
	default:
		return false;
	}
}

#endif
