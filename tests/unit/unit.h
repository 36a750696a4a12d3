/* SPDX-License-Identifier: MIT */
/* unit.h - what every unit test program shares: its main, and random numbers */
#ifndef QCF_TEST_UNIT_H
#define QCF_TEST_UNIT_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "check_once.h"

/* Exit status that tells the test runner that a test was skipped. */
#define UNIT_SKIPPED 77

/* Run the tests that add() puts into the case; returns the exit status. */
static inline int unit_run(const char *promise, void (*add)(TCase *))
{
	Suite *suite = suite_create(promise);
	TCase *tcase = tcase_create(promise);

	tcase_set_timeout(tcase, 60);
	add(tcase);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

struct unit_random {
	uint64_t state;
};

/* The seed is QCF_TEST_SEED from the environment, else fixed; it is printed. */
static inline struct unit_random unit_random_init(void)
{
	const char *text = getenv("QCF_TEST_SEED");
	uint64_t seed = text == NULL ? 1 : strtoull(text, NULL, 0);

	printf("QCF_TEST_SEED=%" PRIu64 "\n", seed);
	return (struct unit_random){ seed };
}

/* splitmix64 */
static inline uint64_t unit_random_u64(struct unit_random *random)
{
	random->state += UINT64_C(0x9e3779b97f4a7c15);

	uint64_t z = random->state;

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* In [0, limit); limit is not 0. */
static inline uint64_t unit_random_below(struct unit_random *random,
                                         uint64_t limit)
{
	return unit_random_u64(random) % limit;
}

#endif
