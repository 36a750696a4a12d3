/* SPDX-License-Identifier: MIT */
/* run.h - run another program and see what it says */
#ifndef QCF_RUN_H
#define QCF_RUN_H

#include <stdbool.h>

#include "finding.h"

/* The most arguments a program gets here, its name included. */
#define QCF_RUN_MAX_ARGS 24

struct qcf_run {
	int status;        /* exit status; 128 + n for signal n */
	char output[4096]; /* the start of what it printed, errors included */
};

/*
 * Run argv[0] (found in $PATH) to its end with standard input from a file, or
 * from nowhere if stdin_path is NULL.  False only if it could not be run.
 */
bool qcf_run(const char *const argv[], const char *stdin_path,
             struct qcf_run *run, struct qcf_finding *finding);

/* Run it and find fault with any exit status but 0. */
bool qcf_run_ok(const char *const argv[], const char *stdin_path,
                enum qcf_finding_kind kind, struct qcf_finding *finding);

/* The same, and with anything it prints: QEMU's programs say what they could not
 * do when they close an image, and exit with 0. */
bool qcf_run_silent(const char *const argv[], const char *stdin_path,
                    enum qcf_finding_kind kind, struct qcf_finding *finding);

/* Whether a program can be run; if not, says so on standard output. */
bool qcf_program_exists(const char *program);

#endif
