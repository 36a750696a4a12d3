/* SPDX-License-Identifier: MIT */
/* crash_stamp.c - sectors that tell what they are */
#include <string.h>

#include "crash_stamp.h"

/* Odd, so that it has an inverse modulo 2^64. */
#define MULTIPLIER UINT64_C(0x9e3779b97f4a7c15)
#define INVERSE    UINT64_C(0xf1de83e19937733d)

#define WORDS (SECTOR_SIZE / sizeof(uint64_t))

static uint64_t word_of(uint64_t stamp, size_t index)
{
	return stamp == 0 ? 0 : (stamp + index) * MULTIPLIER;
}

void fill_sector(uint8_t *bytes, uint64_t stamp)
{
	for (size_t i = 0; i < WORDS; i++) {
		uint64_t word = word_of(stamp, i);

		memcpy(bytes + i * sizeof(word), &word, sizeof(word));
	}
}

bool sector_holds(const uint8_t *bytes, uint64_t stamp)
{
	for (size_t i = 0; i < WORDS; i++) {
		uint64_t word;

		memcpy(&word, bytes + i * sizeof(word), sizeof(word));
		if (word != word_of(stamp, i))
			return false;
	}
	return true;
}

uint64_t sector_stamp(const uint8_t *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return word * INVERSE;
}
