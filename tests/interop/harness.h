/* SPDX-License-Identifier: MIT */
/* harness.h - what the main() of every test here does */
#ifndef QCF_HARNESS_H
#define QCF_HARNESS_H

#include <stdbool.h>

#include "check_once.h"

/*
 * Print the seed, make the scratch directory, run the suite, clean up.
 * Returns the exit status of the program: 77 if QEMU's programs are needed and
 * missing.  After a failure $QCF_KEEP=1 keeps the files and says where.
 */
int qcf_harness_run(Suite *suite, bool needs_qemu);

/*
 * A test over many images runs in shards: with the argument "K/N" only every
 * N-th image, from number K on.  Returns how many of the count there are; ends
 * the program if the argument is not understood.
 */
int qcf_shard_init(int argc, char **argv, int count);

/* The number of the shard's n-th image. */
int qcf_shard_index(int n);

#endif
