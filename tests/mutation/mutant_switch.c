/* SPDX-License-Identifier: MIT */
/*
 * mutant_switch.c - which mutant of the library runs
 *
 * QCF_MUTANT is the number of one.  QCF_MUTANTS_PASSED names a file that gets the
 * numbers of all places that were passed, for the choice of tests.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mutant_switch.h"

static unsigned int chosen;
static const char *passed;

__attribute__((constructor)) static void look_at_environment(void)
{
	const char *text = getenv("QCF_MUTANT");

	chosen = text == NULL ? 0 : (unsigned int)strtoul(text, NULL, 10);
	passed = getenv("QCF_MUTANTS_PASSED");
}

static void note(unsigned int number)
{
	char line[16];
	int len = snprintf(line, sizeof(line), "%u\n", number);
	int fd = open(passed, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, line, (size_t)len) != len)
		abort();
	close(fd);
}

bool qcf_mutant_is_on(unsigned int number, bool *noted)
{
	if (passed != NULL && !__atomic_test_and_set(noted, __ATOMIC_RELAXED))
		note(number);
	return number == chosen;
}
