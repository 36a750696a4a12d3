/* SPDX-License-Identifier: MIT */
/*
 * thin.h - looking at a part of what there is
 *
 * Some tests make thousands of states or faults and look at each.  With
 * QCF_THIN=n in the environment they look at about one in n, spread over all: for
 * runs under a sanitizer, which looks for other mistakes and takes several times
 * as long, beside a run that looks at all.
 */
#ifndef QCF_TEST_THIN_H
#define QCF_TEST_THIN_H

/* n, and 1 without it. */
unsigned int thin_factor(void);

#endif
