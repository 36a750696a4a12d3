/* SPDX-License-Identifier: MIT */
/*
 * finding.h - what a test found wrong, as a value that travels up
 *
 * Functions of these tests return true when all is well.  Otherwise they fill
 * in the finding and return false, and the caller returns false at once.  A
 * value instead of a failed assertion, because a planted fault must be found
 * too, and then a finding of the right kind is the success.
 */
#ifndef QCF_FINDING_H
#define QCF_FINDING_H

#include <stdbool.h>

#include <qcowfmt.h>

enum qcf_finding_kind {
	QCF_FOUND_NOTHING = 0,
	QCF_FOUND_ERROR,    /* an operation failed that must succeed */
	QCF_FOUND_CONTENT,  /* bytes differ from the oracle */
	QCF_FOUND_METADATA, /* a checker or the map says so */
	QCF_FOUND_HARNESS,  /* the test itself could not go on */
};

struct qcf_finding {
	enum qcf_finding_kind kind;
	char text[2048];
};

/* Fill in the finding; returns false. */
bool qcf_found(struct qcf_finding *finding, enum qcf_finding_kind kind,
               const char *format, ...) __attribute__((format(printf, 3, 4)));

/*
 * The library failed: say what it was doing and why, free the error.  An error
 * object that is missing or contradicts the return value is named as well.
 */
bool qcf_found_error(struct qcf_finding *finding, const char *what, int ret,
                     struct qcowfmt_error *error);

#endif
