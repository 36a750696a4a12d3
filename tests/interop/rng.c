/* SPDX-License-Identifier: MIT */
/* rng.c - seeded random numbers, the same on every machine */
#include "rng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static uint64_t fresh_seed(void)
{
	uint32_t seed = 1;

	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return 1;
	return seed;
}

uint64_t qcf_seed(void)
{
	static uint64_t seed;
	const char *text = getenv("QCF_SEED");

	if (seed == 0) {
		seed = text ? strtoull(text, NULL, 0) : fresh_seed();
		if (seed == 0)
			seed = 1;
		printf("repeat with QCF_SEED=%" PRIu64 "\n", seed);
		fflush(stdout);
	}
	return seed;
}

unsigned int qcf_long_factor(void)
{
	const char *text = getenv("QCF_LONG");

	return text && strcmp(text, "1") == 0 ? 50 : 1;
}

uint64_t qcf_rng_next(struct qcf_rng *rng)
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

struct qcf_rng qcf_rng_new(uint64_t seed, uint64_t part)
{
	struct qcf_rng mix = { seed };
	uint64_t start = qcf_rng_next(&mix) ^ (part << 1);
	struct qcf_rng rng = { start };

	rng.state = qcf_rng_next(&rng);
	return rng;
}

uint64_t qcf_rng_below(struct qcf_rng *rng, uint64_t limit)
{
	return qcf_rng_next(rng) % limit;
}

uint64_t qcf_rng_between(struct qcf_rng *rng, uint64_t low, uint64_t high)
{
	return low + qcf_rng_below(rng, high - low + 1);
}

bool qcf_rng_percent(struct qcf_rng *rng, unsigned int percent)
{
	return qcf_rng_below(rng, 100) < percent;
}

void qcf_rng_fill(struct qcf_rng *rng, void *buffer, size_t len)
{
	uint8_t *to = buffer;
	size_t done;
	size_t part;
	uint64_t word;

	for (done = 0; done < len; done += part) {
		word = qcf_rng_next(rng);
		part = len - done < sizeof(word) ? len - done : sizeof(word);
		memcpy(to + done, &word, part);
	}
}
