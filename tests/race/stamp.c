/* SPDX-License-Identifier: MIT */
/* stamp.c - sectors that say where they belong and who wrote them */
#include "stamp.h"

#include <inttypes.h>
#include <string.h>

#define WORDS (QCF_SECTOR / 8)

/* The tag is easy to recognise in a message and unlikely in metadata. */
static uint64_t place_word(uint64_t sector)
{
	return UINT64_C(0xb51a) << 48 | sector;
}

void qcf_stamp_fill(void *buffer, uint64_t first_sector, uint64_t count,
                    uint64_t version)
{
	uint8_t *to = buffer;
	uint64_t place;
	uint64_t s;
	unsigned int i;

	for (s = 0; s < count; s++) {
		place = place_word(first_sector + s);
		for (i = 0; i < WORDS; i++, to += 8)
			memcpy(to, i % 2 ? &version : &place, 8);
	}
}

static void add_version(struct qcf_reading *reading, uint64_t version)
{
	int i;

	for (i = 0; i < reading->count; i++) {
		if (reading->versions[i] == version)
			return;
	}
	if (reading->count < QCF_MAX_MIXTURE)
		reading->versions[reading->count++] = version;
}

/* Of a sector that is of one write: the same two words again and again. */
static unsigned int words_to_read(const uint8_t *sector)
{
	return memcmp(sector, sector + 16, QCF_SECTOR - 16) == 0 ? 2 : WORDS;
}

bool qcf_stamp_read(const void *buffer, uint64_t sector,
                    struct qcf_reading *reading, struct qcf_finding *finding)
{
	const uint8_t *from = buffer;
	unsigned int words = words_to_read(from);
	uint64_t place = place_word(sector);
	uint64_t word;
	unsigned int i;

	reading->count = 0;
	for (i = 0; i < words; i++, from += 8) {
		memcpy(&word, from, 8);
		if (i % 2)
			add_version(reading, word);
		else if (word != place && word != 0)
			return qcf_found(finding, QCF_FOUND_CONTENT,
			                 "sector %" PRIu64
			                 " has word 0x%" PRIx64
			                 " at %u, its own is 0x%" PRIx64,
			                 sector, word, i * 8, place);
	}
	return true;
}
